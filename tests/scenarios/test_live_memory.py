"""What a live kernel did (Linux 6.18, x86-64, root), done by the model: MADV_PAGEOUT, MADV_DONTNEED, the swap cache, KSM."""

import numpy as np
import pytest

from tests.scenarios.truths import NR, huge_pair
from thpsweep.model.scenario.scenario import Scenario
from thpsweep.outcomes import ScanResult


def test_a_held_page_is_paged_out_and_stays_in_the_swap_cache() -> None:
    scene = Scenario()
    process = scene.process()
    process.write(range(NR))
    frames, held = process.frames, process.vmsplice([3])
    process.page_out(range(NR))
    assert (process.rss_kib, process.swap_kib) == (0, 2048)
    assert (scene.pages_in_use, scene.cached_pages) == (1, 1)
    process.write([3])
    assert process.frames[3] == frames[3], "the same page comes back, writable: no fork came between"
    assert scene.counts.total["swap_cache_faults"][0] == 1 and scene.counts.total["cow_faults"][0] == 0
    process.read(range(NR))
    scene.release(held)
    assert scene.pages_in_use == NR and scene.intact


def test_a_held_page_that_a_fork_shares_is_copied_after_it_was_paged_out() -> None:
    scene = Scenario()
    parent = scene.process()
    parent.write(range(8))
    held = parent.vmsplice([3])
    parent.page_out(range(8))
    child = parent.fork()
    parent.write([3])
    child.read([3])
    assert scene.intact and scene.pages_in_use == 2 and child.mapcounts[3] == 1
    child.write([3])
    assert scene.pages_in_use == 3, "the pipe keeps the old page"
    scene.release(held)
    assert scene.pages_in_use == 2 and scene.intact


@pytest.mark.parametrize("form", ["small", "huge"])
def test_a_pinned_page_is_not_paged_out(form: str) -> None:
    scene = Scenario()
    process = scene.process()
    process.write(range(NR)) if form == "small" else process.huge()
    process.pin([3])
    process.page_out(range(NR))
    assert process.swap_kib == (0 if form == "huge" else 2044)


def test_a_collapse_reads_all_from_swap_before_it_meets_the_reference() -> None:
    scene = Scenario()
    parent = scene.process()
    parent.write(range(NR))
    held = parent.vmsplice([3])
    parent.page_out(range(NR))
    child = parent.fork()
    assert child.rss_kib == 0
    assert child.collapse() == ScanResult.PAGE_COUNT
    assert (child.rss_kib, child.swap_kib, child.is_huge()) == (2048, 0, False)
    scene.release(held)
    parent.read(range(NR))
    assert child.collapse() == ScanResult.SUCCEED and scene.intact


def test_a_page_that_is_mapped_and_held_refuses_before_anything_is_read() -> None:
    scene = Scenario()
    process = scene.process()
    process.write(range(NR))
    process.vmsplice([3])
    process.page_out(range(64, 128))
    assert process.collapse() == ScanResult.PAGE_COUNT
    assert process.swap_kib == 64 * 4


def test_the_only_pmd_of_a_folio_is_no_sharer_though_it_has_no_mm_slot() -> None:
    """folio_maybe_mapped_shared() is false of a folio with one mapping, and a PMD is one."""
    scene, parent, child = huge_pair()
    third = parent.fork()
    parent.exit()
    child.exit()
    assert third.is_huge()
    third.page_out(range(10))
    assert third.swap_kib == 40 and scene.intact


def test_an_empty_page_table_is_collapsed_a_missing_one_is_not() -> None:
    for whole in (False, True):
        scene = Scenario()
        process = scene.process()
        process.write([0])
        process.discard(range(NR) if whole else [0])
        assert process.rss_kib == 0
        assert process.collapse() == (ScanResult.NO_PTE_TABLE if whole else ScanResult.SUCCEED)
        assert process.rss_kib == (0 if whole else 2048) and scene.intact


