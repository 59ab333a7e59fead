"""What a live kernel did (Linux 6.18, x86-64, root; p parent, c child, K khugepaged, M MADV_COLLAPSE), done by the model."""

from collections.abc import Callable

import numpy as np
import pytest

from thpsweep.model.scenario import Scenario
from thpsweep.model.scenario_process import Process
from thpsweep.outcomes import ScanResult

NR = 512
Family = Callable[[], tuple[Scenario, Process, Process]]


def pair() -> tuple[Scenario, Process, Process]:
    """Let a parent write small pages (a full region) and fork; both have read all of it since."""
    scene = Scenario(processes=16)
    parent = scene.process()
    parent.write(range(NR))
    child = parent.fork()
    child.read(range(NR))
    return scene, parent, child


def huge_pair() -> tuple[Scenario, Process, Process]:
    """Let a parent get a THP at fault and fork; both have read all of it since."""
    scene = Scenario(processes=16)
    parent = scene.process()
    parent.huge()
    child = parent.fork()
    child.read(range(NR))
    return scene, parent, child


def scanned(process: Process, **limits: int) -> ScanResult:
    """Let khugepaged go over one process once; give its result."""
    for other in process.scene.living:
        other.advised = other is process
    results = process.scene.khugepaged(full_scans=1, **limits)
    result = next(result for result in results if result != ScanResult.VMA_CHECK)
    assert process.is_huge() == (result == ScanResult.SUCCEED)
    return result


# ---- collapse after fork --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["parent", "child"])
def test_collapse_after_fork_leaves_the_other_one_with_the_old_frames(who: str) -> None:
    scene, parent, child = pair()
    caller, other = (parent, child) if who == "parent" else (child, parent)
    before = caller.frames
    assert (other.mapcounts == 2).all() and other.pss_kib == 1024
    assert caller.collapse() == ScanResult.SUCCEED
    assert caller.anon_huge_kib == 2048 and not np.isin(caller.frames, before).any()
    assert np.array_equal(other.frames, before) and (other.mapcounts == 1).all() and other.pss_kib == 2048
    assert scene.counts.total["collapses"][0] == 1 and caller.shared_pages(other) == 0


def test_collapse_in_the_parent_then_fork() -> None:
    scene, parent, early = pair()
    before = parent.frames
    parent.collapse()
    late = parent.fork()
    assert late.is_huge() and late.shared_pages(parent) == NR
    assert np.array_equal(early.frames, before) and early.shared_pages(parent) == 0
    assert scene.pages_in_use == 2 * NR


# ---- limits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shared", "result"),
    [(257, ScanResult.EXCEED_SHARED_PTE), (256, ScanResult.SUCCEED), (255, ScanResult.SUCCEED)],
)
def test_max_ptes_shared_256(shared: int, result: ScanResult) -> None:
    _, parent, child = pair()
    child.write(range(NR - shared))
    assert child.shared_pages(parent) == shared
    assert scanned(child, max_ptes_shared=256) == result


@pytest.mark.parametrize(
    ("limit", "present", "result"),
    [
        (256, 255, ScanResult.EXCEED_NONE_PTE),
        (256, 256, ScanResult.SUCCEED),
        (256, 257, ScanResult.SUCCEED),
        (0, 511, ScanResult.EXCEED_NONE_PTE),
        (0, 512, ScanResult.SUCCEED),
    ],
)
def test_max_ptes_none(limit: int, present: int, result: ScanResult) -> None:
    process = Scenario().process()
    process.write(range(present))
    assert scanned(process, max_ptes_none=limit) == result
    assert process.is_huge() or process.collapse() == ScanResult.SUCCEED  # M ignores it


@pytest.mark.parametrize(
    ("swapped", "result"), [(1, ScanResult.SUCCEED), (64, ScanResult.SUCCEED), (65, ScanResult.EXCEED_SWAP_PTE)]
)
def test_max_ptes_swap_64(swapped: int, result: ScanResult) -> None:
    scene = Scenario()
    process = scene.process()
    process.write(range(NR))
    process.page_out(range(swapped))
    assert scanned(process, max_ptes_swap=64) == result
    assert process.is_huge() or process.collapse() == ScanResult.SUCCEED  # M takes 65
    assert scene.counts.total["swap_ins"][0] == swapped and scene.intact


