"""Mainline since 5.8: a private huge copy for one mm."""

import dataclasses
from typing import ClassVar

import numpy as np

from thpsweep.model import bits
from thpsweep.model.accounting.locks import ONCE, LockStep
from thpsweep.model.bits import Boards, Ints
from thpsweep.model.mechanisms.base import ByOrder, count_folios, ended, raced
from thpsweep.model.mechanisms.visit import Visit
from thpsweep.model.mm.cow import diverge
from thpsweep.model.mm.huge_memory import map_block, map_private
from thpsweep.model.mm.swap import read_in, shared_in_swap
from thpsweep.model.mm.unmap import leave, unmap_slots
from thpsweep.model.mm.zeroed import zeroes_of_copy
from thpsweep.model.state.family import Family
from thpsweep.model.state.mm_slots import shared_slots

_MM = {"mmap_write": ONCE, "vma_write": ONCE, "empty_pmd": ONCE}
_ALL = {**_MM, "anon_vma_write": ONCE}


@dataclasses.dataclass
class Copy(ByOrder):
    """Copy what the scanned mm maps into a folio of its own; the other sharers keep the old pages.

    Steps: mmap write lock, anon_vma root write lock from the clearing of the PMD to the end of the isolation, one flush,
    one global sync, copy without the root lock, clear the old ptes, map the folio by a PMD, deposit the old table.
    A late reference is found in the isolation: the old table is put back; 2 PMD writes, 1 flush, 1 sync are wasted.
    Below PMD order the table is put back with the new ptes in it, which are a store each and not counted.
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
        family, counts, rows, replicates = visit.family, visit.counts, visit.rows, visit.replicates
        failed = raced(family, rows, visit.race_slots)
        in_swap = family.records.swapped[family.record_of[rows]]
        swapped = read_in(family, counts, rows, in_swap if visit.within is None else in_swap & visit.within)
        for name, times in (("pmd_writes", 2), ("tlb_flushes", 1), ("global_syncs", 1)):
            counts.add(name, replicates, times)
        counts.add("aborts", replicates[failed], 1)
        _give_up(visit.where(failed), swapped[failed])
        _replace(visit.where(~failed), swapped[~failed])
        return ended(failed)


def _give_up(visit: Visit, swapped: Ints) -> None:
    """Tell what was held for nothing, up to the page with the late reference; all of the PMD's pages are hidden."""
    family, rows = visit.family, visit.rows
    if not rows.size:
        return
    present = bits.at(family.records.present, family.record_of[rows])
    one = np.ones(rows.size, np.int64)
    reached = bits.below(visit.race_slots + 1)
    isolated = bits.count(present & (reached if visit.within is None else reached & visit.within))
    visit.counts.hold(rows, begun=one, failed=one, swapped=swapped, isolated=isolated, hidden=bits.count(present))


def _replace(visit: Visit, swapped: Ints) -> None:
    family, counts, rows, replicates = visit.family, visit.counts, visit.rows, visit.replicates
    records = family.record_of[rows].astype(np.int64)
    within = bits.full(rows.size) if visit.within is None else visit.within
    hidden = bits.count(family.records.present[records])
    board, in_folios = family.records.present[records] & within, family.compound_slots(records) & within
    pages, compound = bits.count(board), bits.count(in_folios)
    zero = bits.count(family.records.zero[records] & within)
    freed = bits.count(board & ~in_folios & ~shared_slots(family, records) & ~shared_in_swap(family, records))
    counts.collapse("ptes_cleared", replicates, pages + zero)
    counts.add("ptes_cleared_compound", replicates, compound + zero)
    counts.add("pages_freed", replicates, freed)
    count_folios(counts, replicates, pages, visit.order)
    zeroed = zeroes_of_copy(family, records)
    if visit.within is None:
        counts.add("sharing_lost_pages", replicates, leave(family, rows))
        map_private(family, rows, zeroed)
    else:
        counts.add("sharing_lost_pages", replicates, _leave_slots(family, rows, within))
        map_block(family, rows, visit.order, visit.block, zeroed & within)
    one = np.ones(rows.size, np.int64)
    done = {"begun": one, "made": one, "isolated": pages, "pages": pages, "empty": visit.block_pages - pages}
    by_form = {"small": pages - compound, "compound": compound, "freed": freed}
    counts.hold(rows, swapped=swapped, hidden=hidden, **by_form, **done)


def _leave_slots(family: Family, rows: Ints, boards: Boards) -> Ints:
    """Unmap slots of rows of distinct regions, those that map the zero page, too; count per row the pages that others still
    map. Shapes: (n,), (n, 8) -> (n,)."""
    records = diverge(family, rows)
    still_mapped = unmap_slots(family, rows, records, boards)
    family.records.zero[records] &= ~boards
    return still_mapped
