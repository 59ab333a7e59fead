"""Searches over functions whose answer is known, in the place of the simulation; workers import this module."""

import copy
import json
import math
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from thpsweep.sweep.planning.axes import Job
from thpsweep.sweep.planning.limits import PointLimits
from thpsweep.sweep.planning.plan import Plan
from thpsweep.sweep.planning.search import Search
from thpsweep.sweep.search import pareto
from thpsweep.sweep.search.breakeven import BreakevenOptions, breakeven
from thpsweep.sweep.tracking.target import target

NET = "tradeoff/net_cpu_ms"


def break_even_of(seed: int) -> float:
    """Give the sharing degree at which the planted net gain of a seed changes its sign."""
    return 3.5 + 37.0 * seed


def falling(point: dict[str, Any]) -> dict[str, Any]:
    """Gain up to a degree, lose beyond, without noise."""
    return result(break_even_of(point["run"]["seed"]) - point["sharing"]["degree"], 0.0, point)


def noisy(point: dict[str, Any]) -> dict[str, Any]:
    """Gain and lose with noise of 20 ms; the replicates of a point are always the same."""
    return result(break_even_of(point["run"]["seed"]) - point["sharing"]["degree"], 20.0, point)


def slow_noisy(point: dict[str, Any]) -> dict[str, Any]:
    """Take long enough for somebody to interfere."""
    time.sleep(0.015)
    return noisy(point)


def very_slow(point: dict[str, Any]) -> dict[str, Any]:
    """Take half a second."""
    time.sleep(0.5)
    return noisy(point)


def result(mean: float, deviation: float, point: dict[str, Any]) -> dict[str, Any]:
    """Make a result with one metric, its interval from replicates around a mean."""
    dice = random.Random(json.dumps([point["run"], point["sharing"]], sort_keys=True))  # no price changes a draw
    values = [mean + dice.gauss(0, deviation) if deviation else mean for _ in range(point["run"]["replicates"])]
    return metrics({NET: values})


def metrics(replicates: dict[str, list[float]]) -> dict[str, Any]:
    """Fold replicates as the model does, in plain Python."""
    found = {}
    for name, values in replicates.items():
        n = len(values)
        mean = sum(values) / n
        half = 2.365 * math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1) / n)
        found[name] = {"mean": mean, "low": mean - half, "high": mean + half}
    return {"metrics": found, "replicates": replicates}


def composing(base: dict[str, Any]) -> Callable[[Sequence[str]], dict[str, Any]]:
    """Make a stand-in for Hydra's composition: dotted keys of numbers, on a point."""

    def compose(overrides: Sequence[str]) -> dict[str, Any]:
        point = copy.deepcopy(base)
        for override in overrides:
            key, _, text = override.partition("=")
            *path, last = key.split(".")
            node = point
            for name in path:
                node = node[name]
            node[last] = type(node[last])(json.loads(text))
        return point

    return compose


def seeds(n: int) -> list[Job]:
    """Make combinations that differ in their seed."""
    return [Job((f"run.seed={seed}",), {"run.seed": str(seed)}) for seed in range(n)]


def bisection(base: dict[str, Any], n: int = 3, high: float = 500.0, **options: Any) -> Search:
    """Search along the sharing degree, on a log scale, for the break-even of so many seeds."""
    chosen: dict[str, Any] = {
        "metric": NET,
        "threshold": 0.0,
        "samples": 9,
        "resolution": 0.001,
        "max_replicates": None,
    }
    return breakeven(
        "sharing.degree", (1.0, high, True), seeds(n), composing(base), BreakevenOptions(**{**chosen, **options})
    )


def plan_of(root: Path, search: Search, **changes: Any) -> Plan:
    """Plan a search without MLflow."""
    points = tuple(search.points)
    where, limits = target(root, None), PointLimits(deadline_s=60.0)
    made: dict[str, Any] = {"limits": limits, "search": search, **changes}
    return Plan(root, "t", (), points, "config: true\n", False, len(points), {}, where, **made)


def many_bisections(base: dict[str, Any]) -> Search:
    """Search for the break-even of twelve seeds."""
    return bisection(base, n=12)


COST, BENEFIT = "cost/cpu_ms", "benefit/lru_entries_removed"
FIRST, SECOND = "workload.worker_hot_writes_per_page_hour", "workload.reads_per_page_hour"


def front_of(first: float) -> float:
    """Give the least second objective for a first one, where the distance from the front is 0."""
    return 1 - math.sqrt(first)


def zdt1(point: dict[str, Any]) -> dict[str, Any]:
    """Compute a published test problem, its second objective with the opposite sign.

    Source: Zitzler, Deb, Thiele 2000, doi:10.1162/106365600568202, T1; the front is where all but the first are 0.
    """
    first = point["workload"]["worker_hot_writes_per_page_hour"]
    rest = (point["workload"]["reads_per_page_hour"] + (point["run"]["seed"] - 1) / 4) / 2
    distance = 1 + 9 * rest
    second = distance * (1 - math.sqrt(first / distance))
    return metrics({COST: [first] * 2, BENEFIT: [-second] * 2})


def slow_zdt1(point: dict[str, Any]) -> dict[str, Any]:
    """Take long enough for somebody to interfere."""
    time.sleep(0.015)
    return zdt1(point)


def front_search(
    base: dict[str, Any], trials: int = 100, sampler: str = "nsga2", seed: int = 1, **given: Any
) -> Search:
    """Search for the front of `zdt1` along two axes and a choice."""
    chosen = {"minimize": (COST,), "maximize": (BENEFIT,), "population": 20, **given}
    options = pareto.ParetoOptions(trials=trials, sampler=sampler, seed=seed, **chosen)
    choice = pareto.Choice("run.seed", "run.seed", {str(seed): f"run.seed={seed}" for seed in range(1, 6)})
    axes = {FIRST: (0.0, 1.0, False), SECOND: (0.0, 1.0, False)}
    return pareto.pareto(Job((), {}), axes, [choice], composing(base), options)
