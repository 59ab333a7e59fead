"""What a scenario knows beside the model: names of frames that last, and what is in each frame."""

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from thpsweep.model import bits
from thpsweep.model.bits import Boards, Bools, Ints
from thpsweep.model.collapse.scan import Scanned, refuse_beyond
from thpsweep.model.mechanisms.visit import ScanLimits
from thpsweep.model.state.family import Family
from thpsweep.model.state.folios import folios_at
from thpsweep.model.state.tables import Folios, Layers, Pins
from thpsweep.model.triggers.base import Collapser
from thpsweep.outcomes import ScanResult
from thpsweep.units import HPAGE_PMD_NR


class Ledger:
    """Name frames so that equal names are the same frame at any time, and keep the number of the write that made each.

    A name is made of layer, folio and slot. The model hands freed numbers out again; here it is kept from doing so.
    """

    def __init__(self, family: Family) -> None:
        self.family = family
        family.layers, family.folios = _Layers(), _Folios()
        self._contents: dict[int, int] = {}
        self._before: dict[int, int] = {}
        self._tokens = 0
        family.pins = _Pins()
        self.lazyfree: set[int] = set()
        """Names of frames that MADV_FREE gave up and no process wrote since."""
        self.referenced: set[int] = set()
        """Names of frames whose folio is marked as referenced, for all who map it: gup does so, and no pte shows it."""
        self.merged: dict[int, int] = {}
        """Name of each frame that KSM merged -> number of the page that it became one with others as."""

    def next_token(self) -> int:
        """Number a write."""
        self._tokens += 1
        return self._tokens

    def names(self, rows: Ints) -> Ints:
        """Name the frame of each page, 0 for none. Shapes: (n,) -> (n * 512,)."""
        return np.array([self._before.get(name, name) for name in self.places(rows).tolist()], np.int64)

    def places(self, rows: Ints) -> Ints:
        """Number the frame of each page by its layer, folio and slot as they are now. Shapes: (n,) -> (n * 512,)."""
        family, places = self.family, np.zeros((rows.size, HPAGE_PMD_NR), np.int64)
        for index, entry in family.walk(family.record_of[rows].astype(np.int64)):
            layer = family.entries.layer[entry].astype(np.int64)
            compound, slots = bits.expand(family.layers.compound[layer]), np.arange(HPAGE_PMD_NR)
            folio = compound * folios_at(family, layer.repeat(slots.size), np.tile(slots, layer.size)).reshape(-1, 512)
            place = (layer[:, None] << 32) + (folio << 9) + slots
            places[index] += bits.expand(family.entries.slots[entry]) * place
        return places.reshape(-1)

    def in_folios(self, rows: Ints, folios: Ints) -> Ints:
        """Name the frames of rows that are subpages of large folios. Shapes: (n,), (k,) -> (m,)."""
        places = self.places(rows)
        return self.names(rows)[np.isin(folio_numbers(places), folios[folios != 0])]

    def renamed(self, old: Ints, new: Ints) -> None:
        """Note that frames got another place in the state without moving: a split keeps pages where they are."""
        first = [self._before.get(name, name) for name in old.tolist()]
        self._before.update(zip(new.tolist(), first, strict=True))

    def put(self, names: Ints, tokens: Ints) -> None:
        """Note what was written to frames: none of them is given up any more, and KSM lets go of them."""
        self.lazyfree.difference_update(names.tolist())
        for name in names.tolist():
            self.merged.pop(name, None)
        self._contents.update(zip(names.tolist(), tokens.tolist(), strict=True))

    def learn(self, names: Ints, tokens: Ints) -> None:
        """Note what is in those of the frames that are new: a copy of what was found there before."""
        for name, token in zip(names.tolist(), tokens.tolist(), strict=True):
            if name:
                self._contents.setdefault(name, token)

    def contents(self, names: Ints) -> Ints:
        """Give what is in each frame, 0 for zeroes or no frame."""
        return np.array([self._contents.get(name, 0) for name in names.tolist()], np.int64)

    def close_generation(self) -> None:
        """Let new frames begin a new layer, so that none gets the name of one that is gone."""
        self.family.records.own[:] = 0


