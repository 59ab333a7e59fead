"""Where the kernel makes no huge page: VMAs with VM_NOHUGEPAGE; and those that ask for them by MADV_HUGEPAGE."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thpsweep.linux.capture.provenance import is_thp_off
from thpsweep.linux.proc.maps import HUGEPAGE, NO_HUGEPAGE, Span, Vma, anonymous_vmas

MOST_PROCESSES = 17
"""Processes whose VMAs are read, the root and the first others: that takes 30 ms for a GiB of each."""

Regions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RegionAdvice:
    """List, for each process of a tree, the regions that forbid huge pages; and for the root those that ask for them.

    n_except_advised: processes whose VMAs get huge pages only where they ask for them, whatever the system is set to.
    Those that were not read are taken to be as their parent, since a fork copies the flags.
    """

    forbidden: Sequence[Regions]
    wanted: Regions
    n_read: int
    n_except_advised: int = 0

    def facts(self, regions: Regions) -> dict[str, int]:
        """Say how many regions were left out somewhere, and how many of those that were captured ask for huge pages."""
        return {
            "nohugepage_regions_left_out": len(np.unique(np.concatenate([*self.forbidden]))),
            "regions_hugepage": int(np.isin(regions, self.wanted).sum()),
            "nohugepage_asked_processes": self.n_read,
            "thp_except_advised_processes": self.n_except_advised,
        }


def read_advice(pids: Sequence[int], parents: Sequence[int], enabled: str) -> RegionAdvice:
    """Read the VMAs of a tree, root first. enabled: what the system is set to for huge pages of a PMD.

    Raises: VanishedError; CaptureError.
    """
    vmas = [anonymous_vmas(pid) for pid in pids[:MOST_PROCESSES]]
    return sort_advice(vmas, parents, [is_except_advised(*each, enabled) for each in zip(pids, vmas, strict=False)])


def sort_advice(vmas: Sequence[Sequence[Vma]], parents: Sequence[int], except_advised: Sequence[bool]) -> RegionAdvice:
    """Sort the VMAs of the first processes of a tree, of which some have THP off but where it is asked for."""
    forbidden = [_numbers(vma.span for vma in mine if NO_HUGEPAGE in vma.flags) for mine in vmas]
    excepted = [*except_advised]
    for parent in parents[len(vmas) :]:
        forbidden.append(forbidden[parent])
        excepted.append(excepted[parent])
    wanted = _numbers(vma.span for vma in vmas[0] if HUGEPAGE in vma.flags)
    return RegionAdvice(forbidden, wanted, len(vmas), sum(excepted))


def is_except_advised(pid: int, vmas: Sequence[Vma], enabled: str) -> bool:
    """Tell whether a process has THP off but where it asks for it (PR_THP_DISABLE_EXCEPT_ADVISED, Linux 6.18).

    That shows in THPeligible alone, and only with enabled=always, where alone it matters: THP_enabled of status stays 1.
    Source: include/linux/huge_mm.h vma_thp_disabled(), fs/proc/array.c task_thp_status() (v6.18).
    """
    silent = [vma.eligible for vma in vmas if vma.span[0] < vma.span[1] and not vma.flags & {HUGEPAGE, NO_HUGEPAGE}]
    return enabled == "always" and bool(silent) and set(silent) == {False} and not is_thp_off(pid)


def _numbers(spans: Iterable[Span]) -> Regions:
    return np.concatenate([np.zeros(0, np.int64), *(np.arange(first, max(first, stop)) for first, stop in spans)])
