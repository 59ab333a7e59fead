"""The rebuilt engine of 2026: unshare first, then freeze what is exclusive, copy, and install a PMD, for one mm."""

import dataclasses
from typing import ClassVar

import numpy as np

from thpsweep.model import bits
from thpsweep.model.accounting.locks import ONCE, LockStep
from thpsweep.model.bits import Boards, Ints
from thpsweep.model.mechanisms.base import Flags, Mechanism, count_folios, ended, raced
from thpsweep.model.mechanisms.visit import Visit
from thpsweep.model.mm.fault import write
from thpsweep.model.mm.huge_memory import map_private
from thpsweep.model.mm.swap import read_in, shared_in_swap
from thpsweep.model.mm.unmap import leave
from thpsweep.model.mm.zeroed import mark_mapped, zeroed_slots, zeroes_of_copy
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family
from thpsweep.model.state.folios import folio_boards
from thpsweep.model.state.mm_slots import shared_slots
from thpsweep.model.state.rules import Sharing
from thpsweep.units import BOARD_WORDS, HPAGE_PMD_NR

_VMA = {"vma_read": ONCE}
_FROZEN = {**_VMA, "folio": ONCE}


@dataclasses.dataclass
class Unshare(Mechanism):
    """Give the scanned mm a copy of each shared page, then collapse those copies; the others keep the old pages.

    Steps, under the VMA read lock throughout: fault-in (FAULT_FLAG_UNSHARE: a page that has another mapper is copied, a
    clear, a set and a flush each; one that only lost its other mappers becomes exclusive without a pte write; swapped
    pages are read), freeze (migration entries and a frozen refcount under one hold of the pte lock, one ranged flush),
    allocation without reclaim, copy without a lock, install (2 PMD writes, 1 flush, a fresh table is deposited, so no
    global sync). Faults on a frozen page wait on its folio lock from the freeze to the putback.
    A late reference is met in the freeze: the entries set so far, its page's included, are put back without a flush; no
    folio comes out, yet what was unshared stays unshared.
    The engine also refuses a large folio that is mapped in several pieces, or by others beside an exclusive subpage; here
    both are taken, so that the state after a success is that of `copy`.
    Source: Kirill A. Shutemov, 20260816224609.308019-1-kirill@shutemov.name; mm/collapse.c collapse_faultin_addr(),
    collapse_freeze_candidate(), collapse_unfreeze_candidate() (kas/linux 0138a91a24ce).
    """

    all_sharers: ClassVar[bool] = False
    undoes: ClassVar[bool] = False
    locks: ClassVar[tuple[LockStep, ...]] = (
        LockStep("fault in", _VMA, {"unshare": "unshared", "swap_in": "swapped"}),
        LockStep("freeze", {**_FROZEN, "pte": ONCE}, {"set_entry": "frozen"}),
        LockStep("flush", _FROZEN, {"own_flush": "made"}),
        LockStep("copy", _FROZEN, {"copy": "pages", "zero": "empty"}),
        LockStep("install", {**_FROZEN, "pmd": ONCE}, {"pmd_write": "pmd_writes", "own_flush": "made"}),
        LockStep("put back", {**_FROZEN, "pte": ONCE}, {"restore": "restored"}),
    )

    def attempt(self, visit: Visit) -> Ints:
        """Unshare, then collapse privately; where a reference arrives late, only the unsharing remains."""
        family, counts, rows, race_slots = visit.family, visit.counts, visit.rows, visit.race_slots
        failed = raced(family, rows, race_slots)
        self._begin(family, counts, rows, failed, race_slots)
        _replace(family, counts, rows[~failed])
        return ended(failed)

    def without_block(self, family: Family, counts: Counts, rows: Ints) -> None:
        """Unshare and freeze all, then put it back: the folio is asked for between freeze and copy."""
        self._begin(family, counts, rows, np.ones(rows.size, bool), np.full(rows.size, HPAGE_PMD_NR - 1))

    def _begin(self, family: Family, counts: Counts, rows: Ints, failed: Flags, race_slots: Ints) -> None:
        """Unshare; where it fails, freeze up to the page with the late reference, and put that back."""
        swapped = read_in(family, counts, rows, family.records.swapped[family.record_of[rows]])
        replicates, records = family.replicate_of(rows), family.record_of[rows].astype(np.int64)
        shared = _shared(family, records)
        counts.collapse("ptes_unshared", replicates, bits.count(shared))
        counts.add("pages_copied", replicates, bits.count(shared))
        counts.add("tlb_flushes", replicates, bits.count(shared))
        counts.need(replicates, bits.count(shared) + HPAGE_PMD_NR)
        _hold(family, counts, rows, failed, race_slots, unshared=bits.count(shared), swapped=swapped)
        _give_up(family, counts, rows[failed], shared[failed], race_slots[failed])


