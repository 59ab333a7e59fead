"""Quantities that build up over a run: integrals of the state, peaks, and the CPU time up to each tick."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from thpsweep.model.accounting.prices import aging_visits, collapse_ns, spent_ns
from thpsweep.model.accounting.translation import (
    PTE_BYTES,
    ByOrder,
    Forms,
    Law,
    Rates,
    RootMemory,
    process_seconds,
    shared_ptes,
    small_uncached,
    uncached,
)
from thpsweep.model.bits import Floats, Ints
from thpsweep.model.machines.profile import Profile
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import GAUGES, Family
from thpsweep.model.state.folios import ptes_by_order
from thpsweep.model.workloads.base import Workload
from thpsweep.units import HPAGE_PMD_NR, S_PER_HOUR

_TOGETHER = 64
"""Ticks that are priced together: NumPy takes hardly longer for many than for one."""


class CpuTime(NamedTuple):
    """CPU time up to the end of each tick. Units: ns. Shapes: each (n_ticks, n_replicates)."""

    collapsing: Floats
    other: Floats
    """Forks, exits, faults, reclaim and address translation: what collapsing may save."""
    attempts: Floats
    """Attempts to collapse that began, so far."""


@dataclasses.dataclass
class Integrals:
    """What one run adds up tick by tick. Shapes: each (n_replicates,).

    aged has the visits of LRU aging by their price, translated the seconds of processes by how their memory is mapped.
    """

    peak_pages: Ints
    page_seconds: Floats
    first_collapse_s: Floats
    """End of the tick of the first collapse; inf where there was none."""
    small_uncached: Floats
    """Share of the page tables in use that the cache would not hold at the start, with small pages alone."""
    aged: dict[str, Floats] = dataclasses.field(default_factory=dict)
    translated: dict[str, Floats] = dataclasses.field(default_factory=dict)

    @classmethod
    def zero(cls, n_replicates: int) -> "Integrals":
        """Begin a run."""
        zero = np.zeros(n_replicates)
        return cls(np.zeros(n_replicates, np.int64), zero, np.full(n_replicates, np.inf), zero)

    def add(self, family: Family, tick_s: float) -> None:
        """Account for the memory of a tick that ends in this state."""
        pages = family.pages_in_use
        self.peak_pages = np.maximum(self.peak_pages, pages)
        self.page_seconds += pages * tick_s

    def collapsed(self, collapsed: Ints, before: Ints, family: Family, needed_pages: Ints, time_s: float) -> None:
        """Account for collapses in this tick: while one is made, its pages come on top of what there was."""
        now = collapsed > 0
        high = np.maximum(before, family.pages_in_use) + needed_pages
        self.peak_pages = np.where(now, np.maximum(self.peak_pages, high), self.peak_pages)
        self.first_collapse_s = np.where(now & np.isinf(self.first_collapse_s), time_s, self.first_collapse_s)


class Meter:
    """Watches a run tick by tick: who maps what in which form, and the CPU time that it has taken so far."""

    def __init__(
        self,
        family: Family,
        integrals: Integrals,
        machine: Profile,
        workload: Workload,
        tick_s: float,
        shares_tables: bool,
    ) -> None:
        self._integrals, self._machine, self._workload = integrals, machine, workload
        self._rates = Rates.of(workload)
        self._n_sharers, self._tick_s, self._shares_tables = family.n_sharers, tick_s, shares_tables
        self._root = RootMemory(family)
        self._gauges: list[Ints] = []
        self._below: list[tuple[ByOrder, ByOrder]] = []
        """What the root, and everybody, map of folios below PMD order, tick by tick."""
        self._tables: list[Ints] = []
        self._counters: list[Ints] = []
        self._spent: list[CpuTime] = []

    def begin(self, family: Family, counts: Counts) -> None:
        """Look at the memory before the first tick."""
        gauge, root = family.gauge, self._root.now(family, counts)
        everyone = Forms(gauge["small_ptes"], gauge["compound_ptes"], gauge["pmds"])
        workers = Forms(*(np.maximum(0, a - b) for a, b in zip(everyone, root, strict=True)))
        self._integrals.small_uncached = small_uncached(root, workers, self._machine, self._rates)
        if self._shares_tables:
            ptes = shared_ptes(family, self._rates) + HPAGE_PMD_NR * everyone.pmds
            self._integrals.small_uncached = uncached(ptes * float(PTE_BYTES), self._machine)

    def read(self, family: Family, counts: Counts) -> None:
        """Read the state at the end of a tick."""
        gauges, root = [family.gauge[name] for name in GAUGES], self._root.now(family, counts)
        self._gauges.append(np.array([*gauges, *root, family.alive[:, 1:].sum(axis=1)]))
        self._below.append((self._root.orders, ptes_by_order(family)))
        self._counters.append(counts.table.copy())
        if self._shares_tables:
            self._tables.append(shared_ptes(family, self._rates))
        if len(self._gauges) == _TOGETHER:
            self.settle(counts)

    def settle(self, counts: Counts) -> None:
        """Account for the ticks that were read since."""
        if not self._gauges:
            return
        table, then = np.stack(self._gauges, axis=1), counts.at(np.stack(self._counters))
        table_bytes = np.stack(self._tables) * float(PTE_BYTES) if self._tables else None
        self._tables.clear()
        self._gauges.clear()
        self._counters.clear()
        gauge = dict(zip(GAUGES, table, strict=False))
        root, n_workers = Forms(*table[len(GAUGES) : -1]), table[-1]
        below = _of_root_and_workers(self._below, n_workers.shape)
        self._below.clear()
        everyone = Forms(gauge["small_ptes"], gauge["compound_ptes"], gauge["pmds"])
        workers = Forms(*(np.maximum(0, a - b) for a, b in zip(everyone, root, strict=True)))
        machine, workload, tick_s = self._machine, self._workload, self._tick_s
        rounds = workload.aging_rounds_per_hour * (tick_s / S_PER_HOUR)
        aged = {name: visits * rounds for name, visits in aging_visits(gauge, workload.reclaim).items()}
        aged = _up_to_each(self._integrals.aged, aged)
        seconds = process_seconds(root, workers, n_workers, machine, self._rates, tick_s, table_bytes, below)
        translated = _up_to_each(self._integrals.translated, seconds)
        law = Law(machine, self._rates, self._n_sharers, self._integrals.small_uncached)
        spent = spent_ns(then, aged, translated, law, self._shares_tables)
        other = np.asarray(sum(spent.values(), np.zeros(table.shape[1:])))
        attempts = (then.total["collapses"] + then.total["aborts"]) * 1.0
        self._spent.append(CpuTime(collapse_ns(then, machine, self._n_sharers), other, attempts))

    @property
    def root(self) -> Forms:
        """What the root maps. Shapes: each (n_replicates,)."""
        return self._root.last

    @property
    def cpu_time(self) -> CpuTime:
        """CPU time up to the end of each tick that was settled."""
        return CpuTime(*(np.concatenate(part) for part in zip(*self._spent, strict=True)))


def _of_root_and_workers(ticks: list[tuple[ByOrder, ByOrder]], shape: tuple[int, ...]) -> tuple[ByOrder, ByOrder]:
    """Put what ticks say of the root and of everybody one behind the other, for the root and for the others.

    Shapes: each (n_replicates,) -> each (n_ticks, n_replicates).
    """
    of_root: dict[int, Ints] = {}
    of_others: dict[int, Ints] = {}
    for order in sorted({order for _, everyone in ticks for order in everyone}):
        of_root[order], of_others[order] = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for number, (root, everyone) in enumerate(ticks):
            if order in everyone:
                of_root[order][number] = root[order]
                of_others[order][number] = everyone[order] - root[order]
    return of_root, of_others


def _up_to_each(sums: dict[str, Floats], amounts: Mapping[str, Floats]) -> dict[str, Floats]:
    """Add amounts of ticks up in their order, beginning with sums, which become the last of them.

    Shapes: amounts (n_ticks, n_replicates) -> likewise; sums (n_replicates,).
    """
    running = {}
    for name, by_tick in amounts.items():
        by_tick = np.array(by_tick, np.float64)
        by_tick[0] += sums.get(name, 0.0)
        running[name] = by_tick.cumsum(axis=0)
        sums[name] = running[name][-1]
    return running
