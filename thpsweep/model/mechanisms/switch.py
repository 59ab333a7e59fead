"""No freeze: copy first, then change every sharer's pte from the old page to the new one, as KSM does."""

import dataclasses

import numpy as np

from thpsweep.model import options
from thpsweep.model.bits import Ints
from thpsweep.model.counts import Counts
from thpsweep.model.family import Family
from thpsweep.model.folding import fold, maps_folio, relatives
from thpsweep.model.mechanisms.base import Flags, Limits, Mechanism, raced, sources
from thpsweep.model.protecting import protect
from thpsweep.units import HPAGE_PMD_NR


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

    walk: str = "per_page"

    def __post_init__(self) -> None:
        options.one_of("policy.mechanism.walk", self.walk, ("per_page", "per_range"))

    def attempt(self, family: Family, counts: Counts, rows: Ints, race_slots: Ints, limits: Limits) -> Flags:
        """Collapse by switching; never fails once begun."""
        del limits
        replicates = family.replicate_of(rows)
        counts.add("orphan_pages", replicates, raced(family, rows, race_slots).astype(np.int64))
        protect(family, counts, rows)
        found = sources(family, rows)
        per_page = self.walk == "per_page"
        counts.add("collapses", replicates, 1)
        counts.collapse("ptes_switched", replicates, found.ptes)
        counts.add("rmap_walks", replicates, found.pages if per_page else 1)
        counts.add("vmas_visited", replicates, found.visits if per_page else found.widest)
        counts.add("pages_copied", replicates, found.pages)
        counts.add("pages_cleared", replicates, HPAGE_PMD_NR - found.pages)
        counts.add("bloat_pages", replicates, HPAGE_PMD_NR - found.pages)
        folios = fold(family, found)
        others = relatives(family, rows)
        counts.add("tlb_flushes", replicates, others.count(maps_folio(family, others.row, folios[others.index])))
        return np.ones(rows.size, bool)