@pytest.mark.parametrize(("young", "result"), [(255, ScanResult.LACK_REFERENCED_PAGE), (256, ScanResult.SUCCEED)])
def test_half_must_be_young_where_pages_are_swapped(young: int, result: ScanResult) -> None:
    process = Scenario().process()
    process.write(range(NR))
    process.page_out(range(64))
    process.age()
    process.read(range(64, 64 + young))
    assert scanned(process) == result


def test_zero_pages_count_as_none() -> None:
    for limit, result in ((255, ScanResult.EXCEED_NONE_PTE), (256, ScanResult.SUCCEED)):
        process = Scenario().process()
        process.write(range(256))
        process.read(range(NR))
        assert scanned(process, max_ptes_none=limit) == result


def test_madvise_makes_a_real_huge_page_of_zero_pages() -> None:
    scene = Scenario()
    process = scene.process()
    process.write([0])
    process.discard([0])
    process.read(range(NR))
    assert (scene.pages_in_use, process.rss_kib) == (0, 0)
    assert process.collapse() == ScanResult.SUCCEED
    assert scene.pages_in_use == NR and scene.counts.total["ptes_cleared"][0] == NR
    assert process.is_huge() and scene.intact


def test_a_process_that_only_reads_has_no_anon_vma_and_is_refused() -> None:
    """Seen on 6.18: EINVAL without an event, and khugepaged passes it over. Its fork copies no pte."""
    scene = Scenario()
    parent = scene.process()
    parent.read(range(NR))
    child = parent.fork()
    assert scene.counts.total["fork_ptes_small"][0] == 0
    assert parent.collapse() == child.collapse() == ScanResult.VMA_CHECK
    assert scene.khugepaged(full_scans=1) == {ScanResult.VMA_CHECK: 2}
    child.write([3])
    assert (parent.collapse(), child.collapse()) == (ScanResult.VMA_CHECK, ScanResult.SUCCEED)
    assert scene.pages_in_use == NR and scene.intact


def test_a_family_of_zero_pages_has_nothing_to_share() -> None:
    scene = Scenario()
    parent = scene.process()
    parent.write([0])
    parent.discard([0])
    parent.read(range(NR))
    child = parent.fork()
    total = scene.counts.total
    assert total["fork_ptes_small"][0] == NR, "a fork copies ptes of the zero page as any other"
    assert parent.collapse("inplace_pmd") == ScanResult.PAGE_NULL
    child.write([3])
    assert (scene.pages_in_use, total["cow_faults"][0], total["minor_faults"][0]) == (1, 1, NR + 1)
    parent.discard(range(NR))
    assert parent.collapse() == ScanResult.NO_PTE_TABLE and scene.intact


@pytest.mark.parametrize("mechanism", ["inplace_pmd", "retract"])
def test_a_zero_page_is_a_hole_over_a_page_or_a_slot_without_a_source(mechanism: str) -> None:
    for written, mapped in ((NR, False), (NR - 1, True)):
        scene = Scenario()
        parent = scene.process()
        parent.write(range(NR - 1))
        child = parent.fork()
        child.read(range(NR))
        parent.write(range(NR - 1, written))  # the child's zero page then lies over the parent's last page
        assert parent.collapse(mechanism) == ScanResult.SUCCEED
        assert child.is_huge() == mapped and child.reads[NR - 1] == 0 and scene.intact


# ---- huge pages -----------------------------------------------------------------------------------------------------


def test_a_pte_mapped_exclusive_thp_is_copied_to_new_frames() -> None:
    scene = Scenario()
    process = scene.process()
    process.huge()
    process.split()
    before = process.frames
    assert process.collapse() == ScanResult.SUCCEED
    assert process.is_huge() and not np.isin(process.frames, before).any()
    assert scene.counts.total["pages_copied"][0] == NR and scene.pages_in_use == NR


