"""What a live kernel did (Linux 6.18, x86-64, root; p parent, c child, K khugepaged, M MADV_COLLAPSE), done by the model:
young pages, references and pins, swap and its cache.
"""

import numpy as np
import pytest

from tests.scenarios.truths import NR, huge_pair, pair, scanned
from thpsweep.model.scenario.process import Process
from thpsweep.model.scenario.scenario import Scenario
from thpsweep.outcomes import ScanResult

# ---- young, references, swap -----------------------------------------------------------------------------------------


def test_an_untouched_child_is_not_referenced_one_read_is_enough() -> None:
    scene = Scenario()
    parent = scene.process()
    parent.write([0])
    child = parent.fork()
    assert scanned(child) == ScanResult.LACK_REFERENCED_PAGE
    child.read([0])
    assert scanned(child) == ScanResult.SUCCEED


@pytest.mark.parametrize("before_fork", [True, False])
def test_vmsplice_blocks_every_sharer_and_madvise_goes_on(before_fork: bool) -> None:
    scene = Scenario(regions=2)
    parent = scene.process()
    parent.write(range(2 * NR))
    held = parent.vmsplice([3]) if before_fork else None
    child = parent.fork()
    held = parent.vmsplice([3]) if held is None else held
    frames = parent.frames
    for process in (parent, child):
        assert process.collapse() == ScanResult.PAGE_COUNT
        assert not process.is_huge(0) and process.is_huge(1)
        assert np.array_equal(process.frames[:NR], frames[:NR])
    scene.release(held)
    parent.collapse()
    assert parent.is_huge(0)


def test_a_page_pinned_before_a_fork_is_copied_for_the_child() -> None:
    scene = Scenario()
    parent = scene.process()
    parent.write(range(NR))
    parent.pin([3, 4])
    before, child = parent.frames, parent.fork()
    assert child.shared_pages(parent) == NR - 2 and scene.intact
    assert np.array_equal(parent.frames, before)
    assert scene.counts.total["fork_copies"][0] == 2
    parent.write([3, 4])
    assert np.array_equal(parent.frames, before), "the pinned page stays writable"


def test_a_pin_after_a_fork_copies_for_the_pinner_and_blocks_nobody_else() -> None:
    scene = Scenario()
    parent = scene.process()
    parent.write(range(NR))
    child, third = parent.fork(), parent.fork()
    theirs = child.frames
    child.pin([3, 4])
    assert np.array_equal(parent.frames, theirs) and child.shared_pages(parent) == NR - 2
    results = [process.collapse() for process in (child, parent, third)]
    assert results == [ScanResult.PAGE_COUNT, ScanResult.SUCCEED, ScanResult.SUCCEED]
    assert scene.intact


def test_a_fork_copies_all_of_a_pinned_thp() -> None:
    scene = Scenario()
    parent = scene.process()
    parent.huge()
    parent.pin([7])
    child = parent.fork()
    assert child.shared_pages(parent) == 0 and not child.is_huge() and not parent.is_huge()
    assert scene.counts.total["fork_copies"][0] == NR and scene.counts.total["pmd_splits"][0] == 1
    assert scene.pages_in_use == 2 * NR and scene.intact


def test_a_vmspliced_page_outlives_its_mappings() -> None:
    scene = Scenario()
    parent = scene.process()
    parent.write(range(NR))
    child = parent.fork()
    held = child.vmsplice([3])
    for process in (parent, child):
        process.write([3])
    assert scene.pages_in_use == NR + 2, "each has a copy of its own, the pipe the old page"
    scene.release(held)
    assert scene.pages_in_use == NR + 1 and scene.intact


def test_khugepaged_meets_a_held_page_within_its_walk() -> None:
    scene = Scenario()
    parent = scene.process()
    parent.write(range(NR))
    parent.vmsplice([100])
    assert scanned(parent) == ScanResult.PAGE_COUNT
    assert scene.counts.total["ptes_scanned"][0] % NR == 101 * scene.counts.total["full_scans"][0] % NR


def test_pageout_of_shared_pages_does_nothing() -> None:
    for scene, parent, child in (pair(), huge_pair()):
        child.page_out(range(NR))
        assert child.swap_kib == 0 and child.shared_pages(parent) == NR
        assert scene.counts.total["swap_outs"][0] == 0


def swapped_then_forked() -> tuple[Scenario, Process, Process]:
    """Swap 64 pages out, fork, and let the child collapse."""
    scene = Scenario()
    parent = scene.process()
    parent.write(range(NR))
    parent.page_out(range(64))
    child = parent.fork()
    assert child.collapse() == ScanResult.SUCCEED
    return scene, parent, child


def test_a_child_swaps_in_the_parent_keeps_its_swap_ptes() -> None:
    scene, parent, child = swapped_then_forked()
    assert scene.counts.total["swap_ins"][0] == 64
    assert parent.swap_kib == 64 * 4 and child.swap_kib == 0 and scene.intact


def test_the_parent_reads_from_the_swap_cache() -> None:
    scene, parent, _ = swapped_then_forked()
    parent.read(range(64))
    assert scene.counts.total["swap_ins"][0] == 64


