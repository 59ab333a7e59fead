"""Every pair of options of different groups, odd values among them: no run breaks, and no state or price fails to add up."""

import itertools
import math
import random
from typing import Any

import numpy as np
import pytest

from tests.model.points import option, point
from tests.model.replay import snapshot
from thpsweep.model import registry
from thpsweep.model.accounting.locks import CLASSES
from thpsweep.model.metrics import benefit, contention, cost, tradeoff
from thpsweep.model.metrics.base import Pair
from thpsweep.model.setting import check, setting
from thpsweep.model.simulate import _run, _without_policy, simulate
from thpsweep.outcomes import ScanResult

QUIET = {"root_hot": 0.0, "root_cold": 0.0, "worker_hot": 0.0, "worker_cold": 0.0}
RAGING = {"root_hot": 1e6, "root_cold": 1e6, "worker_hot": 1e6, "worker_cold": 1e6}
REQUESTS = {"pins_per_process_hour": 120.0, "vmsplices_per_process_hour": 120.0, "request_life_s": 60.0}
BOTH = {"kind": "all_of", "gates": [{"kind": "max_ptes", "max_ptes": 3000}, {"kind": "budget", "burst_s": 60.0}]}
FACTORS: dict[str, dict[str, Any]] = {
    "mechanism": {name: name for name in registry.options("mechanism")},
    "workload": {name: name for name in registry.options("workload")},
    "sharing": {name: name for name in registry.options("sharing")},
    "trigger": {
        "khugepaged": {"kind": "khugepaged"},
        "khugepaged, fast": {"kind": "khugepaged", "pages_to_scan": 1 << 20, "max_ptes_shared": 511},
        "khugepaged, strict": {"kind": "khugepaged", "max_ptes_none": 0, "max_ptes_swap": 0, "max_ptes_shared": 0},
        "madvise, all": {"kind": "madvise", "at_s": [0.0, 60.0, 600.0], "callers": "all"},
        "madvise, root": {"kind": "madvise", "at_s": [120.0], "callers": "root"},
    },
    "gate": {
        "always": {"kind": "always"},
        "max_ptes": {"kind": "max_ptes", "max_ptes": 2048},
        "budget": {"kind": "budget", "pte_updates_per_s": 100.0, "cpu_ms_per_s": 1.0},
        "payback": {"kind": "payback"},
        "cbmm": {"kind": "payback", "horizon_s": 10.0, "gains": ["tlb"], "cost_ns": 1e5, "miss_ns": 25.0},
        "all_of": BOTH,
    },
    "memory": {
        "plentiful": {},
        **{
            f"fragmented, {defrag}": {"free_blocks": 2, "blocks_freed_per_hour": 30.0, "defrag": defrag}
            for defrag in ("direct", "background", "none")
        },
    },
    "degree": {str(degree): degree for degree in (1, 2, 3, 9, 24)},
    "regions": {"1": 1, "2": 2, "7": 7},
    "present": {"512": 512, "511": 511, "1": 1, "300": 300},
    "writes": {"as it is": None, "none": QUIET, "1e6": RAGING},
    "lives": {
        "as it is": {},
        "none": {"worker_life_s": 0.0},
        "a tick": {"ticks": 1.0, "worker_gap_s": 0.0, "worker_life_law": "together"},
        "longer than the run": {"worker_life_s": 1e9, "worker_life_law": "fixed"},
        "long gaps": {"ticks": 1.5, "worker_gap_s": 400.0, "worker_life_law": "exponential"},
    },
    "references": {
        "none": {},
        "long": REQUESTS,
        "short": {"extra_references_per_page": 1e-3},
        "late": {"late_references_per_page": 1e-3},
        "long and short": {**REQUESTS, "extra_references_per_page": 1e-4, "late_references_per_page": 1e-4},
    },
    "pressure": {"none": {"aging_passes_per_hour": 0.0}, "some": {}, "swap": {"swap_outs_per_page_hour": 2.0}},
    "lock": {"free": {}, "half": {"mmap_write_locked_share": 0.5}, "held": {"mmap_write_locked_share": 1.0}},
    "reads": {"as it is": {}, "none": {"reads_per_page_hour": 0.0, "page_walk_share": 0.0}},
    "run": {
        "ten ticks": {"duration_s": 600.0, "tick_s": 60.0, "replicates": 2},
        "one long tick": {"duration_s": 600.0, "tick_s": 1000.0, "replicates": 1},
        "uneven ticks": {"duration_s": 600.0, "tick_s": 90.0, "replicates": 3},
    },
}

Row = dict[str, str]


def pairwise(factors: dict[str, list[str]], seed: int = 1) -> list[Row]:
    """Choose rows such that every pair of values of two factors is in one of them; greedy, the same every time."""
    rng = random.Random(seed)
    names = list(factors)
    left = {
        ((one, mine), (other, its))
        for one, other in itertools.combinations(names, 2)
        for mine in factors[one]
        for its in factors[other]
    }
    rows: list[Row] = []
    while left:
        fixed = min(left)
        row: Row = dict(fixed)
        order = [name for name in names if name not in row]
        rng.shuffle(order)
        for name in order:
            gains = {
                value: sum(_pair(names, (name, value), item) in left for item in row.items()) for value in factors[name]
            }
            most = max(gains.values())
            row[name] = rng.choice([value for value, gain in gains.items() if gain == most])
        left -= {_pair(names, one, other) for one, other in itertools.combinations(row.items(), 2)}
        rows.append({name: row[name] for name in names})
    return rows


