"""What lies between a scan that passed and the attempt: a 2 MiB block has to be allocated, or smaller folios."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from thpsweep.model import bits
from thpsweep.model.bits import Bools, Ints
from thpsweep.model.collapse.scan import Scanned, attempt
from thpsweep.model.mechanisms.base import Mechanism
from thpsweep.model.mechanisms.blocks import choose
from thpsweep.model.mechanisms.visit import ScanLimits
from thpsweep.model.memories.base import Memory, MemoryView
from thpsweep.model.mm.links import linked_slots
from thpsweep.model.state.family import Family
from thpsweep.outcomes import ScanResult
from thpsweep.units import HPAGE_PMD_ORDER, PAGE_SIZE_BYTES

NOT_REACHED = -1
"""Stands for the result of a row that was left alone because an allocation before it failed."""


@dataclasses.dataclass(frozen=True)
class Allocator:
    """A memory at work: its state, and the family whose collapses ask it for blocks.

    limit_pages: anonymous pages that the memory cgroup allows; None where it has no limit. Shapes: (n_replicates,).
    order: of the folios that are asked for.
    """

    memory: Memory
    place: MemoryView
    state: Any
    limit_pages: Ints | None = None
    order: int = HPAGE_PMD_ORDER

    @classmethod
    def begin(cls, memory: Memory, place: MemoryView, order: int = HPAGE_PMD_ORDER) -> "Allocator":
        """Put a memory to work for folios of an order, in a cgroup that the family fills up to the headroom."""
        return cls(memory, place, memory.begin(place), cgroup_limit_pages(memory, place.family), order)

    def attempt(
        self, mechanism: Mechanism, scanned: Scanned, limits: ScanLimits, until_failure: bool
    ) -> npt.NDArray[np.int64]:
        """Attempt rows in order, each with a block of its own; where none is to be had nothing is changed, nor where the
        cgroup does not allow it. Below PMD order a row's folios are all allocated, or none.

        A block that an attempt gives back is there for the next row, and so is what it uncharges. With until_failure, a
        replicate's rows behind the first that gets no block are NOT_REACHED, and not counted. Shapes: -> results (n,).
        """
        if not scanned.passed.any():
            return attempt(self.place.family, self.place.counts, mechanism, scanned, limits)
        asking = _asking(self.place, mechanism, scanned, limits)
        results = np.full(scanned.rows.size, NOT_REACHED, np.int64)
        replicates = self.place.family.replicate_of(scanned.rows)
        left = np.arange(scanned.rows.size)
        while left.size:
            served, failed, uncharged = self._hand_out(scanned, left, asking, until_failure)
            refused = np.sort(np.concatenate((failed, uncharged)))
            if refused.size:
                mechanism.without_block(self.place.family, self.place.counts, scanned.rows[refused])
            why = np.where(np.isin(refused, failed), ScanResult.ALLOC_HUGE_PAGE_FAIL, ScanResult.CGROUP_CHARGE_FAIL)
            left_alone = dataclasses.replace(scanned.where(refused), results=why)
            for part, rows in ((scanned.where(served), served), (left_alone, refused)):
                if rows.size:
                    results[rows] = attempt(self.place.family, self.place.counts, mechanism, part, limits)
            left = left[results[left] == NOT_REACHED]
            if until_failure and failed.size:
                left = left[~np.isin(replicates[left], replicates[failed])]
        return results

    def tick(self, tick: int, tick_s: float) -> None:
        """Let a tick's time pass."""
        self.memory.tick(self.state, self.place, tick, tick_s)

    def _hand_out(self, scanned: Scanned, left: Ints, asking: Ints, until_failure: bool) -> tuple[Ints, Ints, Ints]:
        """Serve each replicate's next rows as far as its free blocks and its cgroup go, or compact for the very next.

        Shapes: left (k,), indices in order -> indices served, those that got no block, those whose block was not charged.
        """
        family, counts = self.place.family, self.place.counts
        replicates = family.replicate_of(scanned.rows[left])
        if not self.memory.limited and self.limit_pages is None:
            counts.add("thp_collapse_alloc", replicates, asking[left])
            return left, left[:0], left[:0]
        free = self.memory.free(self.state, self.place)
        ready = _running(replicates, asking[left]) <= free[replicates]
        _, first = np.unique(replicates, return_index=True)
        first = first[~ready[first]]
        made = self.memory.compact(self.state, self.place, scanned.rows[left[first]])
        ready[first[made]] = True
        failed = first[~made]
        if not until_failure and not self.memory.compacts_directly:
            failed = bits.where((asking[left] > 0) & np.isin(replicates, replicates[failed]))
        counts.add("thp_collapse_alloc_failed", replicates[failed], 1)
        ready, uncharged = self._charge(replicates, ready, asking[left])
        allocated = bits.where(ready | uncharged)
        counts.add("thp_collapse_alloc", replicates[allocated], asking[left[allocated]])
        return left[ready], left[failed], left[uncharged]

    def _charge(self, replicates: Ints, ready: Bools, asking: Ints) -> tuple[Bools, Bools]:
        """Tell which rows with a block are charged, and which fail: the next of a replicate, where its folio is too much.

        Who stands behind one that does not fit yet waits until what is before it is done. Shapes: each (k,).
        """
        if self.limit_pages is None:
            return ready, np.zeros(ready.size, bool)
        family, running = self.place.family, _running(replicates, asking)
        needed = running << self.order
        fits = (asking == 0) | (family.pages_in_use[replicates] + needed <= self.limit_pages[replicates])
        behind = _running(replicates, (ready & ~fits).astype(np.int64)) > 0
        return ready & ~behind, ready & ~fits & (running == asking)


def cgroup_limit_pages(memory: Memory, family: Family) -> Ints | None:
    """Give the limit of a cgroup that is as full as the family now; None for no limit. Shapes: -> (n_replicates,)."""
    if memory.cgroup_headroom_bytes is None:
        return None
    return np.asarray(family.pages_in_use + int(memory.cgroup_headroom_bytes // PAGE_SIZE_BYTES))


def _asking(place: MemoryView, mechanism: Mechanism, scanned: Scanned, limits: ScanLimits) -> Ints:
    """Count the folios that rows need: those that passed, unless their old pages are linked to a folio already."""
    asking = scanned.passed.astype(np.int64)
    if mechanism.resumes:
        records = place.family.record_of[scanned.rows].astype(np.int64)
        asking[bits.any_slot(linked_slots(place.family, records))] = 0
    if mechanism.order < HPAGE_PMD_ORDER:
        passed = bits.where(asking)
        chosen, _ = choose(place.family, mechanism, scanned.rows[passed], limits)
        asking[passed] = bits.count(chosen) >> mechanism.order
    return asking


def _running(replicates: Ints, asking: Ints) -> Ints:
    """Count what rows of the same replicate ask for, up to and with each. Shapes: (k,), (k,) -> (k,)."""
    order = np.argsort(replicates, kind="stable")
    total = np.cumsum(asking[order])
    begin = np.searchsorted(replicates[order], replicates[order])
    counted = np.empty(replicates.size, np.int64)
    counted[order] = total - (total[begin] - asking[order][begin])
    return counted