def test_a_shared_pte_mapped_thp_is_collapsed_by_one_after_the_other() -> None:
    scene, parent, child = huge_pair()
    before = parent.frames
    for process in (parent, child):
        process.split()
    for process in (parent, child):
        assert process.collapse() == ScanResult.SUCCEED
        assert not np.isin(process.frames, before).any()
    assert scene.pages_in_use == 2 * NR and scene.intact


@pytest.mark.parametrize(("copied", "result"), [(255, ScanResult.EXCEED_SHARED_PTE), (256, ScanResult.SUCCEED)])
def test_shared_thp_of_which_the_child_copied_half(copied: int, result: ScanResult) -> None:
    _, parent, child = huge_pair()
    child.write(range(copied))
    assert scanned(child) == result
    assert parent.is_huge()


def test_write_to_a_shared_pmd_mapped_thp_splits_the_pmd_and_copies_one_page() -> None:
    scene, parent, child = huge_pair()
    before = parent.frames
    child.write([7])
    count = scene.counts.total
    assert (count["pmd_splits"][0], count["cow_faults"][0]) == (1, 1)
    assert not child.is_huge() and child.shared_pages(parent) == NR - 1
    assert parent.is_huge() and np.array_equal(parent.frames, before)
    parent.write([8])
    assert not parent.is_huge() and count["pmd_splits"][0] == 2 and parent.shared_pages(child) == NR - 2


def test_child_gone_parent_reuses_small_pages() -> None:
    scene, parent, child = pair()
    before = parent.frames
    child.exit()
    parent.write(range(NR))
    assert np.array_equal(parent.frames, before)
    assert (scene.counts.total["reuse_faults"][0], scene.counts.total["cow_faults"][0]) == (NR, 0)


def test_child_gone_parent_reuses_its_pmd() -> None:
    scene, parent, child = huge_pair()
    before = parent.frames
    child.exit()
    parent.write(range(NR))
    assert parent.is_huge() and np.array_equal(parent.frames, before)
    assert (scene.counts.total["reuse_pmds"][0], scene.counts.total["pmd_splits"][0]) == (1, 0)


@pytest.mark.parametrize(("make", "after"), [(pair, NR), (huge_pair, NR + 256)])
def test_parent_writes_half_then_the_child_exits(make: Family, after: int) -> None:
    """Measured 772 -> 514 (small) and 772 -> 771 (compound): all but 2 to 4 of them are memory of the range."""
    scene, parent, child = make()
    parent.write(range(256))
    assert scene.pages_in_use == NR + 256
    child.exit()
    assert scene.pages_in_use == after
    parent.page_out([NR - 1])  # splits what is left of a folio, and so frees its dead half
    assert scene.pages_in_use == NR - 1 and scene.intact


# ---- the two MM slots of a folio ------------------------------------------------------------------------------------


def three(survivor: int) -> Process:
    """Let three processes share a pte-mapped THP, and all but one of them exit."""
    scene = Scenario()
    parent = scene.process()
    parent.huge()
    parent.split()
    parent.fork()
    parent.fork()
    for process in scene.living:
        process.read(range(NR))
        if process.number != survivor:
            process.exit()
    return scene.living[0]


@pytest.mark.parametrize("survivor", [0, 1])
def test_a_survivor_with_a_slot_collapses_and_reuses(survivor: int) -> None:
    process = three(survivor)
    before = process.frames
    process.write(range(5))
    assert np.array_equal(process.frames, before)
    assert scanned(process) == ScanResult.SUCCEED


def test_a_survivor_without_a_slot_is_refused() -> None:
    assert scanned(three(2)) == ScanResult.EXCEED_SHARED_PTE


def test_a_survivor_without_a_slot_copies_what_it_writes() -> None:
    process = three(2)
    before = process.frames
    process.write(range(5))
    assert np.count_nonzero(process.frames != before) == 5


