"""How far an assumed sharing can be from the truth: Pss counts each page by its sharers, VMA by VMA."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thpsweep.linux.capture.assumed.rows import Ints
from thpsweep.linux.proc.maps import Vma
from thpsweep.units import PAGE_SIZE_BYTES

_PAGE_KIB = PAGE_SIZE_BYTES // 1024
_ROUNDED_PAGES = 0.25
"""Pss is told in whole KiB, cut off, of each VMA."""


@dataclass
class Sums:
    """Add up, VMA by VMA, what the assumption makes of it. Shapes: each (vmas,).

    pss_pages: each page divided by its assumed sharers; alone, shared: ptes of either kind; most: its widest group.
    """

    pss_pages: npt.NDArray[np.float64]
    alone: Ints
    shared: Ints
    most: Ints

    @classmethod
    def of(cls, n_vmas: int) -> "Sums":
        """Begin with nothing."""
        return cls(np.zeros(n_vmas), *(np.zeros(n_vmas, np.int64) for _ in range(3)))


@dataclass(frozen=True)
class Bound:
    """Hold the assumption against Pss. Units: KiB; sharers are means of the pages that are shared (harmonic, as Pss's).

    wrong_ptes: most ptes that can be in a group that is not theirs, if nobody outside the tree maps the pages.
    """

    pss_kib: int
    assumed_kib: float
    apart_kib: float
    sharers_by_pss: float
    sharers_assumed: float
    shared_ptes: int
    wrong_ptes: int

    def facts(self) -> dict[str, str | int]:
        """Put it in words and whole numbers."""
        return {
            "pss_kib": self.pss_kib,
            "pss_assumed_kib": round(self.assumed_kib),
            "pss_apart_kib": round(self.apart_kib),
            "mean_sharers": f"{self.sharers_by_pss:.3g} by Pss, {self.sharers_assumed:.3g} as assumed",
            "ptes_shared": self.shared_ptes,
            "ptes_grouped_wrongly_at_most": self.wrong_ptes,
        }


def bound(vmas: Sequence[Vma], sums: Sums) -> Bound:
    """Compare with what smaps says.

    The Pss of all sharers adds up to the number of frames behind their mappings. Where it says more frames than
    assumed, groups were joined that are apart; each one takes at most half of the widest group's ptes with it.
    """
    pss_pages = np.array([vma.kib.get("Pss", 0) for vma in vmas], np.float64) / _PAGE_KIB
    wrong = 0
    for part in _overlapping(vmas):
        more = float((pss_pages[part] - sums.pss_pages[part]).sum()) + _ROUNDED_PAGES * len(part)
        shared, most = int(sums.shared[part].sum()), int(sums.most[part].max(initial=0))
        wrong += min(shared, int(max(0.0, more) * most / 2))
    n_alone, n_shared = int(sums.alone.sum()), int(sums.shared.sum())
    return Bound(
        pss_kib=int(pss_pages.sum() * _PAGE_KIB),
        assumed_kib=float(sums.pss_pages.sum()) * _PAGE_KIB,
        apart_kib=float(np.abs(pss_pages - sums.pss_pages).sum()) * _PAGE_KIB,
        sharers_by_pss=_mean(n_shared, float(pss_pages.sum()) - n_alone),
        sharers_assumed=_mean(n_shared, float(sums.pss_pages.sum()) - n_alone),
        shared_ptes=n_shared,
        wrong_ptes=wrong,
    )


def _mean(n_shared: int, frames: float) -> float:
    return n_shared / frames if n_shared and frames > 0 else 1.0


def _overlapping(vmas: Sequence[Vma]) -> list[Ints]:
    """Gather VMAs of all processes that overlap: those that can share pages. Shapes: positions in the list."""
    order = sorted(range(len(vmas)), key=lambda number: vmas[number].first_byte)
    parts: list[list[int]] = []
    end_byte = 0
    for number in order:
        if not parts or vmas[number].first_byte >= end_byte:
            parts.append([])
        parts[-1].append(number)
        end_byte = max(end_byte, vmas[number].end_byte)
    return [np.array(part, np.int64) for part in parts]
