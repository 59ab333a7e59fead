"""What every way to collapse a region has in common."""

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from thpsweep.errors import OptionError
from thpsweep.model import bits, checks
from thpsweep.model.accounting.locks import LockStep
from thpsweep.model.bits import Ints
from thpsweep.model.machines.profile import Profile
from thpsweep.model.mechanisms.visit import Visit
from thpsweep.model.state.counts import OPERATIONS, Counter, Counts
from thpsweep.model.state.family import Family
from thpsweep.outcomes import ScanResult
from thpsweep.units import HPAGE_PMD_NR, HPAGE_PMD_ORDER

LEAST_ORDER = 2
"""Smallest order of an anonymous folio that a collapse may make. Source: KHUGEPAGED_MIN_MTHP_ORDER (v7.2)."""

NOBODY = HPAGE_PMD_NR
"""Value of a race slot where no reference arrives during the attempt."""

Flags = npt.NDArray[np.bool_]

Referenced = Callable[[Ints], Flags]
"""Tells for rows whether a process takes a short reference on a page of the region in this tick."""


@dataclasses.dataclass
class Mechanism(abc.ABC):
    """Collapse regions of scanned mms.

    The trigger calls attempt() with rows whose scan passed; their regions are distinct. A mechanism changes the family
    and counts what it did. It may leave rows alone, with an outcome of its own.
    """

    all_sharers: ClassVar[bool] = True
    """Whether every sharer is changed; then max_ptes_shared does not apply, and an own product is refused."""
    reads_swap_first: ClassVar[bool] = False
    """Whether references on what is in swap are only met when all of it has been read in, as the kernel's `copy` does."""
    active: ClassVar[bool] = True
    """Whether the mechanism collapses anything; the baseline does not, and no trigger runs for it."""

    shares_tables: ClassVar[bool] = False
    """Whether forks share pte tables, in the baseline too: prices of forks, exits and first writes follow."""
    locks: ClassVar[tuple[LockStep, ...]] = ()
    """What is held through which steps; what each attempt did in them goes to Counts.hold()."""
    resumes: ClassVar[bool] = False
    """Whether a visit to a row that maps linked old pages goes on with them; else they refuse it (extra references)."""
    undoes: ClassVar[bool] = True
    """Whether an attempt that a late reference ends leaves everything as it was; `unshare` keeps the copies it made."""
    remembers_writes: ClassVar[bool] = False
    """Whether a run counts each row's write faults for it (Visit.write_faults)."""

    @property
    def order(self) -> int:
        """Order of the folios that it makes: a region is collapsed in blocks of 2 ** order pages (ByOrder)."""
        return HPAGE_PMD_ORDER

    outcomes: ClassVar[Mapping[str, str]] = {}
    """Outcomes of its own: NAME -> a sentence that says why a region was left alone."""
    counters: ClassVar[Mapping[str, Counter]] = {}
    """Counters of its own, by name: what is counted, in which unit, and what one costs."""

    @classmethod
    def check_class(cls) -> None:
        """Refuse outcomes and counters that are none. Raises: ValueError."""
        for name, sentence in cls.outcomes.items():
            if name in ScanResult.__members__ or not name.isupper() or not isinstance(sentence, str) or not sentence:
                raise ValueError(
                    f"outcomes = {{'NAME': 'a sentence'}} with names of its own; not {name!r}: {sentence!r}"
                )
        for name, counter in cls.counters.items():
            if name in OPERATIONS or not name.isidentifier() or not isinstance(counter, Counter):
                raise ValueError(
                    f"counters = {{'name': Counter(what, unit, price)}} with names of its own; not {name!r}"
                )
            prices = [field.name for field in dataclasses.fields(Profile) if field.name.endswith("_ns")]
            if isinstance(counter.price, str) and counter.price not in prices:
                raise ValueError(f"counters: {name} at a price of the machine, one of {', '.join(prices)}")

    def step(self, family: Family, counts: Counts, tick: int, tick_s: float, referenced: Referenced) -> None:
        """Go on with what is under way, once a tick, after the trigger; `referenced` tells where a gup happens."""
        del family, counts, tick, tick_s, referenced

    def without_block(self, family: Family, counts: Counts, rows: Ints) -> None:
        """Do what precedes an allocation that fails; most mechanisms allocate first. Shapes: (n,), rows that passed."""
        del family, counts, rows

    def lead(self, family: Family, counts: Counts, keys: Ints) -> None:
        """Do what has to be done before long references are taken on pages that are linked to copies.

        Shapes: keys (n,) = row * 512 + slot, ascending and distinct.
        """
        del family, counts, keys

    @abc.abstractmethod
    def attempt(self, visit: Visit) -> Ints:
        """Collapse the rows' regions, or leave some alone; give each one's outcome.

        SUCCEED; PAGE_COUNT where a late reference ended the attempt, which counts an abort; or what outcome() gives. Rows
        with an outcome of the mechanism's own are left as they were. Shapes: -> (n,).
        """

    def outcome(self, name: str) -> int:
        """Give the number of an outcome of its own. Raises: ValueError."""
        if name not in self.outcomes:
            raise ValueError(
                f"no outcome {name!r}; {type(self).__name__}.outcomes has {', '.join(self.outcomes) or 'none'}"
            )
        return len(ScanResult) + list(self.outcomes).index(name)


