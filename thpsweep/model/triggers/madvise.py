"""MADV_COLLAPSE at given moments: synchronous, ignores khugepaged's limits."""

import dataclasses
from typing import ClassVar

import numpy as np

from thpsweep.errors import OptionError
from thpsweep.model import options
from thpsweep.model.mechanisms.base import Limits
from thpsweep.model.triggers.base import Collapser, Trigger


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
        options.one_of("policy.trigger.callers", self.callers, ("all", "root"))
        if not self.at_s:
            raise OptionError("policy.trigger.at_s", self.at_s, "at least one moment")
        for moment in self.at_s:
            options.not_negative("policy.trigger.at_s", moment)

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
            for sharer in range(collapser.family.n_sharers if self.callers == "all" else 1):
                self._advise(collapser, sharer, tick)

    def _advise(self, collapser: Collapser, sharer: int, tick: int) -> None:
        family = collapser.family
        living = np.flatnonzero(family.alive[:, sharer])
        if living.size:
            rows = np.concatenate([family.rows_of(int(replicate), sharer) for replicate in living])
            found = collapser.scan(rows, Limits(), tick, khugepaged=False)
            collapser.attempt(found, Limits())
            collapser.counts.hold(rows, scanned=found.progress)
