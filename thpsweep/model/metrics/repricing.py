"""Counts, then prices: what a run counted, as plain data, and its CPU time at other prices and rates."""

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from thpsweep.errors import ThpsweepError
from thpsweep.model import registry
from thpsweep.model.accounting.integrals import Integrals
from thpsweep.model.accounting.prices import collapse_ns
from thpsweep.model.accounting.translation import AMOUNTS, Law, Rates
from thpsweep.model.bits import Floats
from thpsweep.model.machines.profile import Profile
from thpsweep.model.metrics.base import Counted, Pair
from thpsweep.model.metrics.benefit import saved_ms
from thpsweep.model.metrics.tradeoff import break_even
from thpsweep.model.state.counts import Counter, Counts
from thpsweep.units import NS_PER_MS

FED_BACK = "a gate compared costs, so that other prices would have let other collapses pass"

SIZES = ("cpus", "memory_bytes", "page_table_cache_bytes")
"""Fields of a profile that are sizes: what a run counts depends on them, so that they cannot be changed afterwards."""


def counted(pair: Pair, n_points: int = 1, *, fed_back: bool) -> list[dict[str, Any]]:
    """Give for each point what both runs counted, operations that did not happen left out, and why it cannot be priced
    anew, if so."""
    runs = {"policy": _by_point(pair.policy, n_points), "baseline": _by_point(pair.baseline, n_points)}
    first_s = pair.policy.integrals.first_collapse_s.reshape(n_points, -1).tolist()
    small = pair.baseline.integrals.small_uncached.reshape(n_points, -1).tolist()
    return [
        {name: amounts[number] for name, amounts in runs.items()}
        | {
            "first_collapse_s": first_s[number],
            "small_uncached": small[number],
            "duration_s": pair.duration_s,
            "rates": pair.law.rates.recorded(),
            "fed_back": FED_BACK if fed_back else "",
        }
        for number in range(n_points)
    ]


def _by_point(run: Counted, n_points: int) -> list[dict[str, list[float]]]:
    """Give each point's amounts, by name, one a replicate: whole numbers, then what is not."""
    by_point: list[dict[str, list[float]]] = [{} for _ in range(n_points)]
    for amounts in (run.counts.total, run.integrals.aged | run.integrals.translated):
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
    rates: Rates
    n_sharers: int
    duration_s: float
    shares_tables: bool

    @property
    def keys(self) -> dict[str, float]:
        """Name what can be priced anew, by its key in the config, with its value."""
        prices = [field.name for field in dataclasses.fields(self.machine) if field.type is float]
        return {f"machine.{name}": float(getattr(self.machine, name)) for name in prices if name not in SIZES} | {
            f"workload.{name}": getattr(self.rates, name) for name in self.rates.options()
        }

    def cpu(self, values: Mapping[str, float | Floats] | None = None) -> dict[str, Floats]:
        """Price the run with some prices and rates changed.

        Units: ms, a share of cycles. Shapes: values are numbers, or draws (n_draws, 1) -> each (n_replicates,), or
        (n_draws, n_replicates). Raises: ThpsweepError for what only a new simulation can tell.
        """
        machine, rates = self._at(values or {})
        law = Law(machine, rates, self.n_sharers, self.baseline.integrals.small_uncached)
        cost_ms = collapse_ns(self.policy.counts, machine, self.n_sharers) / NS_PER_MS
        saved = saved_ms(self.baseline, self.policy, law, self.shares_tables)
        before, after = (law.unit_ns(run.integrals.translated) for run in (self.baseline, self.policy))
        gain_ms = np.asarray(sum(saved.values(), np.zeros(self.n_replicates)))
        needed_ms = cost_ms - (gain_ms - saved["tlb"])
        share = break_even(np.asarray(needed_ms), np.asarray((before - after) / NS_PER_MS))
        return {
            "cost/cpu_ms": cost_ms,
            **{f"benefit/{kind}_ms_saved": value for kind, value in saved.items()},
            "tradeoff/gain_cpu_ms": gain_ms,
            "tradeoff/net_cpu_ms": gain_ms - cost_ms,
            "tradeoff/break_even_walk_share": np.where(self.policy.counts.total["collapses"] == 0, np.nan, share),
        }

    @property
    def n_replicates(self) -> int:
        """Replicates of the point."""
        return int(self.policy.counts.table.shape[1])

    def _at(self, values: Mapping[str, float | Floats]) -> tuple[Any, Any]:
        """Change prices and rates; checked when they came in, they may be arrays here."""
        machine, rates, known = copy.copy(self.machine), self.rates, self.keys
        for key, value in values.items():
            if key not in known:
                raise ThpsweepError(f"{key}: not a price; what a run counts depends on it: simulate it anew")
            group, name = key.split(".")
            if group == "machine":
                vars(machine)[name] = value
            else:
                rates = rates._replace(**cast(Any, {name: value}))
        return machine, rates


def recording(point: Mapping[str, Any], result: Mapping[str, Any]) -> Recording:
    """Read what a result counted. Raises: ThpsweepError where it may not be priced anew, with the reason."""
    record = result.get("counted")
    if record is None or "rates" not in record:
        raise ThpsweepError("the record has no counts: it is of an older version; the same sweep records them")
    if record["fed_back"]:
        raise ThpsweepError(record["fed_back"])
    mechanism = registry.build("mechanism", point["policy"]["mechanism"])
    policy, baseline = (_counted(record, run, mechanism.counters) for run in ("policy", "baseline"))
    machine = registry.build("machine", point["machine"])
    known = machine, Rates(**record["rates"]), result["facts"]["sharers"], record["duration_s"]
    return Recording(policy, baseline, *known, mechanism.shares_tables)


def _counted(record: Mapping[str, Any], run: str, own: Mapping[str, Counter]) -> Counted:
    first_s = np.array(record["first_collapse_s"], np.float64)
    counts, integrals = Counts(first_s.size, own=own), Integrals.zero(first_s.size)
    integrals.first_collapse_s, integrals.small_uncached = first_s, np.array(record["small_uncached"], np.float64)
    integrals.translated = {name: np.zeros(first_s.size) for name in AMOUNTS}
    for name, values in record[run].items():
        if name in counts.total:
            counts.total[name][:] = values
        else:
            by_name = integrals.translated if name in AMOUNTS else integrals.aged
            by_name[name] = np.array(values, np.float64)
    return Counted(counts, integrals)
