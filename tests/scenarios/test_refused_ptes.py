"""Ptes that refuse a collapse and that no workload has: userfaultfd, MADV_FREE, KSM."""

import pytest

from tests.scenarios.truths import NR, pair, scanned
from thpsweep.model.scenario.scenario import Scenario
from thpsweep.outcomes import ScanResult

# ---- what no workload has: userfaultfd, MADV_FREE, KSM ---------------------------------------------------------------
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
