"""Write-protect what the scanned mm may write, before its pages are copied."""

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Boards, Ints
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family


def protect(family: Family, counts: Counts, rows: Ints, within: Boards | None = None) -> None:
    """Make the rows' exclusive ptes (of the slots `within`, where given) read-only and flush: only the scanned mm can have
    any on its own frames.

    Source: mm/ksm.c write_protect_page() (v6.18).
    """
    records = family.record_of[rows].astype(np.int64)
    sole = family.records.rows[records] == 1
    exclusive = bits.at(family.records.exclusive, records)
    writable = np.where(sole, bits.count(exclusive if within is None else exclusive & within), 0)
    family.records.exclusive[records] = 0 if within is None else exclusive & ~within
    replicates = family.replicate_of(rows)
    counts.add("ptes_protected", replicates, writable)
    counts.add("tlb_flushes", replicates, (writable > 0).astype(np.int64))
    counts.hold(rows, protected=writable, protecting=(writable > 0).astype(np.int64))
