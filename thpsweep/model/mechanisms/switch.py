"""No freeze: copy first, then change every sharer's pte from the old page to the new one, as KSM does."""

import dataclasses
from typing import ClassVar

import numpy as np

from thpsweep.model import checks
from thpsweep.model.accounting.locks import PROTECT, LockStep
from thpsweep.model.bits import Ints
from thpsweep.model.mechanisms.base import Mechanism, count_folios, raced, succeeded
from thpsweep.model.mechanisms.visit import Visit
from thpsweep.model.mm.folding import fold, maps_folio, relatives
from thpsweep.model.mm.rmap import sources
from thpsweep.model.mm.wrprotect import protect
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family


@dataclasses.dataclass
class Switch(Mechanism):
    """Copy, then switch n_c ptes directly: shared anon pages are never writable, so nothing has to be frozen.

    Exclusive pages of the scanned mm are writable; they are write-protected and flushed first, as KSM does before it
    replaces a page. Each sharer's ptes are changed under its pte lock, then flushed once. A reference that arrives late
    wastes nothing: it keeps one old page alive until it ends (an orphan). Two copies exist until the last pte is switched.
    Options: walk, `per_page` (one rmap walk a page) or `per_range`.
    Source: mm/ksm.c write_protect_page(), replace_page() (v6.18); FOLL_PIN never lands on a shared anon page since
    commit a7f226604170 ("mm/gup: trigger FAULT_FLAG_UNSHARE when R/O-pinning a possibly shared anonymous page") (in v5.19).
    """

    locks: ClassVar[tuple[LockStep, ...]] = (
        PROTECT,
        LockStep("walk", {"anon_vma_read": "walks"}, {"rmap_walk": "walks", "idle_visit": "idle"}),
        LockStep("switch", {"anon_vma_read": "walks", "pte": "tables"}, {"switch": "switched"}),
    )

    walk: str = "per_page"

    def __post_init__(self) -> None:
        checks.one_of("policy.mechanism.walk", self.walk, ("per_page", "per_range"))

    def attempt(self, visit: Visit) -> Ints:
        """Collapse by switching; never fails once begun."""
        family, counts, rows, race_slots = visit.family, visit.counts, visit.rows, visit.race_slots
        self._switch(family, counts, rows, race_slots)
        return succeeded(rows)

    def _switch(self, family: Family, counts: Counts, rows: Ints, race_slots: Ints) -> Ints:
        """Put a new folio in the place of the rows' sources, and count what that takes. Shapes: (n,) -> folios (n,)."""
        replicates = family.replicate_of(rows)
        counts.add("orphan_pages", replicates, raced(family, rows, race_slots).astype(np.int64))
        protect(family, counts, rows)
        source = sources(family, rows)
        per_page = self.walk == "per_page"
        counts.collapse("ptes_switched", replicates, source.ptes)
        counts.add("rmap_walks", replicates, source.pages if per_page else 1)
        counts.add("vmas_visited", replicates, source.visits if per_page else source.widest)
        walks, visits = (source.pages, source.visits) if per_page else (np.ones(rows.size, np.int64), source.widest)
        tables, idle = source.ptes if per_page else source.widest, np.maximum(0, visits - source.ptes)
        counts.hold(rows, walks=walks, idle=idle, tables=tables, switched=source.ptes)
        count_folios(counts, replicates, source.pages)
        folios = fold(family, source)
        others = relatives(family, rows)
        counts.add("tlb_flushes", replicates, others.count(maps_folio(family, others.row, folios[others.index])))
        return folios
