"""The seed's last step too: after `inplace`, a PMD for every VMA that is eligible, one mm at a time."""

import dataclasses
from typing import ClassVar

import numpy as np

from thpsweep.model import bits, options
from thpsweep.model.bits import Ints
from thpsweep.model.counts import Counts
from thpsweep.model.family import Family
from thpsweep.model.folding import by_record, relatives
from thpsweep.model.locks import Step
from thpsweep.model.mechanisms.base import Flags, Limits, raced
from thpsweep.model.mechanisms.inplace import Inplace
from thpsweep.model.pmds import map_shared, permitted, starts_in
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

    locks: ClassVar[tuple[Step, ...]] = (
        *Inplace.locks,
        Step(
            "map by PMD",
            {"mmap_write": "mms", "vma_write": "mms", "empty_pmd": "mms"},
            {"clear": "cleared", "pmd_write": "pmd_writes", "own_flush": "mms", "global_sync": "syncs"},
        ),
    )

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
        family_rows = relatives(family, rows)
        fits = HPAGE_PMD_NR - bits.count(slots) <= limits.max_ptes_none
        records = family.record_of[rows].astype(np.int64)
        able = family_rows.same & (fits & _eligible(family, records, slots, folios))[:, None]
        others, index = family_rows.row, family_rows.index
        left = np.flatnonzero(starts_in(family, family.record_of[others].astype(np.int64), folios[index]))
        others, index = others[left], index[left]
        records = family.record_of[others].astype(np.int64)
        chosen = fits[index] & by_record(
            records, lambda some: _eligible(family, records[some], slots[index[some]], folios[index[some]])
        )
        able[index[chosen], others[chosen] % family.n_sharers] = True
        self._map_pmds(family, counts, rows, slots, folios, permitted(family, rows, able))
        return ~failed

    def _map_pmds(
        self, family: Family, counts: Counts, rows: Ints, slots: bits.Boards, folios: Ints, able: Flags
    ) -> None:
        """Map the folio by a PMD in each able sharer; its empty slots now map subpages without a source."""
        replicates, pages = family.replicate_of(rows), bits.count(slots)
        sharers = np.count_nonzero(able, axis=1)
        counts.collapse("ptes_cleared", replicates, pages * sharers)
        counts.add("pmd_writes", replicates, 2 * sharers)
        counts.add("tlb_flushes", replicates, sharers)
        counts.add("global_syncs", replicates, sharers if self.deposit == "old_table" else 0)
        counts.add("filled_ptes", replicates, (HPAGE_PMD_NR - pages) * sharers)
        syncs = sharers * int(self.deposit == "old_table")
        counts.hold(rows, mms=sharers, cleared=pages * sharers, pmd_writes=2 * sharers, syncs=syncs, hidden=pages)
        map_shared(family, rows, slots, folios, able)


def _eligible(family: Family, records: Ints, slots: bits.Boards, folios: Ints) -> Flags:
    """Tell which records map just the sources, now of one folio. Shapes: (k,), (k, 8), (k,) -> (k,)."""
    table = family.records
    pages = bits.count(slots)
    same = ~bits.any_slot((table.present[records] ^ slots) | table.swapped[records])
    whole = family.folio_ptes(records, folios) == pages
    exclusive = np.where(table.rows[records] == 1, bits.count(table.exclusive[records]), 0)
    return np.asarray(same & whole & ((exclusive == 0) | (exclusive == pages)))
