"""What a live kernel did (Linux 6.18, x86-64, root; p parent, c child, K khugepaged, M MADV_COLLAPSE), done by the model:
huge pages that are written, split and left, and the two MM slots of a folio.
"""

import numpy as np
import pytest

from tests.scenarios.truths import NR, Family, huge_pair, pair, scanned
from thpsweep.model.scenario.process import Process
from thpsweep.model.scenario.scenario import Scenario
from thpsweep.outcomes import ScanResult

# ---- huge pages ------------------------------------------------------------------------------------------------------


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


# ---- the two MM slots of a folio -------------------------------------------------------------------------------------


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
