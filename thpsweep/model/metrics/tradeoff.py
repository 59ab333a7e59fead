"""Cost against benefit."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from thpsweep.model.bits import Floats
from thpsweep.model.metrics.base import Counted, Metric, Metrics, Pair

SAVED = ("fork", "exit", "refault", "reclaim", "tlb")
"""Kinds of CPU time in benefit/ that add up to the gain."""


@dataclasses.dataclass
class Tradeoff(Metric):
    """Set cost against benefit."""

    after: ClassVar[tuple[str, ...]] = ("cost", "contention", "benefit")

    def compute(self, pair: Pair, known: Metrics) -> Metrics:
        """Compute tradeoff/."""
        return metrics(pair, known)

    def notes(self, pair: Pair, values: Mapping[str, Floats], replicates: slice) -> dict[str, str]:
        """Say where payback_s is an extrapolation."""
        return facts(values, since_s(pair.policy, pair.duration_s)[replicates])


def metrics(pair: Pair, by_name: Metrics) -> Metrics:
    """Compute tradeoff/ from the other two groups.

    net_cpu_ms is the gain less the cost over the whole run; payback_s how long the gain, at its mean rate from the first
    collapse on, takes to make up for the cost: inf where there is no gain, nan where nothing was collapsed. So it lies
    within the run just where net_cpu_ms is not negative; beyond, it takes for granted that the gain goes on.
    Shapes: values (n_replicates,).
    """
    updates, removed = by_name["cost/pte_updates"][0], by_name["benefit/lru_entries_removed"][0]
    cost_ms = by_name["cost/cpu_ms"][0]
    gain_ms = sum((by_name[f"benefit/{kind}_ms_saved"][0] for kind in SAVED), np.zeros(cost_ms.size))
    ratio = np.divide(updates, removed, out=np.full(updates.size, np.nan), where=removed > 0)
    return {
        "tradeoff/pte_updates_per_lru_entry": (ratio, "ptes per entry"),
        "tradeoff/gain_cpu_ms": (gain_ms, "ms"),
        "tradeoff/net_cpu_ms": (gain_ms - cost_ms, "ms"),
        "tradeoff/payback_s": (payback_s(pair.policy, pair.duration_s, cost_ms, gain_ms), "s"),
    }


def payback_s(policy: Counted, duration_s: float, cost_ms: Floats, gain_ms: Floats) -> Floats:
    """Divide the cost by the mean rate of the gain from the first collapse on. Units: s. Shapes: -> (n_replicates,)."""
    after_s = since_s(policy, duration_s)
    gain_ms_per_s = np.divide(gain_ms, after_s, out=np.zeros(gain_ms.shape), where=np.isfinite(after_s) & (after_s > 0))
    payback: Floats = np.divide(cost_ms, gain_ms_per_s, out=np.full(cost_ms.shape, np.inf), where=gain_ms_per_s > 0)
    payback[..., policy.counts.total["collapses"] == 0] = np.nan
    return payback


def since_s(policy: Counted, duration_s: float) -> Floats:
    """Give for how long there was something to gain. Shapes: -> (n_replicates,)."""
    return duration_s - policy.integrals.first_collapse_s


def facts(by_name: Mapping[str, Floats], after_s: Floats) -> dict[str, str]:
    """Say where payback_s is an extrapolation, beyond what since_s() gives; nothing where it is none."""
    paid_s = by_name["tradeoff/payback_s"]
    beyond = int(np.count_nonzero(np.isfinite(paid_s) & (paid_s > after_s)))
    if not beyond:
        return {}
    return {
        "note_payback": f"in {beyond} of {paid_s.size} replicates it pays back only after the end of the run, if "
        "the gain goes on at its mean rate"
    }
