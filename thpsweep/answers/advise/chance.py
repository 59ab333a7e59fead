"""How sure it is that a choice pays: over what is not known of a tree, the share of its cycles that go to page walks."""

import dataclasses

import numpy as np

from thpsweep.answers.advise.verdict import Prediction
from thpsweep.answers.analysis.ranges import rate_range
from thpsweep.model.bits import Floats

KEY = "workload.page_walk_share"


@dataclasses.dataclass(frozen=True)
class WalkShare:
    """The share that was predicted with, and from where to where it may lie; one number where it was measured.

    how: what the range rests on.
    """

    value: float
    low: float
    high: float
    how: str = ""

    @classmethod
    def measured(cls, value: float) -> "WalkShare":
        """Take it as known."""
        return cls(value, value, value)

    @classmethod
    def assumed(cls, value: float) -> "WalkShare":
        """Take it as one in the range that the sensitivity of sweeps draws from, too (analysis/ranges.py)."""
        stated = rate_range(KEY, value)
        return cls(value, stated.low, stated.high, stated.source.removeprefix("assumed: "))

    @property
    def known(self) -> bool:
        """Whether it was measured, or given."""
        return self.low == self.high


def breakeven(each: Prediction, share: WalkShare) -> Floats:
    """Find the share from which on it pays, a replicate: what is saved goes with the share. 0: always; inf: never.

    Shapes: -> (n_replicates,).
    """
    walks = each.net_values - each.dry_values
    never = np.where(each.dry_values > 0, 0.0, np.inf)
    return np.where(walks > 0, np.maximum(0.0, -each.dry_values) / np.where(walks > 0, walks, 1.0) * share.value, never)


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
