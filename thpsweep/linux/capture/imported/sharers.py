"""How many processes have to be added, and what they map, for Pss to be what it is; and where groups have to be apart."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thpsweep.linux.capture.imported.placing import Placed, spread
from thpsweep.linux.capture.imported.sums import PAGE_KIB, Sums
from thpsweep.units import HPAGE_PMD_NR, MAX_SHARERS

LEAST_SHARERS = 2
_CLOSE = 1e-9

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Overlap:
    """Hold mappings of all processes that overlap, of which forks can share pages. Units: pss in pages.

    beside: processes that share pages there, too, in mappings that can have no huge page.
    """

    placed: Sequence[Placed]
    pss_low: float
    pss_high: float
    mapmax: int = 0
    beside: frozenset[int] = frozenset()

    @property
    def span(self) -> tuple[int, int]:
        """Give the slots in which anything is shared."""
        runs = [each.shared for each in self.placed if each.shared[0] < each.shared[1]]
        return (min(start for start, _ in runs), max(stop for _, stop in runs)) if runs else (0, 0)

    @property
    def n_shared(self) -> int:
        """Count the ptes of shared pages."""
        return sum(stop - start for start, stop in (each.shared for each in self.placed))

    @property
    def least_sharers(self) -> int:
        """Give the number that some page must have at least: as numa_maps has it, or the harmonic mean, rounded up."""
        mean = self.n_shared / self.pss_high if self.n_shared and self.pss_high else 1.0
        return max(self.mapmax, math.ceil(mean - _CLOSE))

    def mappers(self) -> Ints:
        """Count the processes that share each slot of the span, if forks share what they can."""
        start, stop = self.span
        steps = np.zeros(stop - start + 1, np.int64)
        for first, last in (each.shared for each in self.placed):
            if first < last:
                steps[first - start] += 1
                steps[last - start] -= 1
        return np.cumsum(steps)[:-1]


def overlaps(placed: Sequence[tuple[Placed, Sums]], beside: Sequence[tuple[int, Sums]]) -> list[Overlap]:
    """Gather mappings that overlap; those beside them, of processes, only tell that these share pages there."""
    parts: list[list[tuple[Placed, Sums]]] = []
    end_byte = -1
    for each in sorted(placed, key=lambda each: each[1].first_byte):
        if each[1].first_byte >= end_byte:
            parts.append([])
        parts[-1].append(each)
        end_byte = max(end_byte, each[1].end_byte)
    return [
        Overlap(
            [where for where, _ in part],
            sum(_scaled(where, sums) * sums.pss_low for where, sums in part) / PAGE_KIB,
            sum(_scaled(where, sums) * sums.pss_high for where, sums in part) / PAGE_KIB,
            max(sums.mapmax for _, sums in part),
            _beside(part, beside),
        )
        for part in parts
    ]


def _beside(part: Sequence[tuple[Placed, Sums]], beside: Sequence[tuple[int, Sums]]) -> frozenset[int]:
    first_byte, end_byte = part[0][1].first_byte, max(sums.end_byte for _, sums in part)
    return frozenset(process for process, sums in beside if sums.first_byte < end_byte and sums.end_byte > first_byte)


def _scaled(placed: Placed, sums: Sums) -> float:
    """Give the part of a mapping's shared pages that was placed."""
    return (placed.shared[1] - placed.shared[0]) / sums.shared if sums.shared else 0.0


def n_missing(every: Sequence[Overlap], template: int, n_processes: int) -> int:
    """Count the processes that are not in the text, by the page that most share."""
    missing = 0
    for overlap in every:
        sharing = {each.process for each in overlap.placed if each.shared[0] < each.shared[1]}
        least = max(LEAST_SHARERS, overlap.least_sharers)
        if template in sharing and (n_processes == 1 or least > LEAST_SHARERS):
            missing = max(missing, least - len(sharing | overlap.beside))
    return min(missing, MAX_SHARERS - n_processes)


@dataclass(frozen=True)
class Sharing:
    """Say how many of the template's shared pages each added process maps, and how many groups share each slot.

    outside: mappings of each page that nobody has who can have a huge page there. placed: the mappings of the text.
    Shapes: groups (slots of the span,): 1, or more where fewer share a page than could.
    """

    added: Sequence[int]
    groups: Ints
    placed: Sequence[Placed]
    outside: int = 0


