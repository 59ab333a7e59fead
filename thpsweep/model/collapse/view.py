"""What a run can see of memory in a tick: which ptes are young, and since when; how old a process is; what it wrote."""

import dataclasses

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Floats, Ints
from thpsweep.model.collapse.conditions import IDLE, YOUNG, YOUNG_SLOT, DrawnConditions
from thpsweep.units import HPAGE_PMD_NR, S_PER_HOUR


@dataclasses.dataclass(frozen=True)
class DrawnView:
    """Draw young ptes one by one, in agreement with what khugepaged's scan found in the same tick.

    The scan draws whether a row has any: the same number gives the first of them in the order of slots; those behind are
    drawn each on its own. Ticks are drawn independently of each other.
    """

    conditions: DrawnConditions
    tick: int

    @property
    def now_s(self) -> float:
        """End of the tick."""
        return (self.tick + 1) * self.conditions.tick_s

    def idle_s(self, rows: Ints) -> Floats:
        """Give the time since each mapped pte was accessed, inf where it is old. Shapes: (n,) -> (n, 512).

        Accesses are Poisson: the last one before now is exponential, cut off where the pte was made old.
        """
        family, sharers = self.conditions.family, rows % self.conditions.family.n_sharers
        at = family.replicate_of(rows), sharers
        reads = self.conditions.reads_since_old(self.tick)[at]
        mapped = bits.expand(family.records.present[family.record_of[rows]]).astype(bool)
        rank = np.cumsum(mapped, axis=1) - 1
        drawn = self.conditions.uniform(YOUNG, rows, self.tick, sharers)
        with np.errstate(divide="ignore"):
            first = np.where(reads > 0, np.floor(-np.log1p(-drawn) / reads), np.inf)[:, None]
        chance = -np.expm1(-reads)[:, None]
        young = mapped & ((rank == first) | ((rank > first) & (self._by_slot(YOUNG_SLOT, rows) < chance)))
        per_hour = self.conditions.workload.reads_per_page_hour
        since_hours = -np.log1p(-self._by_slot(IDLE, rows) * chance) / (per_hour or 1.0)
        return np.where(young, since_hours * S_PER_HOUR, np.inf)

    def age_s(self, rows: Ints) -> Floats:
        """Give the time since each row's process was forked, or the run began. Shapes: (n,) -> (n,)."""
        family = self.conditions.family
        born = self.conditions.born[family.replicate_of(rows), rows % family.n_sharers]
        return np.asarray((self.tick + 1 - born) * self.conditions.tick_s)

    def write_faults(self, rows: Ints) -> Ints:
        """Count write faults so far. Shapes: (n,) -> (n,). Raises: ValueError where nobody asked for them to be counted."""
        counted = self.conditions.family.write_faults
        if counted is None:
            raise ValueError("write faults are counted for a class that says `remembers_writes: ClassVar[bool] = True`")
        return np.asarray(counted[rows])

    def _by_slot(self, kind: int, rows: Ints) -> Floats:
        """Draw a number for each slot. Shapes: (n,) -> (n, 512)."""
        every, slots = rows.repeat(HPAGE_PMD_NR), np.tile(np.arange(HPAGE_PMD_NR), rows.size)
        sharers = every % self.conditions.family.n_sharers
        return self.conditions.uniform(kind, every, self.tick, sharers, slots).reshape(rows.size, HPAGE_PMD_NR)
