"""Rows that an attempt is about to be made on, and what a kernel could see of them by then."""

import dataclasses
from typing import Protocol

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Boards, Bools, Floats, Ints
from thpsweep.model.mm.gup import held_slots
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family
from thpsweep.model.state.mm_slots import shared_slots
from thpsweep.units import BOARD_WORDS, HPAGE_PMD_NR, HPAGE_PMD_ORDER


@dataclasses.dataclass(frozen=True)
class ScanLimits:
    """khugepaged's three limits; more than the limit refuses. MADV_COLLAPSE ignores them: 512 each."""

    max_ptes_none: int = HPAGE_PMD_NR
    max_ptes_swap: int = HPAGE_PMD_NR
    max_ptes_shared: int = HPAGE_PMD_NR


class View(Protocol):
    """Tell of rows, at one moment, what their page tables do not hold. Asking changes nothing."""

    @property
    def now_s(self) -> float:
        """Time since the run began."""

    def idle_s(self, rows: Ints) -> Floats:
        """Give the time since each pte's last access, inf where the pte is old. Shapes: (n,) -> (n, 512)."""

    def age_s(self, rows: Ints) -> Floats:
        """Give for how long each row's process has lived in the run. Shapes: (n,) -> (n,)."""

    def write_faults(self, rows: Ints) -> Ints:
        """Count the write faults of each row's process on the region so far. Shapes: (n,) -> (n,)."""


class EverythingYoung:
    """Stand for a view where nothing is drawn, as in kernel tests: every pte was just accessed."""

    now_s = 0.0

    def idle_s(self, rows: Ints) -> Floats:
        """Give no time at all."""
        return np.zeros((rows.size, HPAGE_PMD_NR))

    def age_s(self, rows: Ints) -> Floats:
        """Give no time at all."""
        return np.zeros(rows.size)

    def write_faults(self, rows: Ints) -> Ints:
        """Count none."""
        return np.zeros(rows.size, np.int64)


ALL_YOUNG = EverythingYoung()


@dataclasses.dataclass(frozen=True)
class Staged:
    """Look from a stage, whose replicate i is a copy of the region of row i of `of`, at the original."""

    view: View
    of: Ints
    n_sharers: int

    @property
    def now_s(self) -> float:
        """The same moment."""
        return self.view.now_s

    def idle_s(self, rows: Ints) -> Floats:
        """Look there."""
        return self.view.idle_s(self._there(rows))

    def age_s(self, rows: Ints) -> Floats:
        """Look there."""
        return self.view.age_s(self._there(rows))

    def write_faults(self, rows: Ints) -> Ints:
        """Look there."""
        return self.view.write_faults(self._there(rows))

    def _there(self, rows: Ints) -> Ints:
        region = self.of[rows // self.n_sharers] // self.n_sharers
        return np.asarray(region * self.n_sharers + rows % self.n_sharers)


@dataclasses.dataclass(frozen=True)
class Visit:
    """Rows of distinct regions whose scan passed, each one process's part of one region; a gate sees them alike.

    A row's slots are its region's 512 ptes; what is said of slots has the shape (n, 512), what is said of rows (n,).
    race_slots (n,): the slot on which a reference arrives during the attempt, 512 for none.
    order: of the folios to be made. block: number of the block of 2 ** order slots that an attempt is for (blocks.py).
    """

    family: Family
    counts: Counts
    rows: Ints
    race_slots: Ints
    limits: ScanLimits
    view: View = ALL_YOUNG
    order: int = HPAGE_PMD_ORDER
    block: int = 0

    @property
    def within(self) -> Boards | None:
        """Slots of the block that an attempt is for; None for all of the region. Shapes: -> (n, 8)."""
        if self.order == HPAGE_PMD_ORDER:
            return None
        return np.broadcast_to(bits.blocks(self.order)[self.block], (self.rows.size, BOARD_WORDS))

    @property
    def block_pages(self) -> int:
        """Pages of each folio to be made."""
        return 1 << self.order

    def where(self, chosen: Bools | Ints) -> "Visit":
        """Keep some of the rows."""
        return dataclasses.replace(self, rows=self.rows[chosen], race_slots=self.race_slots[chosen])

    @property
    def now_s(self) -> float:
        """Time since the run began."""
        return self.view.now_s

    @property
    def replicates(self) -> Ints:
        """Replicate of each row."""
        return self.family.replicate_of(self.rows)

    @property
    def regions(self) -> Ints:
        """Region of each row, from 0 in each replicate."""
        return self.family.region_of(self.rows) % self.family.n_regions

    @property
    def sharers(self) -> Ints:
        """Process whose turn it is at each row: 0 is the root, which forked the others."""
        return self.rows % self.family.n_sharers

    @property
    def mapped(self) -> Bools:
        """Tell which slots map a page, small or a folio's."""
        return bits.expand(self.family.records.present[self._records]).astype(bool)

    @property
    def in_folio(self) -> Bools:
        """Tell which slots map a page of a large folio, of whatever order; the other mapped ones are of order 0."""
        return bits.expand(self.family.compound_slots(self._records)).astype(bool)

    @property
    def shared(self) -> Bools:
        """Tell which slots map a page that other processes map, too."""
        return bits.expand(shared_slots(self.family, self._records)).astype(bool)

    @property
    def young(self) -> Bools:
        """Tell which ptes were accessed since they were made old: by LRU aging, or by the fork that made the process."""
        return np.isfinite(self.idle_s)

    @property
    def idle_s(self) -> Floats:
        """Time since each pte was accessed; inf where it is old, or nothing is mapped."""
        return np.where(self.mapped, self.view.idle_s(self.rows), np.inf)

    @property
    def referenced(self) -> Bools:
        """Tell which slots map a page that somebody keeps a long reference on: pins, vmsplice."""
        return bits.expand(held_slots(self.family, self._records, swapped=False)).astype(bool)

    @property
    def age_s(self) -> Floats:
        """Time since the fork of each row's process, or since the run began."""
        return self.view.age_s(self.rows)

    @property
    def write_faults(self) -> Ints:
        """Write faults of each row's process on the region so far. Raises: ValueError unless `remembers_writes` is set."""
        return self.view.write_faults(self.rows)

    @property
    def _records(self) -> Ints:
        return self.family.record_of[self.rows].astype(np.int64)