def _pair(names: list[str], one: tuple[str, str], other: tuple[str, str]) -> tuple[tuple[str, str], tuple[str, str]]:
    return (one, other) if names.index(one[0]) < names.index(other[0]) else (other, one)


ROWS = pairwise({name: list(values) for name, values in FACTORS.items()})


def made(row: Row) -> dict[str, Any]:
    """Make the point that a row names."""
    value = {name: FACTORS[name][chosen] for name, chosen in row.items()}
    load = {} if value["workload"] == "captured" else {"regions": value["regions"], "present_ptes": value["present"]}
    if value["writes"] is not None:
        load |= {f"{who}_writes_per_page_hour": rate for who, rate in value["writes"].items()}
    for factor in ("lives", "references", "pressure", "lock", "reads"):
        load |= value[factor]
    tick_s = value["run"]["tick_s"]
    if "ticks" in load:
        load["worker_life_s"] = load.pop("ticks") * tick_s
    elif row["lives"] == "as it is" and value["workload"] != "captured":
        life_s = option("workload", value["workload"])["worker_life_s"]
        load["worker_life_s"] = max(tick_s, life_s) if life_s else 0.0
    one = point(value["mechanism"], 1, workload=value["workload"], trigger=value["trigger"], run=value["run"], **load)
    one["sharing"] = option("sharing", value["sharing"])
    if "degree" in one["sharing"]:
        one["sharing"]["degree"] = min(value["degree"], 9) if value["workload"] == "captured" else value["degree"]
    if "path" in one["sharing"]:
        one["sharing"]["path"] = option("workload", "captured")["path"]
    one["policy"]["gate"] = value["gate"]
    kind = "fragmented" if value["memory"] else "plentiful"
    one["memory"] = {**option("memory", kind), **value["memory"]}
    return one


def test_every_pair_is_there() -> None:
    found = {frozenset(pair) for row in ROWS for pair in itertools.combinations(row.items(), 2)}
    for one, other in itertools.combinations(FACTORS, 2):
        for mine, its in itertools.product(FACTORS[one], FACTORS[other]):
            assert frozenset(((one, mine), (other, its))) in found


EITHER_SIGN = {"cost/extra_bytes_peak", "cost/extra_byte_seconds", "cost/stall_ms"}
EITHER_SIGN |= {f"cost/lock_hold_{lock}_ms" for lock in CLASSES}
"""Differences to the baseline, which may have kept more, and whose folios reclaim may have split more often."""
MAY_BE_UNKNOWN = {"tradeoff/payback_s", "tradeoff/break_even_walk_share", "tradeoff/pte_updates_per_lru_entry"}
MAY_BE_UNKNOWN |= {"cost/cow_bytes_per_fork", "cost/cow_bytes_per_fork_baseline"}
"""Nothing was collapsed, no entry was removed, or nobody forked: nan, or inf for never; but nothing below 0."""


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(row.values()))
def test_runs_and_adds_up(row: Row) -> None:
    one = made(row)
    check(one)
    built = setting(one)
    shares_tables = built.mechanism.shares_tables
    policy, outcomes = _run(built, shares_tables)
    baseline, _ = _run(_without_policy(setting(one), one).built, shares_tables)
    for replicate in range(built.replicates):
        snapshot(policy.family, replicate)
    for name, values in {**policy.counts.total, **policy.counts.largest, **policy.family.gauge}.items():
        assert (values >= 0).all(), name
    resumed = outcomes[:, ScanResult.SUCCEED] - policy.counts.total["collapses"]
    assert (resumed >= 0).all() if built.mechanism.resumes else (resumed == 0).all()
    known = built.machine, built.workload, built.n_sharers, built.n_ticks * built.tick_s, built.tick_s
    pair = Pair(policy, baseline, *known, shares_tables)
    found = {**cost.metrics(pair), **contention.metrics(pair), **benefit.metrics(pair)}
    found.update(tradeoff.metrics(pair, found))
    for name, (values, _) in found.items():
        assert np.isfinite(values).all() or name in MAY_BE_UNKNOWN, name
        if name.startswith("cost/") or name in MAY_BE_UNKNOWN:
            assert (values[~np.isnan(values)] >= 0).all() or name in EITHER_SIGN, name
    for suffix, run in (("", policy), ("_baseline", baseline)):
        copied, _ = found[f"cost/cow_bytes_per_fork{suffix}"]
        assert (np.isnan(copied) == (run.counts.total["forks"] == 0)).all(), (
            "unknown where nobody forked, and only there"
        )
    for event in ("forks", "exits"):
        assert (policy.counts.total[event] == baseline.counts.total[event]).all(), "the same events"
    assert (policy.family.alive == baseline.family.alive).all()


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS[::6], ids=lambda row: "-".join(row.values()))
def test_results_are_plain_and_explained(row: Row) -> None:
    result = simulate(made(row))
    for name, value in result["metrics"].items():
        assert value["low"] <= value["mean"] <= value["high"] or any(map(math.isnan, value.values())), name
        assert name in result["units"]