def test_who_reads_the_same_pages_back_shares_them_again() -> None:
    scene = Scenario()
    parent = scene.process()
    parent.write(range(NR))
    parent.page_out(range(64))
    child = parent.fork()
    parent.read(range(64))
    assert scene.pages_in_use == NR and scene.cached_pages == 0
    parent.write([0])
    assert scene.counts.total["cow_faults"][0] == 1 and scene.cached_pages == 1, "the child has it in swap still"
    child.read(range(64))
    assert child.shared_pages(parent) == NR - 1 and scene.intact
    assert (scene.counts.total["swap_ins"][0], scene.counts.total["swap_cache_faults"][0]) == (64, 64)
    parent.exit()
    child.write(range(64))
    assert scene.counts.total["cow_faults"][0] == 1, "the last one reuses them"


def test_what_the_last_holder_finds_in_the_swap_cache_is_not_exclusive() -> None:
    """Seen on 6.18 in a random case: the swap cache refers to it still, and a write takes a reuse fault."""
    scene = Scenario()
    parent = scene.process()
    parent.write(range(NR))
    parent.page_out(range(64))
    child = parent.fork()
    child.write(range(64))
    parent.read(range(64))
    parent.write(range(NR))
    total = scene.counts.total
    assert (total["swap_ins"][0], total["swap_copies"][0], total["swap_cache_faults"][0]) == (64, 64, 64)
    assert (total["reuse_faults"][0], total["cow_faults"][0]) == (64, NR - 64) and scene.intact


@pytest.mark.parametrize("mechanism", ["inplace_pmd", "switch_pmd", "retract"])
def test_all_sharers_read_back_what_any_of_them_has_in_swap(mechanism: str) -> None:
    scene = Scenario()
    parent = scene.process()
    parent.write(range(NR))
    parent.page_out(range(64))
    child = parent.fork()
    child.read(range(NR))
    assert scene.khugepaged(mechanism, full_scans=1, max_ptes_swap=63) == {ScanResult.EXCEED_SWAP_PTE: 2}
    assert child.collapse(mechanism) == ScanResult.SUCCEED
    assert parent.is_huge() and child.is_huge() and child.shared_pages(parent) == NR and scene.intact


@pytest.mark.parametrize("written", [0, 10])
def test_a_split_for_reclaim_gives_zeroes_back(written: int) -> None:
    scene = Scenario()
    process = scene.process()
    process.write(range(256))
    assert process.collapse() == ScanResult.SUCCEED and scene.pages_in_use == NR
    process.write(range(300, 300 + written))
    process.page_out(range(8))
    assert (scene.pages_in_use, process.rss_kib) == (248 + written, (248 + written) * 4)
    assert process.swap_kib == 8 * 4 and scene.intact
    assert process.collapse() == ScanResult.SUCCEED, "zero pages count as none, as before"
    assert scene.pages_in_use == NR and scene.intact


@pytest.mark.parametrize("take", [Process.vmsplice, Process.pin])
def test_gup_makes_a_folio_count_as_young_for_all_who_map_it(take) -> None:
    """Seen on 6.18: a child that touched nothing is collapsed by khugepaged, though all of its ptes are old."""
    scene = Scenario()
    parent = scene.process()
    parent.write(range(NR - 1))
    parent.age()
    scene.release(take(parent, [3]))
    child = parent.fork()
    assert not child.young.any() and scanned(child, max_ptes_shared=511) == ScanResult.SUCCEED


def test_gup_marks_all_of_a_large_folio_and_clear_refs_of_any_sharer_ends_it() -> None:
    scene = Scenario()
    parent = scene.process()
    parent.huge()
    parent.age()
    scene.release(parent.vmsplice([3]))
    child = parent.fork()
    child.write([3])
    child.age()
    assert scanned(child, max_ptes_shared=511) == ScanResult.LACK_REFERENCED_PAGE
    scene.release(parent.vmsplice([5]))  # a PMD maps it in the parent: all of the child's subpages are marked
    assert scanned(child, max_ptes_shared=511) == ScanResult.SUCCEED


def test_what_a_fork_copies_for_its_child_is_young_there() -> None:
    """Seen on 6.18 in random cases: copy_present_page() makes a pte anew."""
    scene = Scenario()
    parent = scene.process()
    parent.write(range(NR))
    parent.age()
    parent.pin([3])
    assert np.flatnonzero(parent.fork().young).tolist() == [3]


def test_the_reference_on_one_subpage_has_the_next_one_copied() -> None:
    """Seen on 6.18 in a random case: eight pages of a folio that the parent has left are pinned, one is reused."""
    scene = Scenario()
    parent = scene.process()
    parent.huge()
    parent.split()
    child = parent.fork()
    parent.collapse()
    before = child.frames
    child.pin(range(240, 248))
    assert np.flatnonzero(child.frames != before).tolist() == list(range(241, 248)) and scene.intact


def test_what_was_only_pinned_holds_zeroes_which_a_split_gives_back() -> None:
    """Seen on 6.18 in four random cases."""
    scene = Scenario()
    process = scene.process()
    process.write(range(5))
    scene.release(process.pin(range(17, 20)))
    process.collapse()
    process.page_out(range(153, 410))
    assert (process.rss_kib, process.swap_kib, scene.pages_in_use) == (5 * 4, 0, 5) and scene.intact
