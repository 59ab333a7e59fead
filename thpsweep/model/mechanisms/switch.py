"""No freeze: copy first, then change every sharer's pte from the old page to the new one, as KSM does."""

import dataclasses
from typing import ClassVar

import numpy as np

from thpsweep.model import bits, checks
from thpsweep.model.accounting.locks import PROTECT, LockStep
from thpsweep.model.bits import Ints
from thpsweep.model.mechanisms.base import ByOrder, count_folios, raced, succeeded
from thpsweep.model.mechanisms.visit import Visit
from thpsweep.model.mm.folding import fold, folio_slices, relatives
from thpsweep.model.mm.rmap import Sources, sources
from thpsweep.model.mm.wrprotect import protect
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family
from thpsweep.units import HPAGE_PMD_NR

WALKS = ("per_range", "per_page", "overwrite")


@dataclasses.dataclass
class Switch(ByOrder):
    """Copy, then switch n_c ptes directly: shared anon pages are never writable, so nothing has to be frozen.

    Exclusive pages of the scanned mm are writable; they are write-protected and flushed first, as KSM does before it
    replaces a page. A reference that arrives late wastes nothing: it keeps one old page alive until it ends (an orphan).
    Two copies exist until the last pte is switched. Options: slots_per_slice, 1..512, and walk:
    - `per_range`: one rmap walk over the region; in each VMA one pte lock, one clear and one flush a slice of so many slots;
    - `per_page`: one rmap walk a page, and one lock, clear and flush a pte, as KSM does; slices do not matter;
    - `overwrite`: the walk of `per_range`, old to new without a clear between, and one flush a sharer when its last slice
      is done. x86 only, and it rests on this: old and new page hold the same bytes, neither can be written, and the old
      one stays allocated until the flush, so that a stale TLB entry reads what is right; x86 lets a present pte be given
      another page. arm64 forbids that (break before make).
    Source: mm/ksm.c write_protect_page(), replace_page() (v6.18); FOLL_PIN never lands on a shared anon page since
    commit a7f226604170 ("mm/gup: trigger FAULT_FLAG_UNSHARE when R/O-pinning a possibly shared anonymous page") (in v5.19);
    Arm ARM DDI 0487, "break-before-make" (B2.2.1 and D8.17); linux/prototype/module/switch.c does all three in a kernel.
    """

    locks: ClassVar[tuple[LockStep, ...]] = (
        PROTECT,
        LockStep("walk", {"anon_vma_read": "walks"}, {"rmap_walk": "walks", "idle_visit": "idle"}),
        LockStep(
            "switch", {"anon_vma_read": "walks", "pte": "slices"}, {"switch": "switched", "own_flush": "slice_flushes"}
        ),
        LockStep("flush", {"anon_vma_read": "walks"}, {"own_flush": "late_flushes"}),
    )

    walk: str = "per_range"
    slots_per_slice: int = HPAGE_PMD_NR

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of("policy.mechanism.walk", self.walk, WALKS)
        checks.whole("policy.mechanism.slots_per_slice", self.slots_per_slice, 1, HPAGE_PMD_NR)

    def attempt(self, visit: Visit) -> Ints:
        """Collapse by switching; never fails once begun."""
        self._switch(visit)
        return succeeded(visit.rows)

    def _switch(self, visit: Visit) -> Ints:
        """Put a new folio in the place of the rows' sources, and count what that takes. Shapes: -> folios (n,)."""
        family, counts, rows, replicates = visit.family, visit.counts, visit.rows, visit.replicates
        counts.add("orphan_pages", replicates, raced(family, rows, visit.race_slots).astype(np.int64))
        protect(family, counts, rows, visit.within)
        source = sources(family, rows, visit.within)
        folios = fold(family, source, visit.order, visit.block)
        count_folios(counts, replicates, source.pages, visit.order)
        self._count_walk(counts, replicates, source, self._slices(family, source, folios))
        return folios

    def _slices(self, family: Family, source: Sources, folios: Ints) -> tuple[Ints, Ints]:
        """Count the times that a pte lock is taken and something is found, and the flushes. Shapes: -> (n,), (n,)."""
        if self.walk == "per_page":
            return source.ptes, source.ptes
        others = relatives(family, source.rows)

        def slices(size: int) -> Ints:
            own = bits.count_slices(source.slots, size) * np.count_nonzero(others.same, axis=1)
            found = folio_slices(family, others.row, folios[others.index], size)
            np.add.at(own, others.index, found)
            return np.asarray(own)

        taken = slices(self.slots_per_slice)
        return taken, slices(HPAGE_PMD_NR) if self.walk == "overwrite" else taken

    def _count_walk(self, counts: Counts, replicates: Ints, source: Sources, slices: tuple[Ints, Ints]) -> None:
        """Count the walks that switch the sources' ptes, and tell what happened under locks."""
        per_page, (taken, flushes) = self.walk == "per_page", slices
        walks, visits = (source.pages, source.visits) if per_page else (np.ones(taken.size, np.int64), source.widest)
        counts.collapse("ptes_switched", replicates, source.ptes)
        for name, amounts in (("rmap_walks", walks), ("vmas_visited", visits), ("tlb_flushes", flushes)):
            counts.add(name, replicates, amounts)
        late = flushes if self.walk == "overwrite" else np.zeros_like(flushes)
        idle = np.maximum(0, visits - source.ptes)
        work = {"switched": source.ptes, "slice_flushes": flushes - late, "late_flushes": late}
        counts.hold(source.rows, walks=walks, idle=idle, slices=taken, **work)
