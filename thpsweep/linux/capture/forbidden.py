"""Where the kernel makes no huge page: VMAs with MADV_NOHUGEPAGE; and those that ask for them by MADV_HUGEPAGE."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thpsweep.linux.proc.maps import HUGEPAGE, NO_HUGEPAGE, Span, Vma, anonymous_vmas

MOST_PROCESSES = 17
"""Processes whose VMAs are asked, the root and the first others: that takes 30 ms for a GiB of each."""

Regions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Advised:
    """List, for each process of a tree, the regions that forbid huge pages; and for the root those that ask for them.

    Those that were not asked are taken to be as their parent, since a fork copies the flags.
    """

    forbidden: Sequence[Regions]
    wanted: Regions
    asked: int

    def facts(self, regions: Regions) -> dict[str, int]:
        """Say how many regions were left out somewhere, and how many of those that were captured ask for huge pages."""
        return {
            "nohugepage_regions_left_out": len(np.unique(np.concatenate([*self.forbidden]))),
            "regions_hugepage": int(np.isin(regions, self.wanted).sum()),
            "nohugepage_asked_processes": self.asked,
        }


def advised(pids: Sequence[int], parents: Sequence[int]) -> Advised:
    """Ask a tree, root first. Raises: VanishedError; CaptureError."""
    return of([anonymous_vmas(pid) for pid in pids[:MOST_PROCESSES]], parents)


def of(vmas: Sequence[Sequence[Vma]], parents: Sequence[int]) -> Advised:
    """Sort VMAs of the first processes of a tree."""
    forbidden = [_numbers(vma.span for vma in mine if NO_HUGEPAGE in vma.flags) for mine in vmas]
    for parent in parents[len(vmas) :]:
        forbidden.append(forbidden[parent])
    return Advised(forbidden, _numbers(vma.span for vma in vmas[0] if HUGEPAGE in vma.flags), len(vmas))


def _numbers(spans: Iterable[Span]) -> Regions:
    return np.concatenate([np.zeros(0, np.int64), *(np.arange(first, max(first, stop)) for first, stop in spans)])
