"""How sure it is that a choice pays: over what is not known of a tree, the share of its cycles that go to page walks."""

import dataclasses

import numpy as np

from thpsweep.answers.advise.verdict import Prediction
from thpsweep.answers.analysis.ranges import rate_range
from thpsweep.model.bits import Floats
from thpsweep.model.capture.activity import Rate

KEY = "workload.page_walk_share"

LEAST_SHARE = 1e-6
"""What stands for 0: a share is drawn evenly in its logarithm, and gains are scaled with it."""


@dataclasses.dataclass(frozen=True)
class WalkShare:
    """The share that was predicted with, and from where to where it may lie; one number where it was measured.

    how: what the range rests on; seen: whether that is this tree.
    """

    value: float
    low: float
    high: float
    how: str = ""
    seen: bool = False

    @classmethod
    def measured(cls, value: float) -> "WalkShare":
        """Take it as known."""
        return cls(value, value, value)

    @classmethod
    def assumed(cls, value: float) -> "WalkShare":
        """Take it as one in the range that the sensitivity of sweeps draws from, too (analysis/ranges.py)."""
        stated = rate_range(KEY, value)
        return cls(value, stated.low, stated.high, stated.source.removeprefix("assumed: "))

    @classmethod
    def estimated(cls, seen: Rate) -> "WalkShare":
        """Take what young bits showed; where that is a lower bound, up to the end of the stated range."""
        value = max(seen.value, LEAST_SHARE)
        high = max(value, rate_range(KEY, value).high if seen.high is None else seen.high)
        return cls(value, min(value, max(seen.low, LEAST_SHARE)), high, seen.how, True)

    @property
    def known(self) -> bool:
        """Whether it was measured, or given."""
        return self.low == self.high


def breakeven(each: Prediction, share: WalkShare) -> Floats:
    """Find the share from which on it pays, a replicate: what is saved goes with the share. 0: always; inf: never, nor if
    all cycles went to page walks.

    Shapes: -> (n_replicates,).
    """
    walks = each.net_values - each.dry_values
    never = np.where(each.dry_values > 0, 0.0, np.inf)
    least = np.maximum(0.0, -each.dry_values) / np.where(walks > 0, walks, 1.0) * share.value
    return np.where(walks > 0, np.where(least > 1, np.inf, least), never)


def chance(each: Prediction, share: WalkShare) -> float:
    """Give how often it pays, the share being equally likely in each factor of its range, over all replicates."""
    least = breakeven(each, share)
    if share.known:
        return float((each.net_values > 0).mean())
    inside = np.clip(least, share.low, share.high)
    return float(np.mean(np.log(share.high / inside) / np.log(share.high / share.low)))


def at_most(each: Prediction, share: WalkShare) -> float:
    """Give the net gain at the highest share. Units: ms."""
    factor = share.high / share.value if share.value else 1.0
    return float((each.dry_values + (each.net_values - each.dry_values) * factor).mean())
