"""The slow twin's scan against the kernel's own selftests and limits."""

import pytest

from tests.reference.shapes import (
    DEFAULTS,
    FULL,
    fixed_inputs,
    frames_of,
    parent_alone,
    parent_huge,
    shared_by,
    write_slots,
)
from tests.reference.twin import Twin
from tests.reference.twin_khugepaged import madvise
from tests.reference.twin_scan import ALL_SHARERS

# ---- khugepaged selftests (tools/testing/selftests/mm/khugepaged.c) --------------------------------------------------


def test_selftest_collapse_full():
    twin = Twin(4, 1, [(region, (0,), FULL, 0) for region in range(4)])
    madvise(twin, "copy", {}, fixed_inputs)
    assert twin.pmd_rows() == {(region, 0) for region in range(4)}


def test_selftest_collapse_empty():
    assert parent_alone([]).collapse("copy", 0, 0, **DEFAULTS) == ("NO_PTE_TABLE", 1, False)


def test_selftest_collapse_single_pte_entry():
    twin = parent_alone([0])
    assert twin.collapse("copy", 0, 0, **DEFAULTS) == ("SUCCEED", 512, True)
    assert (twin.counts["bloat_pages"], twin.counts["pages_cleared"], twin.counts["pages_copied"]) == (511, 511, 1)


@pytest.mark.parametrize(("present", "outcome"), [(255, "EXCEED_NONE_PTE"), (256, "SUCCEED"), (257, "SUCCEED")])
def test_selftest_collapse_max_ptes_none(present, outcome):
    limits = {**DEFAULTS, "max_ptes_none": 256}
    assert parent_alone(range(present)).collapse("copy", 0, 0, **limits)[0] == outcome
    assert parent_alone(range(present)).collapse("copy", 0, 0)[0] == "SUCCEED"


@pytest.mark.parametrize(("swapped", "outcome"), [(64, "SUCCEED"), (65, "EXCEED_SWAP_PTE")])
def test_selftest_collapse_max_ptes_swap(swapped, outcome):
    def paged_out() -> Twin:
        return Twin(1, 1, [(0, (0,), range(swapped, 512), 0)], {(0, 0): set(range(swapped))})

    assert paged_out().collapse("copy", 0, 0, **DEFAULTS)[0] == outcome
    twin = paged_out()
    assert twin.collapse("copy", 0, 0)[0] == "SUCCEED"
    assert (twin.counts["swap_ins"], twin.counts["ptes_cleared"]) == (swapped, 512)
    twin.check_invariants()


@pytest.mark.parametrize("limits", [{}, DEFAULTS])
def test_selftest_collapse_fork(limits):
    twin = parent_alone([0])
    twin.fork(0, 1)
    write_slots(twin, 1, [1])
    assert twin.collapse("copy", 0, 1, **limits)[0] == "SUCCEED"
    assert twin.pmd_rows() == {(0, 1)}
    assert (twin.present(0, 0), twin.compound(0, 0)) == ({0}, set())
    twin.check_invariants()


@pytest.mark.parametrize(("written", "outcome"), [(255, "EXCEED_SHARED_PTE"), (256, "SUCCEED"), (257, "SUCCEED")])
def test_selftest_collapse_max_ptes_shared(written, outcome):
    def child_writes() -> Twin:
        twin = parent_huge()
        twin.fork(0, 1)
        write_slots(twin, 1, range(written))
        return twin

    for limits, expected in ((DEFAULTS, outcome), ({}, "SUCCEED")):
        twin = child_writes()
        assert twin.collapse("copy", 0, 1, **limits)[0] == expected
        assert (0, 0) in twin.pmd_rows()
        assert ((0, 1) in twin.pmd_rows()) == (expected == "SUCCEED")
        twin.check_invariants()


@pytest.mark.parametrize("mechanism", ALL_SHARERS)
def test_selftest_rmap_every_process_sees_the_same_new_frame(mechanism):
    twin = parent_alone([77], n_sharers=6)
    for parent, child in [(0, 1), (0, 2), (1, 3), (3, 4), (2, 5)]:
        twin.fork(parent, child)
    old = twin.rows[0, 0].frames[77]
    twin.collapse(mechanism, 0, 4)
    new = {twin.rows[0, sharer].frames[77] for sharer in range(6)}
    assert len(new) == 1 and old not in new


def test_copy_fails_the_rmap_selftest():
    twin = parent_alone([77])
    twin.fork(0, 1)
    twin.collapse("copy", 0, 1)
    assert twin.partition(0)[77] == {frozenset({0}), frozenset({1})}


