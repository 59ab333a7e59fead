"""The tables of a family's state: what rows map, generations of frames, folios, long references (family.py uses them)."""

import dataclasses
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from thpsweep.model import bits
from thpsweep.model.bits import Boards, Bools, Ints
from thpsweep.model.state.columns import Columns
from thpsweep.units import BOARD_WORDS, HPAGE_PMD_NR, HPAGE_PMD_ORDER

Column = npt.NDArray[np.int32]


def _column() -> Column:
    return np.zeros(1, np.int32)


def _boards() -> Boards:
    return np.zeros((1, BOARD_WORDS), np.uint64)


@dataclasses.dataclass
class Records(Columns):
    """What rows map. Row 0 is the record that maps nothing."""

    rows: Column = dataclasses.field(default_factory=_column)
    head: Column = dataclasses.field(default_factory=_column)
    own: Column = dataclasses.field(default_factory=_column)
    """Entry whose layer only this record lists, for new frames; 0 where there is none yet."""
    present: Boards = dataclasses.field(default_factory=_boards)
    exclusive: Boards = dataclasses.field(default_factory=_boards)
    """PageAnonExclusive: a write needs no fault. Only meaningful while one row points here."""
    swapped: Boards = dataclasses.field(default_factory=_boards)
    zero: Boards = dataclasses.field(default_factory=_boards)
    """Slots that map the zero page: read, but never written. To everybody but the page table they are empty."""


@dataclasses.dataclass
class Entries(Columns):
    """The lists of the records."""

    lazy: ClassVar[frozenset[str]] = frozenset({"swapped"})

    layer: Column = dataclasses.field(default_factory=_column)
    next: Column = dataclasses.field(default_factory=_column)
    slots: Boards = dataclasses.field(default_factory=_boards)
    swapped: Boards = dataclasses.field(default_factory=_boards)
    """Slots of the layer that the record holds a swap pte for (swapping.py); asked only where the family swaps."""


@dataclasses.dataclass
class Layers(Columns):
    """Generations of frames."""

    lazy: ClassVar[frozenset[str]] = frozenset({"zeroed", "exclusive"})

    reach: Column = dataclasses.field(default_factory=_column)
    missing: Column = dataclasses.field(default_factory=_column)
    """Row of the table of missing mappings; 0 where every row that lists the layer maps all of it."""
    folio: Column = dataclasses.field(default_factory=_column)
    """First folio of the run that its subpages are in (Folios); 0 for none, or stale where no slot is compound."""
    common: npt.NDArray[np.bool_] = dataclasses.field(default_factory=lambda: np.zeros(1, bool))
    """More than one row has mapped these frames at some time: new frames of any of them go to another layer."""
    anon_vma: Column = dataclasses.field(default_factory=_column)
    """The anon_vma that the frames belong to, by its number in the replicate (anon_vmas.py)."""
    slots: Boards = dataclasses.field(default_factory=_boards)
    compound: Boards = dataclasses.field(default_factory=_boards)
    """Slots whose frame is a subpage of a folio of that run; the others are order-0 folios."""
    held: Boards = dataclasses.field(default_factory=_boards)
    """Slots whose page has a long reference (pins.py)."""
    zeroed: Boards = dataclasses.field(default_factory=_boards)
    """Slots whose page was cleared and not written since, also in swap (zeroed.py); asked only where there are any."""
    exclusive: Boards = dataclasses.field(default_factory=_boards)
    """Slots whose one swap pte is exclusive: no fork came since (pte_swp_exclusive()); asked only where the family swaps."""
    away: Column = dataclasses.field(default_factory=_column)
    """Row of the table of missing mappings that counts the swap ptes for its pages, slot by slot; 0 where there are none."""
    link: Column = dataclasses.field(default_factory=_column)
    """Layer of copies that a layer of old pages is linked to, slot by slot; 0 where there is none (linking.py)."""
    isolated: npt.NDArray[np.bool_] = dataclasses.field(default_factory=lambda: np.zeros(1, bool))
    """Linked old pages that are off the LRU."""
    forward: npt.NDArray[np.bool_] = dataclasses.field(default_factory=lambda: np.zeros(1, bool))
    """Linked old pages of which a forked child is given the copies."""
    age_ticks: Column = dataclasses.field(default_factory=_column)
    """Ticks that linked old pages have lived."""


@dataclasses.dataclass
class Missing(Columns):
    """Mappings that are missing from a layer's reach, slot by slot. Row 0 stays all zero."""

    ptes: npt.NDArray[np.int32] = dataclasses.field(default_factory=lambda: np.zeros((1, HPAGE_PMD_NR), np.int32))


