"""Fold the replicates of a run into what is reported: mean and 95 % interval."""

import functools
from typing import Any

import numpy as np

from thpsweep.model.metrics.base import Metrics
from thpsweep.model.prices import Floats
from thpsweep.model.series import UNITS
from thpsweep.outcomes import SENTENCES, ScanResult


def intervals(values: Floats) -> list[dict[str, float]]:
    """Give means and Student's 95 % intervals of them; with one replicate an interval is unknown (nan).

    Infinite values make the mean infinite. Values that are all equal have an interval of no width.
    Shapes: (n_metrics, n_replicates) -> n_metrics dicts.
    """
    n = values.shape[1]
    with np.errstate(invalid="ignore"):  # inf - inf
        means = values.mean(axis=1)
        halves = _quantile(n) * values.std(axis=1, ddof=1) / np.sqrt(n) if n > 1 else np.full(len(means), np.nan)
    alike = (values == values[:, :1]).all(axis=1) & (n > 1)
    unknown = np.where(alike, means, np.nan)
    finite = np.isfinite(values).all(axis=1)
    lows, highs = (np.where(finite, means + sign * halves, unknown) for sign in (-1, 1))
    ends = zip(means.tolist(), lows.tolist(), highs.tolist(), strict=True)
    return [{"mean": mean, "low": low, "high": high} for mean, low, high in ends]


@functools.cache
def _quantile(n: int) -> float:
    """Give what leaves 2.5 % of Student's distribution above it, for n values."""
    from scipy.special import stdtrit  # a quarter second, which commands that simulate nothing do not have

    return float(stdtrit(n - 1, 0.975))


def summary(metrics: Metrics, outcomes: np.ndarray, facts: dict[str, Any], series: dict[str, Any]) -> dict[str, Any]:
    """Turn arrays into plain dicts of JSON types. Shapes: outcomes (n_replicates, number of results)."""
    totals = {result.name: int(outcomes[:, result].sum()) for result in ScanResult if outcomes[:, result].any()}
    if totals and "SUCCEED" not in totals:
        most = max(totals, key=lambda name: totals[name])
        facts = {**facts, "note_refused": f"nothing was collapsed: {SENTENCES[ScanResult[most]]} ({most})"}
    every = np.array([values for values, _ in metrics.values()], np.float64)
    return {
        "metrics": dict(zip(metrics, intervals(every), strict=True)),
        "replicates": dict(zip(metrics, every.tolist(), strict=True)),
        "series": series,
        "outcomes": totals,
        "facts": facts,
        "units": {name: unit for name, (_, unit) in metrics.items()} | {"time_s": "s"} | UNITS,
    }