def folio_numbers(places: Ints) -> Ints:
    """Give the folio of each place, 0 for what is none. Shapes: (n,) -> (n,)."""
    return np.asarray((places >> 9) & ((1 << 23) - 1))


class _Layers(Layers):
    def take(self, n: int) -> Ints:
        """Hand out numbers that were never used."""
        kept, self._free = self._free, np.zeros(0, np.int64)
        rows = super().take(n)
        self._free = kept
        return rows


class _Folios(Folios):
    def __post_init__(self) -> None:
        super().__post_init__()
        self._begun = np.zeros(0, np.int64)

    def take(self, n: int) -> Ints:
        """Hand out numbers that were never used."""
        kept, self._free = self._free, np.zeros(0, np.int64)
        rows = super().take(n)
        self._free = kept
        return rows

    def take_runs(self, n: int, order: int) -> Ints:
        """Hand out numbers that were never used."""
        self._free_runs.clear()
        return super().take_runs(n, order)

    def vacant(self, folios: Ints) -> Bools:
        """Take a number that had a folio for one that has."""
        return super().vacant(folios) & ~np.isin(folios, self._begun)

    def begin(self, folios: Ints) -> None:
        """Remember the numbers."""
        super().begin(folios)
        self._begun = np.concatenate((self._begun, folios))


class _Pins(Pins):
    def take(self, n: int) -> Ints:
        """Hand out numbers that were never used: a reference that has ended is not taken for another."""
        kept, self._free = self._free, np.zeros(0, np.int64)
        rows = super().take(n)
        self._free = kept
        return rows


@dataclasses.dataclass
class Bookkeeper(Collapser):
    """A collapser that notifies a scenario of each attempt: copied(rows) is called before it, and what it gives after it.

    passed_over tells which rows khugepaged does not look at; refusing, what no state of the model holds but refuses a scan:
    (result, slots of each row on which it is met). repeated gives the first slot of each row whose page stands in an earlier
    slot, too, else 512: an attempt has locked it by then.
    """

    copied: Callable[[Ints], Callable[[], None]] = dataclasses.field(kw_only=True)
    passed_over: Callable[[Ints], npt.NDArray[np.bool_]] = dataclasses.field(kw_only=True)
    refusing: Callable[[Ints, bool], list[tuple[ScanResult, Boards]]] = dataclasses.field(kw_only=True)
    repeated: Callable[[Ints], Ints] = dataclasses.field(kw_only=True)

    def look(self, rows: Ints, limits: ScanLimits, tick: int, khugepaged: bool) -> Scanned:
        """Scan; a VMA that does not allow THP costs khugepaged one step, and is reported as VMA_CHECK for each region."""
        scanned = super().look(rows, limits, tick, khugepaged)
        by_pte = bits.where((scanned.results != ScanResult.PMD_MAPPED) & (scanned.results != ScanResult.NO_PTE_TABLE))
        for result, boards in self.refusing(rows, khugepaged):
            refuse_beyond(scanned.results, scanned.progress, by_pte, boards[by_pte], 0, result)
        if khugepaged:
            over = self.passed_over(rows)
            first = self.family.region_of(rows[over]) % self.family.n_regions == 0
            scanned.results[over], scanned.progress[over] = ScanResult.VMA_CHECK, first
        return scanned

    def attempt(self, scanned: Scanned, limits: ScanLimits, until_failure: bool = False) -> np.ndarray:
        """Attempt, between the two calls."""
        after, locked = self.copied(scanned.rows[scanned.passed]), self.repeated(scanned.rows)
        first = locked < scanned.race_slots
        scanned = dataclasses.replace(scanned, race_slots=np.minimum(locked, scanned.race_slots))
        results = super().attempt(scanned, limits, until_failure)
        results[first & scanned.passed & (results == ScanResult.PAGE_COUNT)] = ScanResult.PAGE_LOCK
        after()
        return results
