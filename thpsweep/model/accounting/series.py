"""How the main quantities move during a run: at most 200 steps of each, read from gauges and counters."""

import functools
from typing import Any

import numpy as np

from thpsweep.model.bits import Floats, Ints
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family
from thpsweep.units import PAGE_SIZE_BYTES

MAX_STEPS = 200
"""Steps of a run: about what a chart can show."""

WRITE_FAULTS = ("cow_faults", "reuse_faults", "reuse_pmds")
"""Writes that copied a page, or only made a pte or a PMD writable."""

UNITS = {
    "series/lru_entries": "entries",
    "series/memory_bytes": "bytes",
    "series/pmd_mapped_fraction": "share",
    "series/pte_updates": "ptes",
    "series/collapses": "collapses",
    "series/write_faults": "faults",
}
"""Name of each series -> unit. The first three are the state at the end of a tick, the others counts up to there."""


def steps(n_ticks: int, most: int = MAX_STEPS) -> Ints:
    """Choose the ticks to keep, counted from 1: every k-th and the last. Shapes: -> (at most `most`,)."""
    every = -(-n_ticks // most)
    chosen = np.arange(every, n_ticks + 1, every, dtype=np.int64)
    return chosen if chosen[-1] == n_ticks else np.append(chosen, n_ticks)


class Series:
    """What one run records as it goes.

    Shapes: ticks (n_steps,), values[name] (n_steps, n_replicates), table (n_series, n_steps, n_replicates).
    """

    def __init__(self, n_ticks: int, n_replicates: int) -> None:
        self.ticks = steps(n_ticks)
        self.table = np.zeros((len(UNITS), self.ticks.size, n_replicates))
        self.values = dict(zip(UNITS, self.table, strict=True))
        self._recorded = 0

    def add(self, number: int, family: Family, counts: Counts) -> None:
        """Record the state at the end of a tick, counted from 0, if it is one of the chosen."""
        step = self._recorded
        if step == self.ticks.size or number + 1 != self.ticks[step]:
            return
        for name, value in _now(family, counts).items():
            self.values[name][step] = value
        self._recorded = step + 1

    def time_s(self, tick_s: float) -> Floats:
        """Give the end of each recorded tick. Shapes: -> (n_steps,)."""
        return self.ticks * tick_s


def report(policy: Series, baseline: Series, tick_s: float, n_points: int = 1) -> list[dict[str, Any]]:
    """Turn two runs of the same events into plain JSON types: times, then each series' means over a point's replicates."""
    time_s = policy.time_s(tick_s).tolist()
    runs = {"mean": _means(policy, n_points), "baseline": _means(baseline, n_points)}
    return [
        {"time_s": time_s}
        | {name: {run: means[series][number] for run, means in runs.items()} for series, name in enumerate(UNITS)}
        for number in range(n_points)
    ]


def _means(series: Series, n_points: int) -> list[list[list[float]]]:
    """Average over each point's replicates. Shapes: -> (n_series, n_points, n_steps)."""
    by_point = series.table.reshape(len(UNITS), series.ticks.size, n_points, -1)
    means: list[list[list[float]]] = by_point.mean(axis=3).swapaxes(1, 2).tolist()
    return means


def _now(family: Family, counts: Counts) -> dict[str, Ints | Floats]:
    """Read every series of UNITS. Shapes: each (n_replicates,)."""
    total = counts.total
    return {
        "series/lru_entries": family.lru_entries,
        "series/memory_bytes": family.pages_in_use * PAGE_SIZE_BYTES,
        "series/pmd_mapped_fraction": family.pmd_mapped_fraction,
        "series/pte_updates": counts.pte_updates,
        "series/collapses": total["collapses"],
        "series/write_faults": functools.reduce(np.add, (total[name] for name in WRITE_FAULTS)),
    }
