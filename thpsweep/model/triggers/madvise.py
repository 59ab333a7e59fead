"""MADV_COLLAPSE at given moments: synchronous, ignores khugepaged's limits."""

import dataclasses
from typing import ClassVar

import numpy as np

from thpsweep.errors import OptionError
from thpsweep.model import checks
from thpsweep.model.bits import Ints
from thpsweep.model.collapse.scan import Scanned
from thpsweep.model.mechanisms.visit import ScanLimits
from thpsweep.model.state.family import Family
from thpsweep.model.triggers.base import Collapser, Trigger

AT_ONCE, FEW = 1 << 14, 64
"""Rows that are scanned together at most, and at first: scanning so few takes hardly longer than scanning one."""


@dataclasses.dataclass
class Madvise(Trigger):
    """Let each caller advise all of its regions, one call a region, at each of the moments `at_s`.

    callers: `all` sharers in turn, or the `root` alone. A moment belongs to the first tick that ends at or after it.
    Source: mm/khugepaged.c madvise_collapse() (torvalds/linux b2128290c299).
    """

    payer: ClassVar[str] = "caller"

    at_s: list[float] = dataclasses.field(default_factory=lambda: [60.0])
    callers: str = "all"

    def __post_init__(self) -> None:
        checks.one_of("policy.trigger.callers", self.callers, ("all", "root"))
        if not self.at_s:
            raise OptionError("policy.trigger.at_s", self.at_s, "at least one moment")
        for moment in self.at_s:
            checks.not_negative("policy.trigger.at_s", moment)

    def check(self, duration_s: float) -> None:
        """Refuse moments beyond the end of the run."""
        for moment in self.at_s:
            if moment > duration_s:
                raise OptionError("policy.trigger.at_s", moment, f"0..run.duration_s={duration_s:g}")

    def begin(self, n_replicates: int) -> list[float]:
        """Give the moments that are still to come."""
        del n_replicates
        return sorted(self.at_s)

    def act(self, state: list[float], collapser: Collapser, tick: int, tick_s: float) -> None:
        """Advise for each moment that has come."""
        while state and state[0] <= (tick + 1) * tick_s:
            state.pop(0)
            self._advise(collapser, tick)

    def _advise(self, collapser: Collapser, tick: int) -> None:
        """Let the callers advise in turn.

        Where nothing passes its scan nothing changes, so that ever more callers are scanned at once while it stays so;
        what was found behind the first who has something to attempt is dropped.
        """
        family, first, together = collapser.family, 0, 0
        n_regions = family.n_replicates * family.n_regions
        callers = family.n_sharers if self.callers == "all" else 1
        while first < callers:
            together = max(1, FEW // n_regions, min(2 * together, AT_ONCE // n_regions))
            last = min(first + together, callers)
            found = collapser.look(_rows(family, first, last), ScanLimits(), tick, khugepaged=False)
            passing = found.rows[found.passed] % family.n_sharers
            if passing.size:
                caller, last, together = found.rows % family.n_sharers, int(passing[0]) + 1, 0
                _attempt(collapser, found.where(caller < passing[0]))
                found = collapser.ask(found.where(caller == passing[0]), ScanLimits())
            _attempt(collapser, found)
            first = last


def _rows(family: Family, first: int, last: int) -> Ints:
    """List the rows of living sharers [first, last), sharer by sharer. Shapes: -> (n,)."""
    regions = np.arange(family.n_replicates * family.n_regions)
    rows = regions * family.n_sharers + np.arange(first, last)[:, None]
    return rows[family.alive.T[first:last].repeat(family.n_regions, axis=1)]


def _attempt(collapser: Collapser, found: Scanned) -> None:
    """Attempt what passed; the others are counted as scanned."""
    if found.rows.size:
        collapser.attempt(found, ScanLimits())
        collapser.counts.hold(found.rows, scanned=found.progress)
