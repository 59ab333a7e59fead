"""Quantities that build up over a run: integrals of the state, peaks."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from thpsweep.model.bits import Ints
from thpsweep.model.family import Family
from thpsweep.model.machines.profile import Profile
from thpsweep.model.prices import Floats, aging_visits, at_prices, tlb_misses_per_s
from thpsweep.model.workloads.base import Workload
from thpsweep.units import S_PER_HOUR


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

    @classmethod
    def zero(cls, n_replicates: int) -> "Integrals":
        """Begin a run."""
        zero = np.zeros(n_replicates)
        never = np.full(n_replicates, np.inf)
        return cls({}, {}, np.zeros(n_replicates, np.int64), zero, never)

    def add(self, family: Family, machine: Profile, workload: Workload, tick_s: float) -> None:
        """Account for a tick that ends in this state."""
        hours = tick_s / S_PER_HOUR
        _add(self.aged, aging_visits(family.gauge), workload.aging_passes_per_hour * hours)
        sharers = family.alive.sum(axis=1)
        _add(self.missed, tlb_misses_per_s(family.gauge, machine, workload.random_accesses_per_s, sharers), tick_s)
        self.peak_pages = np.maximum(self.peak_pages, family.pages_in_use)
        self.page_seconds += family.pages_in_use * tick_s

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
    for name, amount in amounts.items():
        sums[name] = sums.get(name, 0.0) + amount * times