def solve(overlap: Overlap, template: int, n_added: int) -> Sharing:
    """Let added processes map as much, or groups be apart, as Pss wants, to within a page where that can be."""
    mappers = overlap.mappers()
    none = Sharing([0] * n_added, np.ones(len(mappers), np.int64), overlap.placed)
    if not len(mappers):
        return none
    shares = _Shares.of(overlap, mappers, template)
    total = _least_ptes(overlap, shares, n_added) if shares.n_mine and n_added else 0
    added = [min(shares.n_mine, max(0, total - n * shares.n_mine)) for n in range(n_added)]
    more = (overlap.pss_low + overlap.pss_high) / 2 - shares.pss(total)
    if more < 0:
        return Sharing(added, none.groups, overlap.placed, _outside(overlap, shares, total))
    if total or round(more) == 0:
        return Sharing(added, none.groups, overlap.placed)
    spread_out = spread(overlap.placed, round((overlap.pss_low + overlap.pss_high) / 2))
    if spread_out is not None:
        return Sharing(added, none.groups, spread_out)
    return Sharing(added, _apart(overlap, mappers, round(more)), overlap.placed)


@dataclass(frozen=True)
class _Shares:
    """Hold the template's shared slots, run by run, with those who map them, and all other slots by the same number.

    Shapes: mappers, lengths (runs,); others, n_others (numbers of mappers,).
    """

    mappers: Ints
    lengths: Ints
    others: Ints
    n_others: Ints

    @classmethod
    def of(cls, overlap: Overlap, mappers: Ints, template: int) -> "_Shares":
        """Cut the slots into runs with the same number of mappers."""
        start = overlap.span[0]
        is_mine = np.zeros(len(mappers), np.bool_)
        for first, last in (each.shared for each in overlap.placed if each.process == template):
            is_mine[first - start : last - start] = True
        mine, others = mappers[is_mine], mappers[~is_mine]
        begins = np.flatnonzero(np.diff(mine, prepend=0))
        return cls(mine[begins], np.diff(begins, append=len(mine)), *np.unique(others, return_counts=True))

    @property
    def n_mine(self) -> int:
        """Count the slots of the template."""
        return int(self.lengths.sum())

    @property
    def n_needed(self) -> int:
        """Count the slots up to the last one that nobody else in the text maps."""
        alone = np.flatnonzero(self.mappers < LEAST_SHARERS)
        return int(np.cumsum(self.lengths)[alone[-1]]) if len(alone) else 0

    def pss(self, total: int, outside: int = 0) -> float:
        """Give the Pss of what is shared, in pages, if added processes map so many ptes of the template's slots in all."""
        whole, rest = divmod(total, self.n_mine) if total else (0, 0)
        more = np.clip(rest - (np.cumsum(self.lengths) - self.lengths), 0, self.lengths)
        sharers = self.mappers + whole + outside
        parts = (
            (self.mappers * more, sharers + 1),
            (self.mappers * (self.lengths - more), sharers),
            (self.others * self.n_others, self.others + outside),
        )
        return sum(float((ptes / np.maximum(LEAST_SHARERS, each)).sum()) for ptes, each in parts)


def _outside(overlap: Overlap, shares: _Shares, total: int) -> int:
    """Find how many mappings more each page has, where Pss is lower than those who can have a huge page explain."""
    wanted, outside = (overlap.pss_low + overlap.pss_high) / 2, 0
    while outside < MAX_SHARERS and shares.pss(total, outside) > wanted:
        outside += 1
    closer = outside and wanted - shares.pss(total, outside) > shares.pss(total, outside - 1) - wanted
    return outside - 1 if closer else outside


def _least_ptes(overlap: Overlap, shares: _Shares, n_added: int) -> int:
    """Find how many ptes the added processes have; whole processes are preferred to parts of one."""
    least = low = shares.n_needed
    high = n_added * shares.n_mine
    wanted = (overlap.pss_low + overlap.pss_high) / 2
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if shares.pss(middle) > wanted else (low, middle)
    whole = low // shares.n_mine * shares.n_mine
    for total in (whole, whole + shares.n_mine):
        if least <= total <= n_added * shares.n_mine and _fits(overlap, shares.pss(total)):
            return total
    return low


def _fits(overlap: Overlap, pss: float) -> bool:
    return overlap.pss_low - _CLOSE <= pss <= overlap.pss_high + _CLOSE


def _apart(overlap: Overlap, mappers: Ints, more: int) -> Ints:
    """Let slots be shared by several groups of at least two, until there are so many frames more; folios stay whole."""
    groups = np.ones(len(mappers), np.int64)
    start = overlap.span[0]
    small = np.ones(len(mappers), np.bool_)
    for region in {region for each in overlap.placed for region in each.folios}:
        begin = region * HPAGE_PMD_NR - start
        small[max(0, begin) : max(0, begin + HPAGE_PMD_NR)] = False
    for wanted in range(2, int(mappers.max()) // LEAST_SHARERS + 1):
        slots = np.flatnonzero(small & (mappers // LEAST_SHARERS >= wanted))[: max(0, more)]
        groups[slots] = wanted
        more -= len(slots)
    return groups
