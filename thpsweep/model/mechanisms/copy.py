"""Mainline since 5.8: a private huge copy for one mm."""

import dataclasses
from typing import ClassVar

import numpy as np

from thpsweep.model import bits
from thpsweep.model.accounting.locks import ONCE, LockStep
from thpsweep.model.bits import Ints
from thpsweep.model.mechanisms.base import Mechanism, count_folios, ended, raced
from thpsweep.model.mechanisms.visit import Visit
from thpsweep.model.mm.huge_memory import map_private
from thpsweep.model.mm.swap import read_in, shared_in_swap
from thpsweep.model.mm.unmap import leave
from thpsweep.model.mm.zeroed import zeroes_of_copy
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family
from thpsweep.units import HPAGE_PMD_NR

_MM = {"mmap_write": ONCE, "vma_write": ONCE, "empty_pmd": ONCE}
_ALL = {**_MM, "anon_vma_write": ONCE}


@dataclasses.dataclass
class Copy(Mechanism):
    """Copy what the scanned mm maps into a folio of its own; the other sharers keep the old pages.

    Steps: mmap write lock, anon_vma root write lock from the clearing of the PMD to the end of the isolation, one flush,
    one global sync, copy without the root lock, clear the old ptes, map the folio by a PMD, deposit the old table.
    A late reference is found in the isolation: the old table is put back; 2 PMD writes, 1 flush, 1 sync are wasted.
    Source: mm/khugepaged.c collapse_huge_page() (torvalds/linux b2128290c299); 20200416160026.16538-1.
    """

    all_sharers: ClassVar[bool] = False
    reads_swap_first: ClassVar[bool] = True
    locks: ClassVar[tuple[LockStep, ...]] = (
        LockStep("swap in", {"mmap_read": ONCE}, {"swap_in": "swapped"}),
        LockStep("clear the PMD", _ALL, {"pmd_write": "begun", "own_flush": "begun", "global_sync": "begun"}),
        LockStep("isolate", _ALL, {"isolate": "isolated"}),
        LockStep("put the PMD back", _ALL, {"pmd_write": "failed"}),
        LockStep("copy", _MM, {"copy": "pages", "zero": "empty"}),
        LockStep(
            "clear the old ptes",
            _MM,
            {"clear_isolated": "small", "clear_isolated_compound": "compound", "free": "freed"},
        ),
        LockStep("map", _MM, {"pmd_write": "made"}),
    )

    def attempt(self, visit: Visit) -> Ints:
        """Collapse privately; the rows leave their old frames."""
        family, counts, rows, race_slots = visit.family, visit.counts, visit.rows, visit.race_slots
        failed = raced(family, rows, race_slots)
        swapped = read_in(family, counts, rows, family.records.swapped[family.record_of[rows]])
        replicates = family.replicate_of(rows)
        for name, times in (("pmd_writes", 2), ("tlb_flushes", 1), ("global_syncs", 1)):
            counts.add(name, replicates, times)
        counts.add("aborts", replicates[failed], 1)
        _give_up(family, counts, rows[failed], race_slots[failed], swapped[failed])
        _replace(family, counts, rows[~failed], swapped[~failed])
        return ended(failed)


def _give_up(family: Family, counts: Counts, rows: Ints, race_slots: Ints, swapped: Ints) -> None:
    """Tell what was held for nothing, up to the page with the late reference."""
    if not rows.size:
        return
    present = bits.at(family.records.present, family.record_of[rows])
    one = np.ones(rows.size, np.int64)
    isolated = bits.count(present & bits.below(race_slots + 1))
    counts.hold(rows, begun=one, failed=one, swapped=swapped, isolated=isolated, hidden=bits.count(present))


def _replace(family: Family, counts: Counts, rows: Ints, swapped: Ints) -> None:
    replicates = family.replicate_of(rows)
    records = family.record_of[rows].astype(np.int64)
    board, in_folios = family.records.present[records], family.compound_slots(records)
    pages, compound = bits.count(board), bits.count(in_folios)
    zero = bits.count(family.records.zero[records])
    freed = bits.count(board & ~in_folios & ~family.shared_slots(records) & ~shared_in_swap(family, records))
    counts.collapse("ptes_cleared", replicates, pages + zero)
    counts.add("ptes_cleared_compound", replicates, compound + zero)
    counts.add("pages_freed", replicates, freed)
    count_folios(counts, replicates, pages)
    zeroed = zeroes_of_copy(family, records)
    counts.add("sharing_lost_pages", replicates, leave(family, rows))
    one = np.ones(rows.size, np.int64)
    done = {"begun": one, "made": one, "isolated": pages, "pages": pages, "empty": HPAGE_PMD_NR - pages}
    by_form = {"small": pages - compound, "compound": compound, "freed": freed}
    counts.hold(rows, swapped=swapped, hidden=pages, **by_form, **done)
    map_private(family, rows, zeroed)
