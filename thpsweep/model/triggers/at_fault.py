"""THP at fault: the root's memory is huge from its first touch on, and everybody is forked from that."""

import dataclasses

from thpsweep.model.triggers.base import Collapser, Early
from thpsweep.units import HPAGE_PMD_NR

KEPT = ("collapses", "bloat_pages", "filled_ptes", "pages_migrated", "ptes_migrated")
"""Operations of a private collapse that a huge fault makes, too; allocation and compaction, by their kernel names, come on
top. The page is cleared as a whole, and nothing is copied."""


@dataclasses.dataclass
class AtFault(Early):
    """Let the root's memory come as PMD-mapped folios when it is first touched, as with transparent_hugepage=always.

    Whatever the mechanism, nothing is collapsed later. A folio is cleared as a whole; the faults on small pages that it
    spared came before the run, as they did in the baseline, and are left out: the gain is a lower bound.
    Source: mm/huge_memory.c do_huge_pmd_anonymous_page() (v6.18).
    """

    def prepare(self, collapser: Collapser) -> None:
        """Make the folios, with the price of a fault instead of that of a collapse."""
        counts = collapser.counts
        with counts.without_holds():
            self.collapse_root(collapser)
        for name, total in counts.total.items():
            if name not in KEPT and not name.startswith(("thp_collapse_alloc", "compact_", "kcompactd_")):
                total[:] = 0
        for largest in counts.largest.values():
            largest[:] = 0
        counts.total["pages_cleared"] += counts.total["collapses"] * HPAGE_PMD_NR
        counts.needed_pages[:] = 0  # there were no small pages beside the folio