def test_a_child_that_takes_a_free_slot_makes_sharing_exact_again() -> None:
    scene = Scenario()
    parent = scene.process()
    parent.huge()
    parent.split()
    child, third = parent.fork(), parent.fork()
    child.exit()
    fourth = third.fork()
    parent.exit()
    third.exit()
    before = fourth.frames
    fourth.write(range(5))
    assert np.array_equal(fourth.frames, before)


def test_a_survivor_without_a_slot_reuses_while_pmd_mapped() -> None:
    _, parent, child = huge_pair()
    grandchild = parent.fork()
    before = grandchild.frames
    parent.exit()
    child.exit()
    grandchild.write(range(5))
    assert grandchild.is_huge() and np.array_equal(grandchild.frames, before)


def test_a_write_to_the_last_mapped_page_of_a_thp_frees_it() -> None:
    """Not observed, read: mm/memory.c __wp_can_reuse_large_anon_folio(), folio_large_mapcount() <= 1 (v6.15)."""
    scene, parent, child = huge_pair()
    child.exit()
    parent.discard(range(1, NR))
    parent.write([0])
    assert scene.pages_in_use == 1


# ---- young, references, swap ----------------------------------------------------------------------------------------


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


# ---- a family of four -----------------------------------------------------------------------------------------------


def four() -> Scenario:
    """Let four processes share 512 small pages, all young."""
    scene = Scenario()
    parent = scene.process()
    parent.write(range(NR))
    for _ in range(3):
        parent.fork()
    for process in scene.living:
        process.read(range(NR))
    return scene


@pytest.mark.parametrize("limit", [256, 511])
def test_khugepaged_refuses_a_fully_shared_family(limit: int) -> None:
    scene = four()
    assert scene.khugepaged(full_scans=1, max_ptes_shared=limit) == {ScanResult.EXCEED_SHARED_PTE: 4}


def test_one_private_page_each_and_all_four_collapse_in_one_pass() -> None:
    scene = four()
    for process in scene.living:
        process.write([process.number])
    assert scene.khugepaged(full_scans=1, max_ptes_shared=511) == {ScanResult.SUCCEED: 4}
    assert all(process.is_huge() for process in scene.living) and scene.intact
    # In the order of their registration: page 3 is the third one's alone by then, and all are the last one's.
    assert scene.counts.total["sharing_lost_pages"][0] == 511 + 511 + 510 + 0
    assert (scene.lru_entries, scene.pages_in_use) == (4, 4 * NR)


@pytest.mark.parametrize(("stops", "huge"), [(True, [True, False, False]), (False, [True, False, True])])
def test_madvise_stops_at_an_empty_region_up_to_6_18(stops: bool, huge: list[bool]) -> None:
    """Seen on 6.18: nothing behind it is collapsed. Read in mm/khugepaged.c (b2128290c299): madvise_collapse() goes on."""
    process = Scenario(regions=3, stops_at_empty=stops).process()
    process.write([*range(NR), *range(2 * NR, 3 * NR)])
    assert process.collapse() == ScanResult.NO_PTE_TABLE
    assert [process.is_huge(region) for region in range(3)] == huge


# ---- memory cgroups --------------------------------------------------------------------------------------------------


def test_a_folio_that_the_cgroup_does_not_allow_is_not_charged() -> None:
    """Seen on 6.18: EBUSY and ccgroup_charge_failed, MADV_COLLAPSE ends there; khugepaged goes on with the next mm."""
    scene = Scenario(regions=2)
    parent = scene.process()
    parent.write(range(2 * NR))
    child = parent.fork()
    child.read(range(2 * NR))
    for process in scene.living:
        process.write([process.number])
    before = parent.frames
    scene.limit((NR - 1) * 4096)
    assert parent.collapse() == child.collapse() == ScanResult.CGROUP_CHARGE_FAIL
    results = scene.khugepaged(full_scans=1, max_ptes_shared=NR - 1)
    assert results == {ScanResult.CGROUP_CHARGE_FAIL: 2, ScanResult.EXCEED_SHARED_PTE: 2}, (
        "the second region is all shared"
    )
    assert np.array_equal(parent.frames, before) and scene.intact
    assert scene.counts.total["thp_collapse_alloc"][0] == 1 + 1 + 2, "the blocks were had, and given back"
    assert scene.counts.total["collapses"][0] == 0
    child.exit()
    scene.limit(NR * 4096)
    assert parent.collapse() == ScanResult.SUCCEED, "each copy frees what it copied before the next is charged"
    assert parent.is_huge(0) and parent.is_huge(1)


