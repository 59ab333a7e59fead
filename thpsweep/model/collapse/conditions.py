"""What a collapser's visit meets by chance: references held by others, young ptes. No policy decides any of it."""

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from thpsweep.model import bits, draws
from thpsweep.model.bits import Boards, Floats, Ints
from thpsweep.model.collapse.scan import VisitConditions
from thpsweep.model.mechanisms.base import NOBODY, Flags
from thpsweep.model.mm.rmap import sources
from thpsweep.model.state.family import Family
from thpsweep.model.workloads.base import Workload
from thpsweep.units import HPAGE_PMD_NR, S_PER_HOUR

_REFERENCE, _LATE, _LATE_SLOT, YOUNG, _YOUNG_FRAME, _LOCKED, _READ_BACK, YOUNG_SLOT, IDLE = range(9)


@dataclasses.dataclass(frozen=True)
class DrawnConditions:
    """Draw conditions by region, sharer and tick with a keyed hash: the moment of a visit is the policy's choice.

    all_sharers: a page is young where any sharer read it, as it is for a mechanism that changes all of them.
    born: tick in which each sharer was forked, whose ptes were old then; 0 for those that the run began with.
    Shapes: keys (n_replicates,), born (n_replicates, n_sharers).
    """

    family: Family
    workload: Workload
    keys: npt.NDArray[np.uint64]
    tick_s: float
    born: Ints
    all_sharers: bool = False

    def of_visit(self, rows: Ints, tick: int, khugepaged: bool) -> VisitConditions:
        """Give the conditions of visiting the rows in a tick; a reference met by one sharer is met by all in that tick."""
        pages = bits.count(bits.at(self.family.records.present, self.family.record_of[rows]))
        young = self._young(rows, tick, pages) if khugepaged else np.full(rows.size, HPAGE_PMD_NR)
        return VisitConditions(young, self._referenced(rows, tick, pages), self._race_slots(rows, tick))

    def _referenced(self, rows: Ints, tick: int, pages: Ints) -> Flags:
        """Short references: their number on so many pages is Poisson with this mean."""
        mean = self.workload.extra_references_per_page
        if mean <= 0:
            return np.zeros(rows.size, bool)
        return np.asarray(self.uniform(_REFERENCE, rows, tick) < -np.expm1(-mean * pages))

    def _race_slots(self, rows: Ints, tick: int) -> Ints:
        """References that arrive during an attempt; the first of them falls on any slot alike."""
        mean = self.workload.late_references_per_page
        slots = np.full(rows.size, NOBODY, np.int64)
        if mean > 0:
            late = self.uniform(_LATE, rows, tick) < -math.expm1(-mean * HPAGE_PMD_NR)
            where = (self.uniform(_LATE_SLOT, rows, tick) * HPAGE_PMD_NR).astype(np.int64)
            slots[late] = where[late]
        return slots

    def _young(self, rows: Ints, tick: int, pages: Ints) -> Ints:
        """Count ptes accessed since they were old; 1 stands for some where no page is swapped: only then does khugepaged
        want more than one."""
        sharers, replicates = rows % self.family.n_sharers, self.family.replicate_of(rows)
        reads = self.reads_since_old(tick)
        unread = reads[replicates, sharers]
        drawn = self.uniform(YOUNG, rows, tick, sharers)
        young = (drawn < -np.expm1(-unread * pages)).astype(np.int64)
        old = bits.where(young == 0) if self.all_sharers else young[:0]
        if old.size:
            mean = self._mean_of_living(reads)[replicates[old]]
            young[old] = drawn[old] < -np.expm1(-mean * sources(self.family, rows[old]).ptes)
        swapped = bits.where(bits.any_slot(self.family.records.swapped[self.family.record_of[rows]]))
        if swapped.size:
            from scipy import stats  # takes half a second, which few points need

            chance = -np.expm1(-unread[swapped])
            young[swapped] = stats.binom.ppf(1 - drawn[swapped], pages[swapped], chance).astype(np.int64)
        return np.asarray(young)

    def locked(self, tick: int, replicates: Ints, sharers: Ints, regions: Ints) -> Flags:
        """Tell which mms' mmap_lock is held for writing when khugepaged tries it at a region. Shapes: each (n,)."""
        share = self.workload.mmap_write_locked_share
        if share <= 0:
            return np.zeros(replicates.size, bool)
        return np.asarray(draws.uniform(self.keys[replicates], _LOCKED, regions, tick, sharers) < share)

    def young_frames(self, tick: int, rows: Ints, slots: Ints, mappings: Ints, large: Flags) -> Flags:
        """Tell which frames have a pte that was accessed since it was old; a folio is young as a whole."""
        places = np.where(large, HPAGE_PMD_NR, slots)
        reads = self._mean_of_living(self.reads_since_old(tick))[self.family.replicate_of(rows)]
        chance = -np.expm1(-reads * mappings)
        return np.asarray(self.uniform(_YOUNG_FRAME, rows, tick, places) < chance)

    def read_back(self, tick: int) -> tuple[Ints, Boards]:
        """Tell which slots that they have in swap processes read in a tick. Shapes: -> rows (n,), (n, 8)."""
        chance, family = -math.expm1(-self.workload.reads_per_page_hour * self.tick_s / S_PER_HOUR), self.family
        none = np.zeros(0, np.int64), bits.empty(0)
        if chance <= 0 or not family.swaps:
            return none
        rows = bits.where(bits.any_slot(family.records.swapped)[family.record_of])
        index, slot = bits.pairs(family.records.swapped[family.record_of[rows]])
        read = self.uniform(_READ_BACK, rows[index], tick, rows[index] % family.n_sharers, slot) < chance
        boards = bits.from_pairs(rows.size, index[read], slot[read])
        some = bits.any_slot(boards)
        return rows[some], boards[some]

    def reads_since_old(self, tick: int) -> Floats:
        """Give the mean number of reads of a page by each process since its ptes were old: since the last aging round, the
        run's begin, or the fork that made it. Shapes: -> (n_replicates, n_sharers).

        Source: mm/memory.c __copy_present_ptes(), which makes the child's ptes old (v6.18).
        """
        run_hours, rounds = (tick + 1) * self.tick_s / S_PER_HOUR, self.workload.aging_rounds_per_hour
        past = max(0, math.ceil(run_hours * rounds - 1e-9) - 1) / rounds if rounds else 0.0
        alive_hours = (tick + 1 - self.born) * (self.tick_s / S_PER_HOUR)
        return np.asarray(self.workload.reads_per_page_hour * np.minimum(run_hours - past, alive_hours))

    def _mean_of_living(self, reads: Floats) -> Floats:
        """Average over those who live. Shapes: (n_replicates, n_sharers) -> (n_replicates,)."""
        alive = self.family.alive
        return np.asarray((reads * alive).sum(axis=1) / np.maximum(1, alive.sum(axis=1)))

    def uniform(self, kind: int, rows: Ints, tick: int, *more: Ints) -> Floats:
        """Draw a number for each row and tick, the same for every policy. Shapes: (n,) -> (n,)."""
        regions = self.family.region_of(rows) % self.family.n_regions
        return draws.uniform(self.keys[self.family.replicate_of(rows)], kind, regions, tick, *more)


def born_at_start(family: Family) -> Ints:
    """Give the tick in which each sharer was forked, as long as none was. Shapes: -> (n_replicates, n_sharers)."""
    return np.zeros(family.alive.shape, np.int64)
