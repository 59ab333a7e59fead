"""Where a gain turns into a loss, or back, along a swept quantity."""

import dataclasses
import math

import numpy as np

from thpsweep.answers.analysis.paired import Values, estimate


@dataclasses.dataclass(frozen=True)
class Crossing:
    """A change of sign of the mean: where, within which bounds, and whether towards gain."""

    at: float
    low: float
    high: float
    rises: bool


def crossings(x: Values, values: Values) -> list[Crossing]:
    """Find where the mean over replicates changes its sign, values being taken as linear between the swept ones.

    The interval comes from each replicate's own crossing between the same two values where all have one; else it reaches
    from the last value before to the first behind it at which the sign is resolved (0 and inf where there is none).
    Along x > 0 interpolation and intervals are in log x. Shapes: x (n_levels,) ascending, values (n_levels, n_replicates).
    """
    scale = np.log(x) if (x > 0).all() else x
    back = math.exp if (x > 0).all() else float
    mean = values.mean(axis=1)
    found = []
    for left in np.flatnonzero(np.isfinite(mean[:-1]) & np.isfinite(mean[1:]) & (mean[:-1] * mean[1:] < 0)):
        ends = scale[left], scale[left + 1]
        own = _zeros(ends, values[left], values[left + 1])
        spread = estimate(own) if np.isfinite(own).all() else None
        at = float(_zeros(ends, mean[[left]], mean[[left + 1]])[0])
        if spread is None or math.isnan(spread.low):
            low, high = _resolved(x, values, int(left))
        else:
            low, high = back(at - (spread.mean - spread.low)), back(at + (spread.high - spread.mean))
        found.append(Crossing(back(at), low, high, bool(mean[left + 1] > 0)))
    return found


def _zeros(ends: tuple[float, float], before: Values, after: Values) -> Values:
    """Interpolate where each line is zero; nan where it is not between its ends. Shapes: (n,), (n,) -> (n,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = before / (before - after)
    return np.where(before * after < 0, ends[0] + share * (ends[1] - ends[0]), np.nan)


def _resolved(x: Values, values: Values, left: int) -> tuple[float, float]:
    """Give the nearest levels at which the signs before and behind are certain."""
    signs = [estimate(row).sign for row in values]
    before, behind = (1, -1) if values[left].mean() > 0 else (-1, 1)
    lows = [x[at] for at in range(left + 1) if signs[at] == before]
    highs = [x[at] for at in range(left + 1, len(x)) if signs[at] == behind]
    return float(lows[-1]) if lows else 0.0, float(highs[0]) if highs else math.inf
