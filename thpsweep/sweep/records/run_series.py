"""What MLflow gets of the series of a run; the journal has all of it, and the baseline's too."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from thpsweep.model.accounting.series import steps
from thpsweep.sweep.records.schema import ResultRecord, result_of

MAX_STEPS = 50
"""Steps a series in MLflow: on SQLite a run then takes 1.4 times as long to write, and with all 200 of them 2.9 times."""

SERIES = ("series/lru_entries", "series/memory_bytes", "series/pte_updates")
"""Series that MLflow gets: what a policy gains, what it holds and what it does; each is one key of MAX_METRICS."""


class SeriesStep(NamedTuple):
    """One value of a series. Units: step in simulated seconds, time_ms in milliseconds since 1970."""

    name: str
    value: float
    time_ms: int
    step: int


def names(result: ResultRecord) -> list[str]:
    """List the series of a result that MLflow gets; none where the point failed."""
    return [name for name in SERIES if name in _found(result)]


def values(result: ResultRecord, start_ms: int, end_ms: int) -> list[SeriesStep]:
    """Give at most MAX_STEPS steps of each series, the last one included, from the record alone.

    The step is the simulated second, rounded up, so that runs of different ticks share an axis; of several in one
    second the last is kept. Times are spread over the run's own, in proportion: MLflow's time axes stay readable.
    """
    series = _found(result)
    if not series:
        return []
    time_s = series["time_s"]
    at = {math.ceil(round(time_s[index], 6)): index for index in (steps(len(time_s), MAX_STEPS) - 1).tolist()}
    spent = {index: round((end_ms - start_ms) * time_s[index] / time_s[-1]) for index in at.values()}
    return [
        SeriesStep(name, series[name]["mean"][index], start_ms + spent[index], second)
        for name in names(result)
        for second, index in at.items()
    ]


def _found(result: ResultRecord) -> Mapping[str, Any]:
    return result_of(result).get("series", {})
