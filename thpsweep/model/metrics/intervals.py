"""Fold replicates into what is reported: mean and 95 % interval."""

import numpy as np

from thpsweep.model.bits import Floats
from thpsweep.model.metrics.student import upper_quantile


def intervals(values: Floats) -> list[dict[str, float]]:
    """Give means and Student's 95 % intervals of them; with one replicate an interval is unknown (nan).

    Infinite values make the mean infinite. Values that are all equal have an interval of no width.
    Shapes: (n_metrics, n_replicates) -> n_metrics dicts.
    """
    n = values.shape[1]
    with np.errstate(invalid="ignore"):  # inf - inf
        means = values.mean(axis=1)
        halves = upper_quantile(n) * values.std(axis=1, ddof=1) / np.sqrt(n) if n > 1 else np.full(len(means), np.nan)
    alike = (values == values[:, :1]).all(axis=1) & (n > 1)
    unknown = np.where(alike, means, np.nan)
    finite = np.isfinite(values).all(axis=1)
    lows, highs = (np.where(finite, means + sign * halves, unknown) for sign in (-1, 1))
    ends = zip(means.tolist(), lows.tolist(), highs.tolist(), strict=True)
    return [{"mean": mean, "low": low, "high": high} for mean, low, high in ends]
