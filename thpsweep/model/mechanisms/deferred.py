"""Both copies alive: each sharer is switched when khugepaged visits it, or when a gup is led to the new folio."""

import dataclasses
import math
from typing import ClassVar

import numpy as np

from thpsweep.model import bits, checks
from thpsweep.model.accounting.locks import ONCE, PROTECT, LockStep
from thpsweep.model.bits import Ints
from thpsweep.model.mechanisms.base import Mechanism, Referenced, count_folios, succeeded
from thpsweep.model.mechanisms.visit import Visit
from thpsweep.model.mm.links import link, linked_slots, move, open_rows
from thpsweep.model.mm.wrprotect import protect
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family
from thpsweep.units import HPAGE_PMD_NR


@dataclasses.dataclass
class Deferred(Mechanism):
    """Leave old pages and new folio both mapped, linked, and switch ptes on demand: what the mail of 2016 worries about.

    The first visit allocates, links and copies, and switches the visited mm; every later visit switches its own. A child
    forked meanwhile is given the folio. A write to either side copies, and ends the link where it took the old page's
    last mapping. Options: redirect, whether a reference taken on an old page is led to the new one and switches that mm
    on the way; deadline_s, after which all that is left is switched; 0 = never.
    The old pages stay on the LRU until their last mapping goes: twice the memory meanwhile.
    A late reference, and a long one without redirect, only keeps one old page alive.
    Source: Andrea Arcangeli, 20160302184732.GC4946@redhat.com.
    """

    resumes: ClassVar[bool] = True
    locks: ClassVar[tuple[LockStep, ...]] = (
        PROTECT,
        LockStep("one mm", {"mmap_read": ONCE, "pte": ONCE}, {"switch": "switched", "own_flush": "flushed"}),
    )

    redirect: bool = True
    deadline_s: float = 0.0

    def __post_init__(self) -> None:
        checks.not_negative("policy.mechanism.deadline_s", self.deadline_s)

    def attempt(self, visit: Visit) -> Ints:
        """Begin where nothing is linked yet, and switch the visited rows."""
        family, counts, rows = visit.family, visit.counts, visit.rows
        new = rows[~bits.any_slot(linked_slots(family, family.record_of[rows].astype(np.int64)))]
        replicates = family.replicate_of(new)
        pages = bits.count(family.records.present[family.record_of[new]])
        protect(family, counts, new)
        link(family, new, isolate=False, forward=True)
        count_folios(counts, replicates, pages)
        _switch(family, counts, rows, linked_slots(family, family.record_of[rows].astype(np.int64)))
        return succeeded(rows)

    def step(self, family: Family, counts: Counts, tick: int, tick_s: float, referenced: Referenced) -> None:
        """Switch the mms whose gup was redirected, and everything whose deadline has come."""
        del tick
        rows, slots, age_ticks = open_rows(family)
        if not rows.size:
            return
        due = np.zeros(rows.size, bool)
        if self.deadline_s > 0:
            due = age_ticks >= math.ceil(self.deadline_s / tick_s)
        if self.redirect:
            # One reference a region and tick, if any: it comes through the first sharer that still maps an old page.
            region = family.region_of(rows)
            first = np.concatenate(([True], region[1:] != region[:-1]))
            led = first & referenced(rows)
            counts.tally("gup_redirects", family.replicate_of(rows[led]))
            due |= led
        _switch(family, counts, rows[due], slots[due])

    def lead(self, family: Family, counts: Counts, keys: Ints) -> None:
        """Lead references on old pages to the copies, if they are to be led: that switches the mm on the way."""
        rows, index = np.unique(keys // HPAGE_PMD_NR, return_inverse=True)
        slots = linked_slots(family, family.record_of[rows].astype(np.int64))
        led = bits.expand(slots)[index, keys % HPAGE_PMD_NR] != 0
        if self.redirect and led.any():
            counts.tally("gup_redirects", family.replicate_of(rows[index[led]]))
            some = np.unique(index[led])
            _switch(family, counts, rows[some], slots[some])


def _switch(family: Family, counts: Counts, rows: Ints, slots: bits.Boards) -> None:
    ptes = move(family, rows, slots)
    replicates = family.replicate_of(rows)
    counts.collapse("ptes_switched", replicates, ptes)
    counts.add("tlb_flushes", replicates, (ptes > 0).astype(np.int64))
    counts.hold(rows, switched=ptes, flushed=(ptes > 0).astype(np.int64))
