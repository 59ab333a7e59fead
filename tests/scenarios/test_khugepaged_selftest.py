"""All anonymous cases of the kernel's khugepaged selftest, in both contexts, at the limits and one beyond.

Source: tools/testing/selftests/mm/khugepaged.c (torvalds/linux 00679a183ac6): 12 cases in both contexts, 1 in one. What it
asserts is kept: huge or not, data, the parent. The results' names are what mm/khugepaged.c gives (b2128290c299).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from thpsweep.model.scenario.process import Process
from thpsweep.model.scenario.scenario import Scenario
from thpsweep.outcomes import ScanResult

NR = 512
SETTINGS = {"pages_to_scan": 8 * NR, "max_ptes_none": NR - 1, "max_ptes_swap": NR // 8, "max_ptes_shared": NR // 2}
"""The selftest's own settings of khugepaged."""


@dataclasses.dataclass(frozen=True)
class Context:
    """Who collapses: `khugepaged` with its limits, or `madvise` without."""

    name: str

    @property
    def enforces(self) -> bool:
        """Whether the limits are enforced."""
        return self.name == "khugepaged"

    def collapse(self, process: Process, expected: ScanResult, **changed: Any) -> None:
        """Collapse all of one process's regions, and assert that it ends so in each of them."""
        scene, regions = process.scene, process.scene.family.n_regions
        assert process.anon_huge_kib == 0, "unexpected huge page"
        if self.enforces:
            for other in scene.living:
                other.advised = other is process
            results = scene.khugepaged(**(SETTINGS | changed))  # two full scans, as wait_for_scan() waits for
            assert results[expected] >= regions
        else:
            assert process.collapse() == expected
        assert process.anon_huge_kib == (2048 * regions if expected == ScanResult.SUCCEED else 0)
        assert scene.intact


def alloc_hpage(scene: Scenario) -> Process:
    """Fault a region in and collapse it by MADV_COLLAPSE, as the selftest makes its huge pages."""
    process = scene.process()
    process.write(range(NR))
    assert process.collapse() == ScanResult.SUCCEED and process.is_huge()
    return process


def collapse_full(c: Context) -> None:
    process = Scenario(regions=4).process()
    process.write(range(4 * NR))
    c.collapse(process, ScanResult.SUCCEED)


def collapse_empty(c: Context) -> None:
    c.collapse(Scenario().process(), ScanResult.VMA_CHECK)


def collapse_single_pte_entry(c: Context) -> None:
    process = Scenario().process()
    process.write([0])
    c.collapse(process, ScanResult.SUCCEED)


