"""Fold the replicates of a run into what is reported: mean and 95 % interval."""

from typing import Any

import numpy as np
from scipy import stats

from thpsweep.model.metrics.base import Metrics
from thpsweep.model.prices import Floats
from thpsweep.model.series import UNITS
from thpsweep.outcomes import SENTENCES, ScanResult


def interval(values: Floats) -> dict[str, float]:
    """Give the mean and Student's 95 % interval of the mean; with one replicate the interval is unknown (nan).

    Infinite values make the mean infinite. Values that are all equal have an interval of no width.
    """
    mean = float(np.mean(values))
    if values.size < 2 or not np.isfinite(values).all():
        low = high = mean if values.size > 1 and np.all(values == values[0]) else float("nan")
        return {"mean": mean, "low": low, "high": high}
    half = float(stats.t.ppf(0.975, values.size - 1) * np.std(values, ddof=1) / np.sqrt(values.size))
    return {"mean": mean, "low": mean - half, "high": mean + half}


def summary(metrics: Metrics, outcomes: np.ndarray, facts: dict[str, Any], series: dict[str, Any]) -> dict[str, Any]:
    """Turn arrays into plain dicts of JSON types. Shapes: outcomes (n_replicates, number of results)."""
    totals = {result.name: int(outcomes[:, result].sum()) for result in ScanResult if outcomes[:, result].any()}
    if totals and "SUCCEED" not in totals:
        most = max(totals, key=lambda name: totals[name])
        facts = {**facts, "note_refused": f"nothing was collapsed: {SENTENCES[ScanResult[most]]} ({most})"}
    return {
        "metrics": {name: interval(values) for name, (values, _) in metrics.items()},
        "replicates": {name: [float(value) for value in values] for name, (values, _) in metrics.items()},
        "series": series,
        "outcomes": totals,
        "facts": facts,
        "units": {name: unit for name, (_, unit) in metrics.items()} | {"time_s": "s"} | UNITS,
    }
