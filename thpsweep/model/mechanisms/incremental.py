"""`switch` in slices: the same work, cut so that nobody waits for all of it at once."""

import dataclasses
from typing import ClassVar

import numpy as np

from thpsweep.model import bits, checks
from thpsweep.model.accounting.locks import ONCE, PROTECT, LockStep
from thpsweep.model.bits import Ints
from thpsweep.model.checks import whole
from thpsweep.model.mechanisms.base import Mechanism, Referenced, count_folios, succeeded
from thpsweep.model.mechanisms.visit import Visit
from thpsweep.model.mm.links import link, move, open_rows
from thpsweep.model.mm.rmap import sources
from thpsweep.model.mm.wrprotect import protect
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family


@dataclasses.dataclass
class Incremental(Mechanism):
    """Copy first, then switch sharer by sharer, `ptes_per_slice` at a time, `slices_per_s` slices a second.

    The regions under way are worked off one after the other; within one, sharers in the order of their numbers, slots
    ascending. The old pages leave the LRU at the start and are freed as their last mapping goes: double memory that falls.
    A fork meanwhile copies what it finds, so that the work grows. Every mm touched in a slice is flushed once.
    It can be abandoned at any slice: two valid generations remain. Late references keep one old page alive each.
    Source: Andrea Arcangeli, 20160302184732.GC4946@redhat.com ("Doing it incrementally ... wouldn't be straightforward").
    """

    locks: ClassVar[tuple[LockStep, ...]] = (
        PROTECT,
        LockStep("walk", {"anon_vma_read": "walks"}, {"rmap_walk": "walks", "idle_visit": "visits"}),
        LockStep(
            "one mm of a slice", {"anon_vma_read": ONCE, "pte": ONCE}, {"switch": "switched", "own_flush": "flushed"}
        ),
    )

    ptes_per_slice: int = 4096
    slices_per_s: float = 100.0

    def __post_init__(self) -> None:
        whole("policy.mechanism.ptes_per_slice", self.ptes_per_slice, 1, 1 << 30)
        checks.positive("policy.mechanism.slices_per_s", self.slices_per_s)

    def attempt(self, visit: Visit) -> Ints:
        """Allocate, link and copy; no pte changes yet but for the visited mm's writable ones."""
        family, counts, rows = visit.family, visit.counts, visit.rows
        replicates = family.replicate_of(rows)
        protect(family, counts, rows)
        source = sources(family, rows)
        counts.add("rmap_walks", replicates, source.pages)
        counts.add("vmas_visited", replicates, source.visits)
        counts.hold(rows, walks=source.pages, visits=source.visits)
        count_folios(counts, replicates, source.pages)
        link(family, rows, isolate=True, forward=False)
        return succeeded(rows)

    def step(self, family: Family, counts: Counts, tick: int, tick_s: float, referenced: Referenced) -> None:
        """Work off the slices of this tick in every replicate."""
        del referenced
        slices = int((tick + 1) * tick_s * self.slices_per_s) - int(tick * tick_s * self.slices_per_s)
        rows, slots, _ = open_rows(family)
        replicates = family.replicate_of(rows)
        for replicate in np.unique(replicates):
            mine = replicates == replicate
            self._work(family, counts, int(replicate), rows[mine], slots[mine], slices)

    def _work(
        self, family: Family, counts: Counts, replicate: int, rows: Ints, slots: bits.Boards, slices: int
    ) -> None:
        """Work off so many slices of one replicate's rows, which come by region, then sharer."""
        ptes, region = bits.count(slots), family.region_of(rows)
        first = bits.where(np.concatenate(([True], region[1:] != region[:-1])))
        whole, cut = 0, slots[:0]
        for begin, end in zip(first.tolist(), [*first[1:].tolist(), rows.size], strict=True):
            if slices <= 0:
                break
            ends = np.cumsum(ptes[begin:end])
            done = min(slices * self.ptes_per_slice, int(ends[-1]))
            slices -= -(-done // self.ptes_per_slice)
            self._account(counts, replicate, rows[begin:end], ends, done)
            finished = int(np.searchsorted(ends, done, "right"))
            whole = begin + finished
            if whole < end:
                cut = _first_slots(slots[[whole]], done - int(ends[finished - 1]) if finished else done)
        # A row that is cut must not go with those it shares a record with.
        move(family, rows[:whole], slots[:whole])
        if bits.any_slot(cut).any():
            move(family, rows[whole : whole + 1], cut)

    def _account(self, counts: Counts, replicate: int, rows: Ints, ends: Ints, done: int) -> None:
        """Count the switching of the first `done` ptes of a region. Shapes: ends (n,) = running sum of the rows' ptes."""
        starts = np.concatenate(([0], ends[:-1]))
        touched = starts < done
        stops = np.minimum(ends, done)[touched]
        edges = np.unique(np.concatenate((np.arange(0, done, self.ptes_per_slice), starts[touched], stops)))
        at = np.searchsorted(ends, edges[:-1], "right")
        counts.hold(rows[at], switched=np.diff(edges), flushed=np.ones(at.size, np.int64))
        flushes = -(-stops // self.ptes_per_slice) - starts[touched] // self.ptes_per_slice
        counts.collapse("ptes_switched", np.array([replicate]), np.array([done]))
        counts.add("tlb_flushes", np.array([replicate]), flushes.sum(keepdims=True))


def _first_slots(board: bits.Boards, n: int) -> bits.Boards:
    """Keep the first n slots of a board. Shapes: (1, 8) -> (1, 8)."""
    _, slot = bits.pairs(board)
    return bits.from_pairs(1, np.zeros(n, np.int64), slot[:n])
