"""The seed's last step too: after `inplace`, a PMD for every VMA that is eligible, one mm at a time."""

import dataclasses
from typing import ClassVar

from thpsweep.model import checks
from thpsweep.model.accounting.locks import LockStep
from thpsweep.model.bits import Ints
from thpsweep.model.mechanisms.base import ended, raced
from thpsweep.model.mechanisms.inplace import Inplace
from thpsweep.model.mechanisms.pmd_step import DEPOSITS, MAP_BY_PMD, map_pmds
from thpsweep.model.mechanisms.visit import Visit
from thpsweep.units import HPAGE_PMD_ORDER


@dataclasses.dataclass
class InplacePmd(Inplace):
    """Collapse in place, then replace each eligible sharer's 512 ptes by a PMD, under its own mmap write lock.

    Who is eligible, and why mm by mm: pmd_step.py. Options: those of `inplace`; deposit, `old_table` (one
    global sync a sharer) or `fresh_table` (none).
    Source: Kirill A. Shutemov, 20160226103253.GA22450@node.shutemov.name.
    """

    locks: ClassVar[tuple[LockStep, ...]] = (*Inplace.locks, MAP_BY_PMD)
    least_order: ClassVar[int] = HPAGE_PMD_ORDER

    deposit: str = "old_table"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of("policy.mechanism.deposit", self.deposit, DEPOSITS)

    def attempt(self, visit: Visit) -> Ints:
        """Collapse in place, then map by PMD whoever is eligible."""
        family, failed = visit.family, raced(visit.family, visit.rows, visit.race_slots)
        self._undo(visit.where(failed))
        rows = visit.rows[~failed]
        slots = family.records.present[family.record_of[rows]]
        folios = self._freeze_and_restore(visit.where(~failed))
        map_pmds(family, visit.counts, rows, slots, folios, visit.limits, deposit=self.deposit)
        return ended(failed)
