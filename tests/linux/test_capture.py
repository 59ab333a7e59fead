"""Does a capture of a living family say, page by page, what the family did?"""

import contextlib
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.linux import family as truth
from tests.linux.family import COW, LATE, MARKER, N_REGIONS, REGION, ROOT, SPARSE_BYTES, THP, UNMAPPED, ZERO, A, B, G
from tests.model.layouts import board, slots_of
from thpsweep.errors import CaptureError
from thpsweep.linux.capture import capture as capture_module
from thpsweep.linux.capture.capture import capture
from thpsweep.linux.capture.summary import summary
from thpsweep.linux.live.settings import THP as HUGEPAGES
from thpsweep.linux.proc import pagemap, tree

pytestmark = pytest.mark.live


def first_region(layout):
    """Find the region with the marker, by the slots that the root has there."""
    (found,) = np.flatnonzero((layout.present[ROOT] == board(MARKER)).all(axis=1))
    return int(found)


def sharing(layout):
    """Spell a layout out: region -> slot -> sorted lists of the processes that map one frame each."""
    start = first_region(layout)
    found = {region: {} for region in range(N_REGIONS)}
    for cell, place in enumerate(layout.cell_region.tolist()):
        for slot in slots_of(layout.cell_slots[cell]) if 0 <= place - start < N_REGIONS else []:
            members = np.flatnonzero(layout.members[layout.cell_members[cell]]).tolist()
            found[place - start].setdefault(slot, []).append(members)
    return {region: {slot: sorted(groups) for slot, groups in slots.items()} for region, slots in found.items()}


@pytest.fixture
def captured(family):
    return capture(family("family").pid)


def test_sharing_is_known_page_by_page(captured):
    expected, found = truth.truth(), sharing(captured)
    for region in range(N_REGIONS):
        assert found[region] == expected[region], f"region {region}"


def test_windows_make_no_difference(family, monkeypatch):
    monkeypatch.setattr(capture_module, "WINDOW_ROWS", (12,) * 4)
    assert sharing(capture(family("family").pid)) == truth.truth()


def test_genealogy(captured):
    assert captured.parent.tolist() == [ROOT, ROOT, ROOT, A]


def test_a_split_pmd_is_one_process_s(thp, captured):
    huge = captured.huge[:, first_region(captured) + THP]
    if not huge[ROOT]:
        pytest.skip("the kernel had no huge page to give")
    assert huge.tolist() == [True, True, False, True]


def test_a_folio_stays_one_folio_for_those_who_map_it_by_ptes(thp, captured):
    region = first_region(captured) + THP
    if not captured.huge[ROOT, region]:
        pytest.skip("the kernel had no huge page to give")
    cells = np.flatnonzero(captured.cell_region == region)
    folios = {
        tuple(np.flatnonzero(captured.members[captured.cell_members[c]])): int(captured.cell_folio[c]) for c in cells
    }
    folio = folios[ROOT, A, B, G]
    assert folios == {(ROOT, A, B, G): folio, (ROOT, A, G): folio, (B,): 0}
    assert folio > 0


def test_the_zero_page_is_none_and_counted(captured):
    present = captured.present[A, first_region(captured) + ZERO]
    assert slots_of(present) == [0]
    assert captured.provenance["zero_page_ptes"] >= 4 * 9


def test_an_unmapped_region_is_not_present(captured):
    assert not captured.present[B, first_region(captured) + UNMAPPED].any()


def test_one_process_alone_has_its_family_outside(family):
    layout = capture(family("family").pid, children=False)
    region = first_region(layout) + COW
    assert layout.n_processes == 1
    assert layout.cell_outside[layout.cell_region == region].tolist() == [3]


def test_a_subtree(family):
    root = family("family").pid
    a = sorted(p.pid for p in tree.family(root, True).processes if p.parent_pid == root)[0]
    layout = capture(a)
    cells = layout.cell_region == first_region(layout) + LATE
    assert [layout.members[m].tolist() for m in layout.cell_members[cells]] == [[True, True]]


def test_a_mostly_empty_mapping_is_found_quickly(family):
    process = family("sparse")
    start = time.monotonic()
    layout = capture(process.pid)
    assert time.monotonic() - start < 5
    assert layout.n_regions < SPARSE_BYTES / REGION / 100
    first_region(layout)


def test_without_pagemap_scan_a_row_that_maps_a_whole_folio_counts_as_huge(thp, family, monkeypatch):
    monkeypatch.setattr(pagemap, "scan_works", lambda: False)
    layout = capture(family("family").pid)
    region = first_region(layout) + THP
    if not layout.cell_folio[layout.cell_region == region].any():
        pytest.skip("the kernel had no huge page to give")
    assert layout.huge[:, region].tolist() == [True, True, False, True]
    assert "assumed" in layout.provenance["huge_source"]
    assert sharing(layout) == truth.truth()


