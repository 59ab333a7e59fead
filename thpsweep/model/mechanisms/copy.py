"""Mainline since 5.8: a private huge copy for one mm."""

import dataclasses
from typing import ClassVar

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Ints
from thpsweep.model.counts import Counts
from thpsweep.model.family import Family
from thpsweep.model.mechanisms.base import Flags, Limits, Mechanism, raced
from thpsweep.model.pmds import map_private
from thpsweep.model.processes import leave
from thpsweep.units import HPAGE_PMD_NR


@dataclasses.dataclass
class Copy(Mechanism):
    """Copy what the scanned mm maps into a folio of its own; the other sharers keep the old pages.

    Steps: mmap write lock, anon_vma root write lock from the clearing of the PMD to the end of the isolation, one flush,
    one global sync, copy without the root lock, clear the old ptes, map the folio by a PMD, deposit the old table.
    A late reference is found in the isolation: the old table is put back; 2 PMD writes, 1 flush, 1 sync are wasted.
    Source: mm/khugepaged.c collapse_huge_page() (torvalds/linux b2128290c299); 20200416160026.16538-1.
    """

    all_sharers: ClassVar[bool] = False

    def attempt(self, family: Family, counts: Counts, rows: Ints, race_slots: Ints, limits: Limits) -> Flags:
        """Collapse privately; the rows leave their old frames."""
        del limits
        failed = raced(family, rows, race_slots)
        replicates = family.replicate_of(rows)
        for name, times in (("pmd_writes", 2), ("tlb_flushes", 1), ("global_syncs", 1)):
            counts.add(name, replicates, times)
        counts.add("aborts", replicates[failed], 1)
        _replace(family, counts, rows[~failed])
        return ~failed


def _replace(family: Family, counts: Counts, rows: Ints) -> None:
    replicates = family.replicate_of(rows)
    records = family.record_of[rows].astype(np.int64)
    present = bits.count(family.records.present[records])
    swapped = bits.count(family.records.swapped[records])
    counts.add("collapses", replicates, 1)
    counts.add("swap_ins", replicates, swapped)
    counts.collapse("ptes_cleared", replicates, present + swapped)
    counts.add("pages_copied", replicates, present + swapped)
    counts.add("pages_cleared", replicates, HPAGE_PMD_NR - present - swapped)
    counts.add("bloat_pages", replicates, HPAGE_PMD_NR - present - swapped)
    counts.add("sharing_lost_pages", replicates, leave(family, rows))
    map_private(family, rows)
