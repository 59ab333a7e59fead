"""Cost against benefit."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from thpsweep.model.bits import Floats
from thpsweep.model.metrics.base import Counted, Metric, Metrics, Pair
from thpsweep.units import NS_PER_MS

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
        """Say in how many replicates it does not pay back within the run."""
        del pair, replicates
        return facts(values)


def metrics(pair: Pair, by_name: Metrics) -> Metrics:
    """Compute tradeoff/ from the other two groups.

    net_cpu_ms is the gain less the cost over the whole run. Shapes: values (n_replicates,).
    """
    updates, removed = by_name["cost/pte_updates"][0], by_name["benefit/lru_entries_removed"][0]
    cost_ms = by_name["cost/cpu_ms"][0]
    gain_ms = sum((by_name[f"benefit/{kind}_ms_saved"][0] for kind in SAVED), np.zeros(cost_ms.size))
    ratio = np.divide(updates, removed, out=np.full(updates.size, np.nan), where=removed > 0)
    elsewhere_ms = gain_ms - by_name["benefit/tlb_ms_saved"][0]
    none = pair.policy.counts.total["collapses"] == 0
    unit_ms = walks_saved_ms(pair)
    return {
        "tradeoff/pte_updates_per_lru_entry": (ratio, "ptes per entry"),
        "tradeoff/gain_cpu_ms": (gain_ms, "ms"),
        "tradeoff/net_cpu_ms": (gain_ms - cost_ms, "ms"),
        "tradeoff/break_even_walk_share": (
            np.where(none, np.nan, break_even(cost_ms - elsewhere_ms, unit_ms)),
            "share of cycles",
        ),
        "tradeoff/payback_s": (np.where(none, np.nan, payback_s(pair)), "s"),
    }


def walks_saved_ms(pair: Pair) -> Floats:
    """Price the page walks saved as if all cycles were page walks: they are in proportion to page_walk_share. Units: ms."""
    law = pair.law
    before, after = (law.unit_ns(run.integrals.translated) for run in (pair.baseline, pair.policy))
    return np.asarray((before - after) / NS_PER_MS)


def break_even(needed_ms: Floats, unit_ms: Floats) -> Floats:
    """Give the share of cycles in page walks from which on collapsing pays: net_cpu_ms is 0 there.

    needed_ms is what must be saved in page walks; 0 where other gains pay for it all, inf where no share does.
    """
    share = np.divide(
        needed_ms, unit_ms, out=np.full(np.broadcast(needed_ms, unit_ms).shape, np.inf), where=unit_ms > 0
    )
    share = np.where(share > 1.0, np.inf, share)
    return np.asarray(np.where(needed_ms <= 0, 0.0, share))


def payback_s(pair: Pair) -> Floats:
    """Give the first time at which the cumulative net is and stays above 0; inf where that is not within the run.

    Shapes: -> (n_replicates,).
    """
    spent, before = pair.policy.cpu_time, pair.baseline.cpu_time
    cost = np.diff(spent.collapsing - before.collapsing, axis=0, prepend=0.0)
    gain = np.diff(before.other - spent.other, axis=0, prepend=0.0)
    return crossing_s(gain, cost, pair.tick_s)


def crossing_s(gain: Floats, cost: Floats, tick_s: float) -> Floats:
    """Give when gains less costs are above 0 for good: a tick begins with its cost, then its gain comes evenly.

    Shapes: gain and cost of each tick (n_ticks, n) -> (n,).
    """
    ends = (gain - cost).cumsum(axis=0)
    begins = ends - gain
    under = np.minimum(begins, ends) <= 0
    never = ends[-1] <= 0
    last = len(under) - 1 - np.argmax(under[::-1], axis=0)  # the last tick in which it is not above 0 throughout
    column = np.arange(under.shape[1])
    below, above = begins[last, column], ends[last, column]
    inside = np.divide(-below, above - below, out=np.ones(below.size), where=(below <= 0) & (above > 0))
    first = np.where(under.any(axis=0), (last + inside) * tick_s, 0.0)
    return np.asarray(np.where(never, np.inf, first))


def since_s(policy: Counted, duration_s: float) -> Floats:
    """Give for how long there was something to gain. Shapes: -> (n_replicates,)."""
    return duration_s - policy.integrals.first_collapse_s


def facts(by_name: Mapping[str, Floats]) -> dict[str, str]:
    """Say where it pays back in some replicates only; nothing where all agree."""
    paid_s = by_name["tradeoff/payback_s"]
    never = int(np.count_nonzero(np.isinf(paid_s)))
    if not 0 < never < paid_s.size:
        return {}
    return {"note_payback": f"in {never} of {paid_s.size} replicates it does not pay back within the run"}