# ---- what no workload has: userfaultfd, MADV_FREE, KSM --------------------------------------------------------------
# Read in mm/khugepaged.c collapse_scan_pmd() (b2128290c299), not seen on a live kernel.


def test_a_pte_that_userfaultfd_protects_refuses_everybody_who_asks_for_its_process() -> None:
    scene, parent, child = pair()
    child.protect([100])
    assert child.collapse() == ScanResult.PTE_UFFD_WP and scanned(child, max_ptes_shared=511) == ScanResult.PTE_UFFD_WP
    assert child.collapse("inplace_pmd") == ScanResult.PTE_UFFD_WP
    assert parent.collapse("inplace_pmd") == ScanResult.SUCCEED
    assert parent.is_huge() and not child.is_huge() and parent.shared_pages(child) == NR
    child.write([100])
    assert child.collapse() == ScanResult.SUCCEED and scene.intact


@pytest.mark.parametrize(("slot", "result"), [(100, "PTE_UFFD_WP"), (400, "EXCEED_NONE_PTE")])
def test_the_first_pte_that_refuses_decides(slot: int, result: str) -> None:
    process = Scenario().process()
    process.write([*range(200), *range(300, NR)])
    process.protect([slot])
    assert scanned(process, max_ptes_none=50) == ScanResult[result]


def test_khugepaged_leaves_lazyfree_pages_alone_and_madvise_takes_them() -> None:
    scene = Scenario()
    process = scene.process()
    process.write(range(NR))
    process.free([7])
    assert scanned(process) == ScanResult.PAGE_LAZYFREE
    process.write([7])
    assert scanned(process) == ScanResult.SUCCEED
    other = Scenario().process()
    other.write(range(NR))
    other.free([7])
    assert other.collapse() == ScanResult.SUCCEED and other.intact


def test_ksm_pages_are_copied_by_mainline_and_refuse_all_sharers() -> None:
    scene, parent, child = pair()
    parent.merge([5])
    for mechanism in ("inplace", "switch", "deferred"):
        assert child.collapse(mechanism) == ScanResult.PAGE_ANON
    child.write([5])
    assert parent.collapse("inplace") == ScanResult.PAGE_ANON, "it still maps the merged page"
    assert child.collapse("inplace") == ScanResult.SUCCEED, "which is not among the child's any more"
    assert parent.collapse() == ScanResult.SUCCEED and scene.intact


@pytest.mark.parametrize("present", [NR, NR - 1])
def test_where_userfaultfd_is_registered_no_empty_pte_is_filled(present: int) -> None:
    scene = Scenario()
    process = scene.process()
    process.write(range(present))
    process.protect([])
    result = ScanResult.SUCCEED if present == NR else ScanResult.EXCEED_NONE_PTE
    assert process.collapse() == result
    child = process.fork()
    child.write([0])
    assert child.collapse() == ScanResult.SUCCEED, "it is not inherited"


@pytest.mark.parametrize(("mechanism", "result"), [("copy", "LACK_REFERENCED_PAGE"), ("inplace", "SUCCEED")])
def test_a_page_is_young_for_an_all_sharers_mechanism_where_any_sharer_used_it(mechanism: str, result: str) -> None:
    scene = Scenario()
    parent = scene.process()
    parent.write(range(NR))
    child = parent.fork()
    child.write([0])
    child.age()
    parent.advised = False  # only the child is visited, whose ptes are old
    assert scene.khugepaged(mechanism, full_scans=1, max_ptes_shared=NR - 1)[ScanResult[result]] == 1