def test_a_child_has_the_empty_page_table_too() -> None:
    scene = Scenario()
    parent = scene.process()
    parent.write([0])
    parent.discard([0])
    child = parent.fork()
    assert scene.khugepaged(full_scans=1) == {ScanResult.EXCEED_NONE_PTE: 2}
    assert child.collapse() == ScanResult.SUCCEED and child.rss_kib == 2048 and parent.rss_kib == 0
    child.exit()
    parent.exit()
    assert scene.pages_in_use == 0


def test_a_page_that_ksm_put_into_two_slots_of_a_region_is_locked_at_the_second() -> None:
    scene = Scenario(regions=2)
    process = scene.process()
    process.write(range(2 * NR))
    process.merge([5, NR + 5])
    assert process.collapse(regions=[0]) == ScanResult.SUCCEED, "its twin is in the other region"
    process.merge([NR + 7, NR + 9])
    frames = process.frames
    assert process.collapse(regions=[1]) == ScanResult.PAGE_LOCK
    assert np.array_equal(process.frames, frames)
    process.write([NR + 9])
    assert process.collapse(regions=[1]) == ScanResult.SUCCEED and scene.intact


def test_a_fork_copies_the_rest_of_a_thp_whose_pinned_page_was_given_back() -> None:
    """Seen on 6.18 in a random case: the folio is pinned still, though the page is not mapped any more."""
    scene = Scenario()
    parent = scene.process()
    parent.huge()
    parent.split()
    parent.pin([118])
    parent.discard(range(72, 329))
    child = parent.fork()
    assert child.shared_pages(parent) == 0 and scene.counts.total["fork_copies"][0] == NR - 257
    assert scene.intact


# ---- old pages that are linked to a folio: no kernel does this, but reclaim must not harm it --------------------------


@pytest.mark.parametrize(("mechanism", "children"), [("incremental", 0), ("incremental", 1), ("deferred", 1)])
def test_pageout_of_linked_pages_keeps_the_state_whole(mechanism: str, children: int) -> None:
    scene = Scenario()
    process = scene.process()
    process.write(range(NR))
    for _ in range(children):
        process.fork()
    process.collapse(mechanism)
    process.page_out([0])
    assert process.swap_kib == 0 and scene.intact
    scene.settle(mechanism)
    assert (scene.lru_entries, scene.pages_in_use) == (1, NR) and scene.intact
    for each in scene.living:
        each.exit()
    assert (scene.lru_entries, scene.pages_in_use) == (0, 0)


def test_pageout_switches_the_mapper_of_a_deferred_page() -> None:
    scene = Scenario()
    parent = scene.process()
    parent.write(range(NR))
    child = parent.fork()
    parent.collapse("deferred")
    switched = scene.counts.total["ptes_switched"][0]
    child.page_out(range(5))
    assert scene.counts.total["ptes_switched"][0] == switched + 5 and child.swap_kib == 0
    assert child.shared_pages(parent) == 5
    scene.settle("deferred")
    assert scene.intact and child.shared_pages(parent) == NR


# ---- the scenario's own bookkeeping ----------------------------------------------------------------------------------


def test_frames_keep_their_names_over_two_forks_that_split_off_pinned_pages() -> None:
    scene = Scenario()
    process = scene.process()
    process.write(range(NR))
    held, frames = process.pin([3, 4]), process.frames
    process.fork()
    assert np.array_equal(process.frames, frames)
    scene.release(held[1:])
    process.fork()
    assert np.array_equal(process.frames, frames) and scene.intact


def test_a_reference_that_has_ended_is_not_taken_for_another() -> None:
    scene = Scenario()
    one, other = scene.process(), scene.process()
    one.write(range(8))
    other.write(range(8))
    held = one.pin([3])
    scene.release(held)
    other.pin([3])
    with pytest.raises(ValueError, match="1 of 1 references have ended"):
        scene.release(held)
    assert other.collapse() == ScanResult.PAGE_COUNT
