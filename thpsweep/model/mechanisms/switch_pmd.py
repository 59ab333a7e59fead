"""`switch`, which freezes nothing, and then the seed's last step: a PMD for every VMA that is eligible."""

import dataclasses
from typing import ClassVar

from thpsweep.model import checks
from thpsweep.model.accounting.locks import LockStep
from thpsweep.model.bits import Ints
from thpsweep.model.mechanisms.base import succeeded
from thpsweep.model.mechanisms.pmd_step import DEPOSITS, MAP_BY_PMD, map_pmds
from thpsweep.model.mechanisms.switch import Switch
from thpsweep.model.mechanisms.visit import Visit
from thpsweep.units import HPAGE_PMD_ORDER


@dataclasses.dataclass
class SwitchPmd(Switch):
    """Switch every sharer's ptes, then replace each eligible sharer's 512 ptes by a PMD, under its own mmap write lock.

    Nobody waits for a migration entry; what is left of stalls is each mm's own step. Every pte is written twice, against
    three times for `inplace_pmd`. Who is eligible: pmd_step.py. Options: walk; deposit, `old_table` (one global
    sync a sharer) or `fresh_table` (none).
    Source: as `switch`, and Kirill A. Shutemov, 20160226103253.GA22450@node.shutemov.name, for the step by PMDs.
    """

    locks: ClassVar[tuple[LockStep, ...]] = (*Switch.locks, MAP_BY_PMD)
    least_order: ClassVar[int] = HPAGE_PMD_ORDER

    deposit: str = "old_table"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of("policy.mechanism.deposit", self.deposit, DEPOSITS)

    def attempt(self, visit: Visit) -> Ints:
        """Switch, then map by PMD whoever is eligible; never fails once begun."""
        family, rows = visit.family, visit.rows
        slots = family.records.present[family.record_of[rows]]
        folios = self._switch(visit)
        map_pmds(family, visit.counts, rows, slots, folios, visit.limits, deposit=self.deposit)
        return succeeded(rows)
