"""Counts, then prices: what a run counted, as plain data, and its CPU time at the prices of another machine."""

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from thpsweep.errors import ThpsweepError
from thpsweep.model import registry
from thpsweep.model.accounting.integrals import Integrals
from thpsweep.model.accounting.prices import collapse_ns
from thpsweep.model.bits import Floats
from thpsweep.model.machines.profile import Profile
from thpsweep.model.metrics.base import Counted, Pair
from thpsweep.model.metrics.benefit import saved_ms
from thpsweep.model.metrics.tradeoff import payback_s
from thpsweep.model.state.counts import Counter, Counts
from thpsweep.units import NS_PER_MS

FED_BACK = "a gate compared costs, so that other prices would have let other collapses pass"

ACCESSES = "workload.random_accesses_per_s"

NOT_PRICES = ("cpus", "memory_bytes", "tlb_l1_entries", "tlb_l2_entries", "tlb_coalesce")
"""Fields of a profile that are sizes: what a run counts depends on them, so that they cannot be changed afterwards."""


def counted(pair: Pair, n_points: int = 1, *, fed_back: bool) -> list[dict[str, Any]]:
    """Give for each point what both runs counted, operations that did not happen left out, and why it cannot be priced
    anew, if so."""
    runs = {"policy": _by_point(pair.policy, n_points), "baseline": _by_point(pair.baseline, n_points)}
    first_s = pair.policy.integrals.first_collapse_s.reshape(n_points, -1).tolist()
    return [
        {name: amounts[number] for name, amounts in runs.items()}
        | {
            "first_collapse_s": first_s[number],
            "duration_s": pair.duration_s,
            "fed_back": FED_BACK if fed_back else "",
        }
        for number in range(n_points)
    ]


def _by_point(run: Counted, n_points: int) -> list[dict[str, list[float]]]:
    """Give each point's amounts, by name, one a replicate: whole numbers, then what is not."""
    by_point: list[dict[str, list[float]]] = [{} for _ in range(n_points)]
    for amounts in (run.counts.total, run.integrals.aged | run.integrals.missed):
        if not amounts:
            continue
        names = np.array(list(amounts), object)
        table = np.array(list(amounts.values())).reshape(names.size, n_points, -1)
        there = np.count_nonzero(table, axis=2) > 0
        for number, mine in enumerate(by_point):
            kept = there[:, number]
            mine.update(zip(names[kept], table[kept, number].tolist(), strict=True))
    return by_point


@dataclasses.dataclass(frozen=True)
class Recording:
    """A recorded result, ready to be priced."""

    policy: Counted
    baseline: Counted
    machine: Profile
    n_sharers: int
    duration_s: float
    shares_tables: bool
    accesses_per_s: float = 1.0

    def cpu(self, values: Mapping[str, float | Floats] | None = None) -> dict[str, Floats]:
        """Price the run with some keys changed, such as `machine.ipi_ns`: to a number, or to one for each of many draws.

        Units: ms; payback_s in s. Shapes: values () or (n_draws, 1) -> each (n_replicates,) or (n_draws, n_replicates).
        Raises: ThpsweepError for what a run's counts depend on.
        """
        values = values or {}
        machine = self._machine(values)
        shape = np.broadcast_shapes((self.policy.integrals.first_collapse_s.size,), *map(np.shape, values.values()))
        cost_ms = np.broadcast_to(collapse_ns(self.policy.counts, machine, self.n_sharers) / NS_PER_MS, shape)
        saved = saved_ms(self.baseline, self.policy, machine, self.shares_tables)
        if ACCESSES in values:
            saved["tlb"] = saved["tlb"] * (values[ACCESSES] / (self.accesses_per_s or 1.0))
        gain_ms = sum(saved.values(), np.zeros(shape))
        return {
            "cost/cpu_ms": cost_ms,
            **{f"benefit/{kind}_ms_saved": np.broadcast_to(value, shape) for kind, value in saved.items()},
            "tradeoff/gain_cpu_ms": gain_ms,
            "tradeoff/net_cpu_ms": gain_ms - cost_ms,
            "tradeoff/payback_s": payback_s(self.policy, self.duration_s, cost_ms, gain_ms),
        }

    def _machine(self, values: Mapping[str, float | Floats]) -> Profile:
        """Give a price list with other prices."""
        machine, names = copy.copy(self.machine), {field.name for field in dataclasses.fields(Profile)}
        for key, value in values.items():
            group, _, name = key.partition(".")
            if key != ACCESSES and (group != "machine" or name not in names or name in NOT_PRICES):
                raise ThpsweepError(f"{key}: not a price; what a run counts depends on it: simulate it anew")
            if group == "machine":
                setattr(machine, name, value)
        return machine


def recording(point: Mapping[str, Any], result: Mapping[str, Any]) -> Recording:
    """Read what a result counted. Raises: ThpsweepError where it may not be priced anew, with the reason."""
    record = result.get("counted")
    if record is None:
        raise ThpsweepError("the record has no counts: it is of an older version; the same sweep records them")
    if record["fed_back"]:
        raise ThpsweepError(record["fed_back"])
    first_s = np.array(record["first_collapse_s"], np.float64)
    mechanism = registry.build("mechanism", point["policy"]["mechanism"])
    policy, baseline = (_counted(record[run], mechanism.counters, first_s) for run in ("policy", "baseline"))
    machine = registry.build("machine", point["machine"])
    n_sharers, accesses_per_s = result["facts"]["sharers"], point["workload"]["random_accesses_per_s"]
    return Recording(
        policy, baseline, machine, n_sharers, record["duration_s"], mechanism.shares_tables, accesses_per_s
    )


def _counted(amounts: Mapping[str, list[float]], own: Mapping[str, Counter], first_s: Floats) -> Counted:
    counts, integrals = Counts(first_s.size, own=own), Integrals.zero(first_s.size)
    integrals.first_collapse_s = first_s
    for name, values in amounts.items():
        if name in counts.total:
            counts.total[name] = np.array(values, np.int64)
        else:
            by_price = integrals.missed if name in ("tlb_l2_hit_ns", "page_walk_saved_ns") else integrals.aged
            by_price[name] = np.array(values, np.float64)
    return Counted(counts, integrals)
