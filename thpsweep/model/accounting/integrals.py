"""Quantities that build up over a run: integrals of the state, peaks."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from thpsweep.model.accounting.prices import aging_visits, at_prices, tlb_misses_per_s
from thpsweep.model.bits import Floats, Ints
from thpsweep.model.machines.profile import Profile
from thpsweep.model.state.family import GAUGES, Family
from thpsweep.model.workloads.base import Workload
from thpsweep.units import S_PER_HOUR

_TOGETHER = 64
_SHARERS = "sharers"


@dataclasses.dataclass
class Integrals:
    """What one run adds up tick by tick. Shapes: each (n_replicates,).

    aged and missed have the visits of LRU aging and the accesses that the TLB did not cover, by the price of one.
    """

    aged: dict[str, Floats]
    missed: dict[str, Floats]
    peak_pages: Ints
    page_seconds: Floats
    first_collapse_s: Floats
    """End of the tick of the first collapse; inf where there was none."""
    waiting: list[Ints] = dataclasses.field(default_factory=list)
    """Gauges and living sharers of ticks that are still to be accounted for: NumPy takes hardly longer for many than one."""

    @classmethod
    def zero(cls, n_replicates: int) -> "Integrals":
        """Begin a run."""
        zero = np.zeros(n_replicates)
        never = np.full(n_replicates, np.inf)
        return cls({}, {}, np.zeros(n_replicates, np.int64), zero, never)

    def add(self, family: Family, machine: Profile, workload: Workload, tick_s: float) -> None:
        """Account for a tick that ends in this state; for translation and aging by settle(), some ticks at a time."""
        self.waiting.append(np.array([*(family.gauge[name] for name in GAUGES), family.alive.sum(axis=1)]))
        if len(self.waiting) == _TOGETHER:
            self.settle(machine, workload, tick_s)
        pages = family.pages_in_use
        self.peak_pages = np.maximum(self.peak_pages, pages)
        self.page_seconds += pages * tick_s

    def settle(self, machine: Profile, workload: Workload, tick_s: float) -> None:
        """Account for the ticks that wait."""
        if not self.waiting:
            return
        gauge = dict(zip((*GAUGES, _SHARERS), np.stack(self.waiting, axis=1), strict=True))
        self.waiting.clear()
        _add(self.aged, aging_visits(gauge), workload.aging_passes_per_hour * (tick_s / S_PER_HOUR))
        missed = tlb_misses_per_s(gauge, machine, workload.random_accesses_per_s, gauge[_SHARERS])
        _add(self.missed, missed, tick_s)

    def collapsed(self, collapsed: Ints, before: Ints, family: Family, needed_pages: Ints, time_s: float) -> None:
        """Account for collapses in this tick: while one is made, its pages come on top of what there was."""
        now = collapsed > 0
        high = np.maximum(before, family.pages_in_use) + needed_pages
        self.peak_pages = np.where(now, np.maximum(self.peak_pages, high), self.peak_pages)
        self.first_collapse_s = np.where(now & np.isinf(self.first_collapse_s), time_s, self.first_collapse_s)

    def aging_ns(self, machine: Profile) -> Floats:
        """Price LRU aging. Units: ns."""
        return at_prices(self.aged, machine)

    def tlb_ns(self, machine: Profile) -> Floats:
        """Price address translation. Units: ns."""
        return at_prices(self.missed, machine)


def _add(sums: dict[str, Floats], amounts: Mapping[str, Ints | Floats], times: float) -> None:
    """Add up tick after tick, in their order: a sum of floats depends on it. Shapes: amounts (n_ticks, n_replicates)."""
    for name, by_tick in amounts.items():
        running = np.multiply(by_tick, times)
        running[0] += sums.get(name, 0.0)
        sums[name] = running.cumsum(axis=0)[-1]