@dataclasses.dataclass
class ByOrder(Mechanism):
    """A mechanism that makes folios of any order: option `order`, 2..9, PMD order by default.

    Below PMD order attempt() is called for one block of each row's region at a time, which is the visit's `within`; what
    the row maps outside of it is none of its business, and nothing is mapped by a PMD.
    """

    least_order: ClassVar[int] = LEAST_ORDER
    """HPAGE_PMD_ORDER for one that maps what it makes by PMDs."""

    order: int = HPAGE_PMD_ORDER

    def __post_init__(self) -> None:
        if self.least_order == HPAGE_PMD_ORDER != self.order:
            raise OptionError(
                "policy.mechanism.order", self.order, "9, as it maps what it makes by PMDs, or shares page tables"
            )
        checks.whole("policy.mechanism.order", self.order, self.least_order, HPAGE_PMD_ORDER)


def ended(failed: Flags) -> Ints:
    """Give SUCCEED, or PAGE_COUNT where a late reference ended the attempt. Shapes: (n,) -> (n,)."""
    return np.where(failed, ScanResult.PAGE_COUNT, ScanResult.SUCCEED).astype(np.int64)


def succeeded(rows: Ints) -> Ints:
    """Give SUCCEED for each row. Shapes: (n,) -> (n,)."""
    return np.full(rows.size, ScanResult.SUCCEED, np.int64)


def count_folios(counts: Counts, replicates: Ints, pages: Ints, order: int = HPAGE_PMD_ORDER) -> None:
    """Count new folios, one a replicate index: so many pages are copied into each, the others cleared."""
    counts.add("collapses", replicates, 1)
    counts.add("pages_copied", replicates, pages)
    counts.add("pages_cleared", replicates, (1 << order) - pages)
    counts.add("bloat_pages", replicates, (1 << order) - pages)


def raced(family: Family, rows: Ints, race_slots: Ints) -> Flags:
    """Tell in which rows the late reference falls on a page that is mapped or in swap. Shapes: (n,), (n,) -> (n,)."""
    if not np.count_nonzero(race_slots != NOBODY):
        return np.zeros(rows.size, bool)
    records = family.record_of[rows]
    present = bits.at(family.records.present, records) | bits.at(family.records.swapped, records)
    slot = np.minimum(race_slots, HPAGE_PMD_NR - 1)
    word = np.take_along_axis(present, (slot >> 6)[:, None], axis=1)[:, 0]
    hit = ((word >> (slot & 63).astype(np.uint64)) & np.uint64(1)) != 0
    return np.asarray(hit & (race_slots < NOBODY))