def test_a_restless_tree_is_captured_all_the_same(family):
    process = family("restless")
    captured = []
    for _ in range(5):
        with contextlib.suppress(CaptureError):  # on a busy machine everything may have moved, which it then says
            captured.append(capture(process.pid))  # a layout that contradicts itself cannot be built
    assert captured
    for layout in captured:
        assert layout.n_processes >= 5
        assert layout.n_regions + layout.provenance["regions_dropped"] >= 8


def test_provenance(captured):
    said = captured.provenance
    assert said["command"] == os.path.basename(sys.executable)
    assert (said["processes"], said["page_size"], said["kernel_release"]) == (4, 4096, os.uname().release)
    assert os.uname().nodename not in str(said)


def test_saved_bytes_hold_no_content_and_no_address(captured):
    names = {"present", "swapped", "huge", "cell_region", "cell_members", "cell_slots", "cell_folio", "cell_outside"}
    assert set(vars(captured)) == names | {"members", "parent", "provenance", "activity"}
    assert captured.cell_region.max() < captured.n_regions
    assert captured.cell_folio.max() <= len(captured.cell_folio)


def test_summary_counts_pages_by_degree(captured):
    rows = dict(summary(captured))
    every = [n for cell, n in zip(captured.cell_members, np.bitwise_count(captured.cell_slots).sum(axis=1), strict=True)
             if captured.members[cell].sum() == 2]  # fmt: skip
    assert rows["processes"] == "4"
    assert rows["shared by 2"].startswith(f"{sum(map(int, every))} pages (")


def test_summary_has_the_labels_of_thpmaps(thp, captured):
    rows = dict(summary(captured))
    n_huge = int(captured.huge.sum())
    if not n_huge:
        pytest.skip("the kernel had no huge page to give")
    assert rows["anon-thp-pmd-aligned-2048kB"] == f"{n_huge * 2048} kB"
    assert rows["anon-thp-pte-partial"] == f"{511 * 4} kB"


def test_folios_that_do_not_lie_on_region_boundaries_are_counted_as_folios(thp, family):
    layout = capture(family("moved").pid)
    rows = dict(summary(layout))
    if "anon-thp-pte-unaligned-2048kB" not in rows:
        pytest.skip("the kernel had no huge page to give, or split it")
    assert rows["anon-thp-pte-unaligned-2048kB"] == f"{2 * 2 * 2048} kB"  # the inner two folios, in two processes
    n_pages = int(np.bitwise_count(layout.cell_slots).sum())
    assert layout.provenance["lru_entries"] == n_pages - 3 * 512 + 4  # three whole regions hold parts of four folios


def test_folios_of_64_kib_are_counted_as_folios(thp, madvised, family):
    """The child has copied one page of one of 32 folios, of which it maps the other 15."""
    sizes = {size: HUGEPAGES / f"hugepages-{size}kB" / "enabled" for size in (64, 2048)}
    if not sizes[64].exists():
        pytest.skip("this kernel has no huge pages of 64 KiB")
    with madvised.section():
        madvised.set(sizes[2048], "never")
        madvised.set(sizes[64], "madvise")
        layout = capture(family("advised").pid)
    rows = dict(summary(layout))
    if rows.get("anon-thp-pte-aligned-64kB") != f"{(32 + 31) * 64} kB":
        pytest.skip("the kernel had no pages of 64 KiB to give")
    assert rows["anon-thp-pte-partial"] == f"{15 * 4} kB"
    n_pages = int(np.bitwise_count(layout.cell_slots).sum())
    assert layout.provenance["lru_entries"] == n_pages - 512 + 32


def test_lru_entries_are_those_of_the_layout_where_all_folios_are_in_place(thp, captured):
    small = int(np.bitwise_count(captured.cell_slots[captured.cell_folio == 0]).sum())
    n_folios = len(np.unique(captured.cell_folio[captured.cell_folio > 0]))
    assert captured.provenance["lru_entries"] <= small + n_folios
    assert captured.provenance["lru_entries"] > n_folios


def test_pages_that_others_map_are_counted_one_by_one(family):
    layout = capture(family("one_outside").pid, children=False)
    whole = np.flatnonzero(np.bitwise_count(layout.cell_slots).sum(axis=1) == 512)
    assert len(whole) and layout.cell_outside[whole].max() == 1  # the cell of 512 pages has one that a child maps
    assert int(dict(summary(layout))["mapped elsewhere too"].split()[0]) < 512


def test_a_child_with_the_same_mm_is_no_process_of_its_own(family):
    process = family("shares_all")
    assert len([pid for pid in Path("/proc").glob("[0-9]*") if parent_of(pid) == process.pid]) == 2
    layout = capture(process.pid)
    cells = np.flatnonzero(layout.cell_region == first_region(layout))
    sharers = {tuple(np.flatnonzero(layout.members[layout.cell_members[cell]])) for cell in cells}
    assert (layout.n_processes, sharers) == (2, {(0, 1), (0,), (1,)})
    assert not layout.cell_outside[cells].any()


def parent_of(home):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return int((home / "stat").read_text().rpartition(")")[2].split()[1])


def test_a_private_mapping_of_dev_zero_is_captured(family):
    first_region(capture(family("dev_zero").pid))