# ---- the scan --------------------------------------------------------------------------------------------------------


def test_exactly_the_limit_passes_and_one_more_ends_the_walk_where_it_is_met():
    twin = shared_by(2)
    assert twin.collapse("copy", 0, 0, max_ptes_shared=511) == ("EXCEED_SHARED_PTE", 512, False)
    assert twin.collapse("copy", 0, 0, max_ptes_shared=256) == ("EXCEED_SHARED_PTE", 257, False)
    assert twin.collapse("copy", 0, 0, max_ptes_shared=512) == ("SUCCEED", 512, True)
    assert twin.counts["ptes_scanned"] == 512 + 257 + 512


def test_shared_asks_the_folio_not_the_page():
    # The other sharer maps one page of the folio: all 512 of ours count.
    twin = Twin(1, 2, [(0, (0, 1), [0], 1), (0, (0,), range(1, 512), 1)])
    assert twin.collapse("copy", 0, 0, max_ptes_shared=256) == ("EXCEED_SHARED_PTE", 257, False)


def test_max_ptes_shared_does_not_bind_the_mechanisms_that_keep_the_sharing():
    assert shared_by(2).collapse("inplace", 0, 0, **DEFAULTS)[0] == "SUCCEED"


def test_all_sharers_mechanisms_know_their_own_product():
    twin = shared_by(2)
    twin.collapse("inplace", 0, 0)
    assert twin.collapse("inplace", 0, 1) == ("PTE_MAPPED_HUGEPAGE", 512, False)
    assert twin.collapse("copy", 0, 1) == ("SUCCEED", 512, True)  # mainline copies it again


@pytest.mark.parametrize("mechanism", ALL_SHARERS)
@pytest.mark.parametrize("reader", [None, 1, 2])
def test_all_sharers_mechanisms_bring_back_what_any_sharer_has_in_swap(mechanism, reader):
    twin = shared_by(3)
    twin.reclaim([(0, 0, slot, False) for slot in range(64)])
    if reader is not None:
        twin.read_in(0, reader, 5)
    assert twin.collapse(mechanism, 0, 0, max_ptes_swap=63)[0] == "EXCEED_SWAP_PTE"
    assert twin.collapse(mechanism, 0, 0, max_ptes_swap=64)[0] == "SUCCEED"
    assert (twin.counts["swap_ins"], twin.counts["swap_cache_faults"]) == (64, 128), "each page is read once"
    assert twin.partition(0) == dict.fromkeys(range(512), frozenset({frozenset({0, 1, 2})})), "and shared as before"
    twin.check_invariants()


def test_a_sharers_own_page_in_swap_does_not_concern_the_others():
    twin = shared_by(2)
    write_slots(twin, 1, [7])
    twin.reclaim([(0, 1, 7, False)])
    assert twin.collapse("inplace_pmd", 0, 0, max_ptes_swap=0)[0] == "SUCCEED"
    assert twin.swapped(0, 1) == {7} and twin.pmd_rows() == {(0, 0)}


def test_who_is_left_with_a_page_that_others_have_in_swap_copies_it():
    twin = shared_by(3)
    twin.reclaim([(0, 0, slot, False) for slot in range(4)])
    twin.read_in(0, 0, 0)
    write_slots(twin, 0, [0])
    assert (twin.counts["cow_faults"], twin.lru_entries()) == (1, 508 + 2), "its copy, and the page in the swap cache"
    twin.exit(1)
    twin.exit(2)
    twin.read_in(0, 0, 1)
    assert twin.exclusive(0, 0) == {0, 1} and twin.lru_entries() == 508 + 2
    twin.check_invariants()


def test_only_khugepaged_asks_for_young_pages():
    assert shared_by(1).collapse("copy", 0, 0, khugepaged=True, young=0)[0] == "LACK_REFERENCED_PAGE"
    assert shared_by(1).collapse("copy", 0, 0, khugepaged=False, young=0)[0] == "SUCCEED"


@pytest.mark.parametrize("mechanism", ["copy", *ALL_SHARERS])
def test_an_extra_reference_from_before_refuses_without_any_waste(mechanism):
    twin = shared_by(3)
    before = frames_of(twin)
    assert twin.collapse(mechanism, 0, 0, extra_reference=True) == ("PAGE_COUNT", 512, False)
    assert twin.counts == {"ptes_scanned": 512}
    assert frames_of(twin) == before


def test_none_never_looks():
    twin = shared_by(3)
    assert twin.collapse("none", 0, 0) == (None, 0, False)
    assert not twin.counts and not twin.outcomes
