"""Read the results of collapses out of the kernel's trace events."""

from collections.abc import Callable, Iterable, Sequence

from thpsweep.errors import LiveError
from thpsweep.linux.live.actor import Actor, Advice
from thpsweep.linux.live.bench import Bench
from thpsweep.linux.live.tracing import Event
from thpsweep.outcomes import ScanResult
from thpsweep.units import HPAGE_PMD_NR

_NAMES = {
    "succeeded": ScanResult.SUCCEED,
    "pte_mapped_hugepage": ScanResult.PTE_MAPPED_HUGEPAGE,
    "pmd_null": ScanResult.NO_PTE_TABLE,
    "pmd_none": ScanResult.NO_PTE_TABLE,
    "no_pte_table": ScanResult.NO_PTE_TABLE,
    "page_pmd_mapped": ScanResult.PMD_MAPPED,
    "exceed_none_pte": ScanResult.EXCEED_NONE_PTE,
    "exceed_swap_pte": ScanResult.EXCEED_SWAP_PTE,
    "exceed_shared_pte": ScanResult.EXCEED_SHARED_PTE,
    "pte_non_present": ScanResult.PTE_NON_PRESENT,
    "lack_referenced_page": ScanResult.LACK_REFERENCED_PAGE,
    "not_suitable_page_count": ScanResult.PAGE_COUNT,
    "page_locked": ScanResult.PAGE_LOCK,
    "no_writable_page": ScanResult.PAGE_RO,
    "ccgroup_charge_failed": ScanResult.CGROUP_CHARGE_FAIL,
    "cgroup_charge_failed": ScanResult.CGROUP_CHARGE_FAIL,
    "alloc_huge_page_failed": ScanResult.ALLOC_HUGE_PAGE_FAIL,
}
"""Names that the kernel's trace events print. Source: include/trace/events/huge_memory.h (v6.18)."""


_EVENTS = ("mm_khugepaged_scan_pmd", "mm_khugepaged_scan_file")
"""They come at the end of a visit to a region, collapsed or not."""


def results(events: Iterable[Event], chosen: Callable[[Event], bool]) -> list[str]:
    """List the results of some visits: the model's names, or the kernel's own where the model has none."""
    return [_name(event) for event in events if event.name in _EVENTS and chosen(event)]


def last_failure(names: Sequence[str]) -> str:
    """Give the last result that is a failure, else the last; nothing where there is none: a VMA without an anon_vma."""
    fine = (ScanResult.SUCCEED.name, ScanResult.PMD_MAPPED.name)
    return next((name for name in reversed(names) if name not in fine), names[-1] if names else "")


def mm_of(actor: Actor, bench: Bench) -> str:
    """Learn how trace events print an mm: of a scratch range only the second region is touched, the first collapsed.

    Raises: LiveError where no event tells it.
    """
    scratch = actor.map(2)
    actor.write(scratch, range(HPAGE_PMD_NR, HPAGE_PMD_NR + 1))
    with bench.recording() as events:
        actor.advise(scratch.region(0), Advice.COLLAPSE)
    actor.unmap(scratch)
    mms = [event.fields["mm"] for event in events if event.name == _EVENTS[0] and event.pid == actor.pid]
    if len(mms) != 1:
        raise LiveError(f"the trace does not tell the mm of process {actor.pid}")
    return mms[0]


def _name(event: Event) -> str:
    status = event.fields.get("status") or event.fields["result"]  # of anon and of file memory
    return _NAMES[status].name if status in _NAMES else status.upper()
