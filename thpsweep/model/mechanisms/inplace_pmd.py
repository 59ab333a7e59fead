"""The seed's last step too: after `inplace`, a PMD for every VMA that is eligible, one mm at a time."""

import dataclasses

import numpy as np

from thpsweep.model import bits, options
from thpsweep.model.bits import Ints
from thpsweep.model.counts import Counts
from thpsweep.model.family import Family
from thpsweep.model.folding import listing_rows
from thpsweep.model.mechanisms.base import Flags, Limits, raced
from thpsweep.model.mechanisms.inplace import Inplace
from thpsweep.units import HPAGE_PMD_NR


@dataclasses.dataclass
class InplacePmd(Inplace):
    """Collapse in place, then replace each eligible sharer's 512 ptes by a PMD, under its own mmap write lock.

    Eligible: each slot is the new folio's subpage, or empty where the folio had no source (never over somebody's page:
    it would show that page's content); at most max_ptes_none empty; nothing swapped; all of its ptes exclusive or none.
    Copies nothing. deposit: `old_table` (one global sync a sharer) or `fresh_table` (none).
    The lock order forbids to do it inside the rmap walk (mmap_lock comes before the anon_vma lock): hence mm by mm.
    Source: Kirill A. Shutemov, 20160226103253.GA22450@node.shutemov.name.
    """

    deposit: str = "old_table"

    def __post_init__(self) -> None:
        super().__post_init__()
        options.one_of("policy.mechanism.deposit", self.deposit, ("old_table", "fresh_table"))

    def attempt(self, family: Family, counts: Counts, rows: Ints, race_slots: Ints, limits: Limits) -> Flags:
        """Collapse in place, then map by PMD whoever is eligible."""
        failed = raced(family, rows, race_slots)
        self._undo(family, counts, rows[failed], race_slots[failed])
        rows = rows[~failed]
        slots = family.records.present[family.record_of[rows]]
        folios = self._freeze_and_restore(family, counts, rows)
        index, sharer_rows = listing_rows(family, rows)
        able = self._eligible(family, sharer_rows, slots[index], folios[index], limits)
        self._map_pmds(family, counts, slots, folios, index[able], sharer_rows[able])
        return ~failed

    def _eligible(self, family: Family, rows: Ints, slots: bits.Boards, folios: Ints, limits: Limits) -> Flags:
        """Tell which rows may get a PMD. Shapes: (k,), (k, 8), (k,) -> (k,)."""
        records = family.record_of[rows].astype(np.int64)
        table = family.records
        same = ~bits.any_slot(table.present[records] ^ slots) & ~bits.any_slot(table.swapped[records])
        pages = bits.count(slots)
        same &= HPAGE_PMD_NR - pages <= limits.max_ptes_none
        candidates = np.flatnonzero(same)
        chosen = records[candidates]
        whole = family.folio_ptes(chosen, folios[candidates]) == pages[candidates]
        exclusive = np.where(table.rows[chosen] == 1, bits.count(table.exclusive[chosen]), 0)
        uniform = (exclusive == 0) | (exclusive == pages[candidates])
        same[candidates] = whole & uniform
        return same

    def _map_pmds(
        self, family: Family, counts: Counts, slots: bits.Boards, folios: Ints, index: Ints, rows: Ints
    ) -> None:
        """Map the folio by a PMD in each row; its empty slots now map subpages without a source."""
        replicates, pages = family.replicate_of(rows), bits.count(slots)[index]
        counts.add("ptes_cleared", replicates, pages)
        cleared = np.zeros(slots.shape[0], np.int64)
        np.add.at(cleared, index, pages)
        first = np.searchsorted(index, np.arange(slots.shape[0]))
        some = np.flatnonzero(cleared)
        np.maximum.at(counts.largest["ptes_cleared_worst_region"], replicates[first[some]], cleared[some])
        counts.add("pmd_writes", replicates, 2)
        counts.add("tlb_flushes", replicates, 1)
        counts.add("global_syncs", replicates, 1 if self.deposit == "old_table" else 0)
        counts.add("filled_ptes", replicates, HPAGE_PMD_NR - pages)
        _fill_holes(family, slots, folios, index, rows)
        family.pmd[rows] = True
        family.adjust("pmds", rows, np.ones(rows.size, np.int64))
        family.adjust("compound_ptes", rows, -pages)


def _fill_holes(family: Family, slots: bits.Boards, folios: Ints, index: Ints, rows: Ints) -> None:
    """Give the subpages without a source a layer, which the records of the rows list from now on."""
    holes = ~slots
    eligible = np.bincount(index, minlength=slots.shape[0])
    holed = np.flatnonzero(bits.any_slot(holes) & (eligible > 0))
    if not holed.size:
        return
    layers = np.zeros(slots.shape[0], np.int64)
    layers[holed] = family.new_layers(holes[holed], eligible[holed], folios[holed], holes[holed], eligible[holed] > 1)
    family.map_folios(folios[holed], (bits.count(holes) * eligible)[holed])
    here = layers[index] != 0
    records, where = np.unique(family.record_of[rows[here]].astype(np.int64), return_index=True)
    region = index[here][where]
    family.list_layer(records, layers[region], holes[region])
    table = family.records
    all_exclusive = (table.rows[records] == 1) & bits.any_slot(table.exclusive[records])
    table.exclusive[records[all_exclusive]] = bits.FULL
    table.present[records] = bits.FULL
