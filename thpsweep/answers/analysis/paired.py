"""What replicates can tell: means with Student's 95 % interval, differences taken replicate by replicate."""

import dataclasses

import numpy as np
import numpy.typing as npt

from thpsweep.model.metrics.intervals import intervals

Values = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class PairedEstimate:
    """A mean and its 95 % interval; the ends are nan where they are not known, as with a single replicate."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def sign(self) -> int:
        """1 or -1 where the whole interval is on one side of zero, else 0: not resolved."""
        return int(self.low > 0) - int(self.high < 0)

    @property
    def exact(self) -> bool:
        """Whether all replicates agree."""
        return self.low == self.mean == self.high


NOISE = 1e-9
"""Sums of floats differ by their order: what is narrower, as a share of the values that went into it, is no variance."""


def is_exact(low: float, high: float, scale: float) -> bool:
    """Tell whether an interval is but the rounding of sums, of values as large as `scale`."""
    return bool(abs(high - low) <= NOISE * abs(scale))


def estimate(values: Values, scale: float = 0.0) -> PairedEstimate:
    """Estimate the mean of independent replicates, computed from values as large as `scale`. Shapes: (n,)."""
    values = np.asarray(values, np.float64)
    if values.size > 1 and np.isfinite(values).all():
        low, high = float(values.min()), float(values.max())
        if is_exact(low, high, max(scale, abs(low), abs(high))):
            values = np.full(values.size, values.mean())
    found = intervals(values[None])[0]
    return PairedEstimate(found["mean"], found["low"], found["high"], values.size)


def difference(one: Values, other: Values) -> PairedEstimate:
    """Estimate how much more one has than the other on the same events: what both share cancels out. Shapes: (n,)."""
    both = np.abs([*one, *other])
    return estimate(one - other, float(both.max()) if both.size and np.isfinite(both).all() else 0.0)


def jackknife(whole: Values, without: Values) -> list[PairedEstimate]:
    """Give Student's intervals of statistics from pseudo-values: with a handful of replicates the percentiles of a
    bootstrap are far too narrow.

    whole: the statistics of all replicates; without: of all but each one of them. An interval is unknown with one.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 11. Shapes: (k,), (n, k) -> k.
    """
    n = len(without)
    if n < 2:
        return [PairedEstimate(float(value), np.nan, np.nan, n) for value in whole]
    pseudo = n * whole - (n - 1) * without
    spread = intervals(np.ascontiguousarray(pseudo.T))
    halves = [(found["high"] - found["low"]) / 2 for found in spread]
    return [
        PairedEstimate(float(v), float(v - half), float(v + half), n) for v, half in zip(whole, halves, strict=True)
    ]