def collapse_max_ptes_none(c: Context) -> None:
    process = Scenario().process()
    process.write(range(NR // 2 - 1))
    refused = ScanResult.EXCEED_NONE_PTE if c.enforces else ScanResult.SUCCEED
    c.collapse(process, refused, max_ptes_none=NR // 2)
    if c.enforces:
        process.write(range(NR // 2))
        c.collapse(process, ScanResult.SUCCEED, max_ptes_none=NR // 2)


def collapse_single_pte_entry_compound(c: Context) -> None:
    scene = Scenario()
    process = alloc_hpage(scene)
    process.discard(range(1, NR))
    assert not process.is_huge() and process.rss_kib == 4 and scene.pages_in_use == NR
    c.collapse(process, ScanResult.SUCCEED)
    assert (scene.lru_entries, scene.pages_in_use) == (1, NR)


def collapse_full_of_compound(c: Context) -> None:
    process = alloc_hpage(Scenario())
    process.split()
    c.collapse(process, ScanResult.SUCCEED)


def collapse_compound_extreme(c: Context) -> None:
    scene = Scenario()
    process = scene.process()
    process.lone_subpages(range(NR))
    assert (scene.lru_entries, scene.pages_in_use) == (NR, NR * NR)
    c.collapse(process, ScanResult.SUCCEED)
    assert (scene.lru_entries, scene.pages_in_use) == (1, NR)


def collapse_swapin_single_pte(c: Context) -> None:
    process = Scenario().process()
    process.write(range(NR))
    process.page_out([0])
    assert process.swap_kib == 4
    c.collapse(process, ScanResult.SUCCEED)
    assert process.swap_kib == 0


def collapse_max_ptes_swap(c: Context) -> None:
    limit = SETTINGS["max_ptes_swap"]
    process = Scenario().process()
    process.write(range(NR))
    process.page_out(range(limit + 1))
    assert process.swap_kib == 4 * (limit + 1)
    c.collapse(process, ScanResult.EXCEED_SWAP_PTE if c.enforces else ScanResult.SUCCEED)
    if c.enforces:
        process.write(range(NR))
        process.page_out(range(limit))
        assert process.swap_kib == 4 * limit
        c.collapse(process, ScanResult.SUCCEED)


def collapse_fork(c: Context) -> None:
    scene = Scenario()
    parent = scene.process()
    parent.write([0])
    child, before = parent.fork(), parent.frames
    assert child.anon_huge_kib == 0
    child.write([1])
    c.collapse(child, ScanResult.SUCCEED)
    child.exit()
    assert parent.anon_huge_kib == 0 and np.array_equal(parent.frames, before) and scene.intact


def collapse_fork_compound(c: Context) -> None:
    scene = Scenario()
    parent = alloc_hpage(scene)
    child, before = parent.fork(), parent.frames
    assert child.is_huge()
    child.split()
    child.write([0])
    c.collapse(child, ScanResult.SUCCEED, max_ptes_shared=NR - 1)
    child.exit()
    assert parent.is_huge() and np.array_equal(parent.frames, before) and scene.intact


def collapse_max_ptes_shared(c: Context) -> None:
    scene, limit = Scenario(), SETTINGS["max_ptes_shared"]
    parent = alloc_hpage(scene)
    child, before = parent.fork(), parent.frames
    child.write(range(NR - limit - 1))
    assert not child.is_huge() and child.shared_pages(parent) == limit + 1
    c.collapse(child, ScanResult.EXCEED_SHARED_PTE if c.enforces else ScanResult.SUCCEED)
    if c.enforces:
        child.write(range(NR - limit))
        c.collapse(child, ScanResult.SUCCEED)
    child.exit()
    assert parent.is_huge() and np.array_equal(parent.frames, before) and scene.intact


def madvise_collapse_existing_thps(c: Context) -> None:
    process = Scenario().process()
    process.write(range(NR))
    c.collapse(process, ScanResult.SUCCEED)
    before = process.frames
    assert process.collapse() == ScanResult.PMD_MAPPED  # madvise() returns 0
    assert process.is_huge() and np.array_equal(process.frames, before) and process.intact


BOTH = ("khugepaged", "madvise")
CASES: list[tuple[Callable[[Context], None], tuple[str, ...]]] = [
    (collapse_full, BOTH),
    (collapse_empty, BOTH),
    (collapse_single_pte_entry, BOTH),
    (collapse_max_ptes_none, BOTH),
    (collapse_single_pte_entry_compound, BOTH),
    (collapse_full_of_compound, BOTH),
    (collapse_compound_extreme, BOTH),
    (collapse_swapin_single_pte, BOTH),
    (collapse_max_ptes_swap, BOTH),
    (collapse_fork, BOTH),
    (collapse_fork_compound, BOTH),
    (collapse_max_ptes_shared, BOTH),
    (madvise_collapse_existing_thps, ("madvise",)),
]
INVOCATIONS = [(case, Context(name)) for case, contexts in CASES for name in contexts]


@pytest.mark.parametrize(
    ("case", "context"), INVOCATIONS, ids=lambda value: getattr(value, "__name__", None) or value.name
)
def test_case(case: Callable[[Context], None], context: Context) -> None:
    case(context)


def test_no_anonymous_invocation_is_missing() -> None:
    assert len(INVOCATIONS) == 25


def test_thp_at_fault_and_its_split_by_dontneed() -> None:
    """alloc_at_fault(), which the selftest runs before its table."""
    process = Scenario().process()
    process.huge()
    assert process.is_huge()
    process.discard([0])
    assert not process.is_huge() and process.rss_kib == 2048 - 4
