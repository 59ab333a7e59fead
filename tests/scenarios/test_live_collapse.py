"""What a live kernel did (Linux 6.18, x86-64, root; p parent, c child, K khugepaged, M MADV_COLLAPSE), done by the model:
collapses after forks, limits, a family of four, memory cgroups.
"""

import numpy as np
import pytest

from tests.scenarios.truths import NR, pair, scanned
from thpsweep.model.scenario.scenario import Scenario
from thpsweep.model.state.rules import Rules
from thpsweep.outcomes import ScanResult

# ---- collapse after fork ---------------------------------------------------------------------------------------------


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


# ---- limits ----------------------------------------------------------------------------------------------------------


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


# ---- a family of four ------------------------------------------------------------------------------------------------


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
    process = Scenario(regions=3, rules=Rules(goes_on_at_empty=not stops)).process()
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