@dataclasses.dataclass
class Folios(Columns):
    """Large folios, in runs: a run has a number for each aligned block of a region, though not all may be there.

    A slot's folio is the first of its layer's run + (slot >> order). A run of PMD order is one folio.
    """

    mapped: Column = dataclasses.field(default_factory=_column)
    """How many (row, slot) pairs map a subpage, counting a PMD as 512."""
    order: Column = dataclasses.field(default_factory=lambda: np.full(1, HPAGE_PMD_ORDER, np.int32))
    head: Column = dataclasses.field(default_factory=_column)
    """The first of its run."""
    alive: Column = dataclasses.field(default_factory=_column)
    """Of the first of a run: how many of the run are there."""
    region: Column = dataclasses.field(default_factory=_column)
    mm_0: Column = dataclasses.field(default_factory=_column)
    """Sharer + 1 that owns the folio's first MM slot, 0 for none; mm_1 the second (mm_slots.py)."""
    mm_1: Column = dataclasses.field(default_factory=_column)
    maybe_shared: npt.NDArray[np.bool_] = dataclasses.field(default_factory=lambda: np.zeros(1, bool))
    """folio_test_large_maybe_mapped_shared()."""
    held: Column = dataclasses.field(default_factory=_column)
    """Long references on any of its pages (pins.py); while there is one, the folio is not freed."""
    pinned: Column = dataclasses.field(default_factory=_column)
    """Those of them that are FOLL_PINs."""
    lost: Column = dataclasses.field(default_factory=_column)
    """Its pages that lost their last mapping: they stay until the folio is split or freed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._free_runs: dict[int, Ints] = {}

    def take_runs(self, n: int, order: int) -> Ints:
        """Hand out n runs of folios that are not there yet; give the first of each. Shapes: -> (n,)."""
        free = self._free_runs.get(order, np.zeros(0, np.int64))
        kept = free.size - min(n, free.size)
        reused, self._free_runs[order] = free[kept:], free[:kept]
        length = HPAGE_PMD_NR >> order
        fresh: Ints = self.take_fresh((n - reused.size) * length).reshape(-1, length)
        self.order[fresh], self.head[fresh] = order, fresh[:, :1]
        return np.concatenate((reused, fresh[:, 0]))

    def vacant(self, folios: Ints) -> Bools:
        """Tell which numbers have no folio. Shapes: (n,) -> (n,)."""
        return np.asarray((self.mapped[folios] == 0) & (self.held[folios] == 0))

    def begin(self, folios: Ints) -> None:
        """Let distinct folios of runs be there, of which nothing is known yet."""
        order, head = self.order[folios], self.head[folios]
        alive = self.alive[folios]
        self.clear(folios)
        self.order[folios], self.head[folios], self.alive[folios] = order, head, alive
        np.add.at(self.alive, head, 1)

    def end(self, folios: Ints) -> Ints:
        """Free distinct folios of any order; give the runs that none is left of. Shapes: (n,) -> (k,)."""
        whole = folios[self.order[folios] == HPAGE_PMD_ORDER]
        self.give(whole)
        parts = folios[self.order[folios] < HPAGE_PMD_ORDER]
        if not parts.size:
            return parts
        np.subtract.at(self.alive, self.head[parts], 1)
        heads = np.unique(self.head[parts]).astype(np.int64)
        over: Ints = heads[self.alive[heads] == 0]
        for order in np.unique(self.order[over]).tolist():
            freed = over[self.order[over] == order]
            self._free_runs[order] = np.concatenate((self._free_runs.get(order, freed[:0]), freed))
        return over

    def live(self) -> Ints:
        """List the folios that are there, ascending."""
        return bits.where((self.mapped[: self._used] > 0) | (self.held[: self._used] > 0))


@dataclasses.dataclass
class Pins(Columns):
    """Long references, one page each."""

    layer: Column = dataclasses.field(default_factory=_column)
    """Layer that has the page; 0 once it is no longer mapped."""
    slot: Column = dataclasses.field(default_factory=_column)
    folio: Column = dataclasses.field(default_factory=_column)
    """The large folio that the page is part of, 0 for an order-0 page."""
    frame: npt.NDArray[np.int64] = dataclasses.field(default_factory=lambda: np.zeros(1, np.int64))
    """Number of the page: references with the same number are on the same page."""
    row: npt.NDArray[np.int64] = dataclasses.field(default_factory=lambda: np.zeros(1, np.int64))
    """Row through which the reference was taken."""
    until: Column = dataclasses.field(default_factory=_column)
    """Tick at whose start it is dropped."""
    is_pin: npt.NDArray[np.bool_] = dataclasses.field(default_factory=lambda: np.zeros(1, bool))
    """FOLL_PIN, else FOLL_GET."""
