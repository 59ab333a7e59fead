"""The last step of the proposal of 2016, after a collapse to ptes: a PMD for every VMA that is eligible, one mm at a time.

Eligible: each slot is the new folio's subpage, or empty where the folio had no source (never over another sharer's page:
it would show that page's content); at most max_ptes_none empty; nothing swapped; all of its ptes exclusive or none.
The lock order forbids to do it inside the rmap walk (mmap_lock comes before the anon_vma lock): hence mm by mm.
Source: Kirill A. Shutemov, 20160226103253.GA22450@node.shutemov.name.
"""

import numpy as np

from thpsweep.model import bits
from thpsweep.model.accounting.locks import LockStep
from thpsweep.model.bits import Boards, Ints
from thpsweep.model.mechanisms.visit import ScanLimits
from thpsweep.model.mm.huge_memory import map_shared, takers
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family
from thpsweep.units import HPAGE_PMD_NR

DEPOSITS = ("old_table", "fresh_table")
"""What a PMD's page table deposit is: the table that was in use (one global sync a sharer), or a new one (none)."""

MAP_BY_PMD = LockStep(
    "map by PMD",
    {"mmap_write": "mms", "vma_write": "mms", "empty_pmd": "mms"},
    {"clear_compound": "cleared", "pmd_write": "pmd_writes", "own_flush": "mms", "global_sync": "syncs"},
)


def map_pmds(
    family: Family, counts: Counts, rows: Ints, slots: Boards, folios: Ints, limits: ScanLimits, *, deposit: str
) -> None:
    """Map the folio that took the place of each row's sources `slots` by a PMD wherever that is allowed. Copies nothing.

    Empty slots of a sharer that gets one map subpages without a source from then on. Shapes: (n,), (n, 8), (n,).
    """
    replicates, pages = family.replicate_of(rows), bits.count(slots)
    fits = HPAGE_PMD_NR - pages <= limits.max_ptes_none
    able = takers(family, rows, slots, folios, one_way=True) & fits[:, None]
    sharers = np.count_nonzero(able, axis=1)
    syncs = sharers * int(deposit == "old_table")
    counts.collapse("ptes_cleared", replicates, pages * sharers)
    counts.add("ptes_cleared_compound", replicates, pages * sharers)
    counts.add("pmd_writes", replicates, 2 * sharers)
    counts.add("tlb_flushes", replicates, sharers)
    counts.add("global_syncs", replicates, syncs)
    counts.add("filled_ptes", replicates, (HPAGE_PMD_NR - pages) * sharers)
    counts.hold(rows, mms=sharers, cleared=pages * sharers, pmd_writes=2 * sharers, syncs=syncs, hidden=pages)
    map_shared(family, rows, slots, folios, able)