def _hold(family: Family, counts: Counts, rows: Ints, failed: Flags, race_slots: Ints, **faulted: Ints) -> None:
    """Tell what happens under locks; where it fails, only up to the page with the late reference."""
    mapped = family.records.present[family.record_of[rows]]
    pages, made = bits.count(mapped), (~failed).astype(np.int64)
    frozen = np.where(failed, bits.count(mapped & bits.below(race_slots + 1)), pages)
    counts.hold(
        rows,
        **faulted,
        **{"frozen": frozen, "restored": frozen * failed},
        **{"made": made, "pages": pages * made, "empty": (HPAGE_PMD_NR - pages) * made, "pmd_writes": 2 * made},
    )


def _shared(family: Family, records: Ints) -> Boards:
    """Give the slots that an unsharing fault copies: not exclusive, and the page or its folio has another mapper, or the
    swap cache holds it for another process.

    The last mapped subpage of a folio is copied too, as by a write, which frees the folio.
    Source: mm/memory.c do_wp_page(), __wp_can_reuse_large_anon_folio() (v6.15).
    """
    exclusive = np.where((family.records.rows[records] == 1)[:, None], family.records.exclusive[records], np.uint64(0))
    shared = (
        shared_slots(family, records, Sharing.MM_IDS)
        | _last_subpages(family, records)
        | shared_in_swap(family, records)
    )
    return np.asarray(shared & ~exclusive)


def _last_subpages(family: Family, records: Ints) -> Boards:
    """Give the slots of each record whose page is all that is mapped of its folio. Shapes: (n,) -> (n, 8)."""
    boards = np.zeros((records.size, BOARD_WORDS), np.uint64)
    for index, entry in family.walk(records):
        layer = family.entries.layer[entry].astype(np.int64)
        last = folio_boards(family, layer, lambda f: family.folios.mapped[f] == 1)
        boards[index] |= bits.at(family.entries.slots, entry) & bits.at(family.layers.compound, layer) & last
    return boards


def _give_up(family: Family, counts: Counts, rows: Ints, shared: Boards, race_slots: Ints) -> None:
    """Leave the rows' pages small but their own; count what was frozen for nothing."""
    replicates, records = family.replicate_of(rows), family.record_of[rows].astype(np.int64)
    mapped = family.records.present[records]
    frozen = bits.count(mapped & bits.below(race_slots + 1))
    counts.add("aborts", replicates, 1)
    counts.collapse("migration_entries_set", replicates, frozen)
    counts.collapse("ptes_restored", replicates, frozen)
    counts.add("wasted_pte_updates", replicates, bits.count(shared) + 2 * frozen)
    counts.add("sharing_lost_pages", replicates, _kept_by_others(family, records, shared))
    zeroed = zeroed_slots(family, records) & shared
    order = np.argsort(rows)
    index, slot = bits.pairs(mapped[order])
    # An unsharing fault ends where a write does; what it counts was counted above.
    write(family, Counts(family.n_replicates), rows[order][index] * HPAGE_PMD_NR + slot)
    mark_mapped(family, rows, zeroed)


def _kept_by_others(family: Family, records: Ints, shared: Boards) -> Ints:
    """Count the shared slots whose page others go on mapping. Shapes: (n,), (n, 8) -> (n,)."""
    kept = np.zeros(records.size, np.int64)
    for index, entry in family.walk(records):
        layer = family.entries.layer[entry].astype(np.int64)
        kept[index] += bits.count(family.multi_mapped(layer, bits.at(family.entries.slots, entry) & shared[index]))
    return kept


def _replace(family: Family, counts: Counts, rows: Ints) -> None:
    """Freeze, copy and install: the rows leave their pages for a folio of their own."""
    replicates, records = family.replicate_of(rows), family.record_of[rows].astype(np.int64)
    pages = bits.count(family.records.present[records])
    counts.collapse("migration_entries_set", replicates, pages)
    counts.add("pmd_writes", replicates, 2)
    counts.add("tlb_flushes", replicates, 2)
    count_folios(counts, replicates, pages)
    zeroed = zeroes_of_copy(family, records)
    counts.add("sharing_lost_pages", replicates, leave(family, rows))
    map_private(family, rows, zeroed)
