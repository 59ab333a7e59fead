"""What makes a collapser look at memory, and how often."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from thpsweep.model.bits import Ints
from thpsweep.model.counts import Counts
from thpsweep.model.family import Family
from thpsweep.model.mechanisms.base import Limits, Mechanism
from thpsweep.model.visit import Chances, Found, attempt, look
from thpsweep.outcomes import ScanResult


@dataclasses.dataclass
class Collapser:
    """A mechanism at work on a family, with what it counts and what it meets.

    Shapes: outcomes (n_replicates, number of ScanResults); chances gives the blind inputs for rows at a tick.
    """

    family: Family
    counts: Counts
    mechanism: Mechanism
    chances: Callable[[Ints, int, bool], Chances]
    outcomes: np.ndarray = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.outcomes = np.zeros((self.family.n_replicates, len(ScanResult)), np.int64)

    def scan(self, rows: Ints, limits: Limits, tick: int, khugepaged: bool) -> Found:
        """Scan rows of distinct regions without changing or counting anything."""
        return look(self.family, self.mechanism, rows, limits, self.chances(rows, tick, khugepaged))

    def attempt(self, found: Found, limits: Limits) -> np.ndarray:
        """Collapse where a scan passed, and tally the outcomes of all. Shapes: -> results (n,)."""
        results = attempt(self.family, self.counts, self.mechanism, found, limits)
        np.add.at(self.outcomes, (self.family.replicate_of(found.rows), results), 1)
        return results


@dataclasses.dataclass
class Trigger(abc.ABC):
    """Decide in each tick which rows are visited. Options only; what changes during a run is in the state."""

    @abc.abstractmethod
    def begin(self, n_replicates: int) -> Any:
        """Make the state before the first tick."""

    @abc.abstractmethod
    def act(self, state: Any, collapser: Collapser, tick: int, tick_s: float) -> None:
        """Visit what is due in this tick."""

    def check(self, duration_s: float) -> None:
        """Refuse options that cannot work within a run of this length."""
        del duration_s
