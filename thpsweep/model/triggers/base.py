"""What makes a collapser look at memory, and how often."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from thpsweep.model.bits import Ints
from thpsweep.model.collapse.allocation import NOT_REACHED, Allocator
from thpsweep.model.collapse.scan import Scanned, VisitConditions, attempt, look
from thpsweep.model.gates.base import Guard
from thpsweep.model.mechanisms.base import Flags, Mechanism
from thpsweep.model.mechanisms.visit import ScanLimits, View
from thpsweep.model.mm.links import grow_older
from thpsweep.model.mm.zeroed import NEVER_UNDERUSED
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family
from thpsweep.outcomes import ScanResult


@dataclasses.dataclass
class Collapser:
    """A mechanism at work on a family, with what it counts and what it meets.

    Shapes: outcomes (n_replicates, number of ScanResults); conditions gives the blind inputs for rows at a tick. The guard's
    gate is asked about what passes a scan; None asks nobody. The allocator gives each attempt a block; None has plenty.
    locked tells at which mms (tick, replicates, sharers, regions) a trylock fails; None fails nowhere. view gives what is
    seen in a tick; None sees every pte as just accessed.
    """

    family: Family
    counts: Counts
    mechanism: Mechanism
    conditions: Callable[[Ints, int, bool], VisitConditions]
    guard: Guard | None = None
    allocator: Allocator | None = None
    locked: Callable[[int, Ints, Ints, Ints], Flags] | None = None
    view: Callable[[int], View] | None = None
    outcomes: np.ndarray = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        n_outcomes = len(ScanResult) + len(self.mechanism.outcomes)
        self.outcomes = np.zeros((self.family.n_replicates, n_outcomes), np.int64)

    def scan(self, rows: Ints, limits: ScanLimits, tick: int, khugepaged: bool) -> Scanned:
        """Scan rows of distinct regions, and ask the gate, without changing or counting anything."""
        return self.ask(self.look(rows, limits, tick, khugepaged), limits)

    def look(self, rows: Ints, limits: ScanLimits, tick: int, khugepaged: bool) -> Scanned:
        """Scan rows, of any regions, without asking the gate."""
        found = look(self.family, self.mechanism, rows, limits, lambda some: self.conditions(some, tick, khugepaged))
        return found if self.view is None else dataclasses.replace(found, view=self.view(tick))

    def ask(self, found: Scanned, limits: ScanLimits) -> Scanned:
        """Ask the gate about rows of distinct regions that passed their scan.

        What the gate refuses was scanned to its end, but never attempted: khugepaged keeps its lock.
        """
        passed = found.passed.nonzero()[0]
        if self.guard is None or not passed.size:
            return found
        allowed = self.guard.allows(self.family, self.counts, self.mechanism, found.rows[passed], limits, found.view)
        if allowed.all():
            return found
        results = found.results.copy()
        results[passed[~allowed]] = ScanResult.GATE_REFUSED
        return dataclasses.replace(found, results=results)

    def ask_in_turn(self, found: Scanned, limits: ScanLimits, turns: Ints) -> Scanned:
        """Ask the gate about rows of which those of a turn, counted from 0, have distinct regions, turn after turn."""
        results = found.results.copy()
        for turn in np.unique(turns[found.passed]):
            mine = (turns == turn).nonzero()[0]
            results[mine] = self.ask(found.where(mine), limits).results
        return dataclasses.replace(found, results=results)

    def attempt(self, found: Scanned, limits: ScanLimits, until_failure: bool = False) -> np.ndarray:
        """Collapse where a scan passed and a block is to be had, and tally the outcomes of all. Shapes: -> results (n,).

        until_failure: rows of a replicate behind its first failed allocation are NOT_REACHED, and not tallied.
        """
        if self.allocator is None:
            results = attempt(self.family, self.counts, self.mechanism, found, limits)
        else:
            results = self.allocator.attempt(self.mechanism, found, limits, until_failure)
        done = results != NOT_REACHED
        np.add.at(self.outcomes, (self.family.replicate_of(found.rows[done]), results[done]), 1)
        return results

    def step(self, tick: int, tick_s: float) -> None:
        """Let the mechanism go on with what is under way; every link grows a tick older."""

        def referenced(rows: Ints) -> Flags:
            return self.conditions(rows, tick, False).referenced

        self.mechanism.step(self.family, self.counts, tick, tick_s, referenced)
        grow_older(self.family)


@dataclasses.dataclass
class Trigger(abc.ABC):
    """Decide in each tick which rows are visited. Options only; what changes during a run is in the state."""

    payer: ClassVar[str] = "khugepaged"
    """Whose CPU time a collapse takes, but for what others do for it: `khugepaged`, one thread, or the `caller`."""

    @property
    def underused_beyond(self) -> int:
        """Pages of zeroes beyond which reclaim splits a folio: khugepaged's max_ptes_none, at its default elsewhere."""
        return NEVER_UNDERUSED

    @abc.abstractmethod
    def begin(self, n_replicates: int) -> Any:
        """Make the state before the first tick."""

    @abc.abstractmethod
    def act(self, state: Any, collapser: Collapser, tick: int, tick_s: float) -> None:
        """Visit what is due in this tick."""

    def check(self, duration_s: float) -> None:
        """Refuse options that cannot work within a run of this length."""
        del duration_s

    def passes(self, duration_s: float) -> float:
        """Predict how often it looks at memory, where that is not once a tick."""
        del duration_s
        return 0.0


@dataclasses.dataclass
class Early(Trigger):
    """Act before the run begins, on the root alone; who lives when it begins is forked from what that left."""

    @abc.abstractmethod
    def prepare(self, collapser: Collapser) -> None:
        """Act on the root, which nobody shares anything with yet."""

    def begin(self, n_replicates: int) -> None:
        """Have no state."""
        del n_replicates

    def act(self, state: None, collapser: Collapser, tick: int, tick_s: float) -> None:
        """Do nothing any more."""

    def collapse_root(self, collapser: Collapser) -> None:
        """Advise all of the root's memory, one call a region, without khugepaged's limits."""
        family = collapser.family
        rows = np.concatenate([family.rows_of(replicate, 0) for replicate in range(family.n_replicates)])
        rows = rows[family.record_of[rows] != 0]
        collapser.attempt(collapser.scan(rows, ScanLimits(), tick=0, khugepaged=False), ScanLimits())
