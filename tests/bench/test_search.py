"""What bisecting saves against a grid that tells the break-even as finely: points and CPU seconds, both in one run.

Run with `python -m pytest -m bench -s tests/bench/test_search.py`.
"""

import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sweep.conftest import make_point
from tests.sweep.planted import NET, plan_of
from thpsweep.sweep.driver.drive import drive
from thpsweep.sweep.local.serial import run_serial
from thpsweep.sweep.planning.axes import Job
from thpsweep.sweep.records import journal
from thpsweep.sweep.search.axis import Axis
from thpsweep.sweep.search.bisect import FOUND, Change
from thpsweep.sweep.search.breakeven import BreakevenOptions, answers, breakeven

__all__ = ["make_point"]

pytestmark = pytest.mark.bench

SCENE = ("policy=inplace_pmd", "workload.regions=2", "run.replicates=8", "run.duration_s=600")
HIGH = 500
RATE, RATES = "workload.page_walk_share", (1e-4, 2.5e-4)
"""Share of cycles in page walks: the more, the later the loss."""


def fine(axis: Axis, resolution: float) -> int:
    """Count the values of the coarsest grid whose neighbours are all as near as the bisection brings them."""
    for n in range(2, 2000):
        values = axis.samples(n)
        if all(axis.narrow(*pair, resolution) for pair in itertools.pairwise(values)):
            return n
    raise AssertionError(resolution)


@pytest.mark.parametrize("resolution", [0.1, 0.05])
def test_points_and_cpu_seconds_to_a_bracket(tmp_path: Path, make_point: Callable[..., Any], resolution: float) -> None:
    n_grid = fine(Axis("sharing.degree", 1, HIGH, log=True, whole=True), resolution)
    grid, bisected = (found(tmp_path / str(n), make_point, n, resolution) for n in (n_grid, 9))
    print(f"\nbrackets of {resolution:.0%}:")
    for rate in RATES:
        (few, few_s, change), (many, many_s, same) = bisected[rate], grid[rate]
        assert max(change.below, same.below) < min(change.above, same.above), "they contradict each other"
        print(
            f"  share {rate}: degree {change.below:g} to {change.above:g} by {few} points, {few_s:.2f} s of CPU",
            end="; ",
        )
        print(f"grid: {same.below:g} to {same.above:g} by {many}, {many_s:.2f} s", end=": ")
        print(f"{many / few:.1f} times the points, {many_s / few_s:.1f} times the CPU")


def found(
    root: Path, make_point: Callable[..., Any], n: int, resolution: float
) -> dict[float, tuple[int, float, Change]]:
    """Search from n first values on; give each rate's points, CPU seconds and its one change."""
    options = BreakevenOptions(NET, 0.0, n, resolution, None)
    jobs = [Job((*SCENE, f"{RATE}={rate}"), {RATE: str(rate)}) for rate in RATES]
    compose = functools.cache(make_point)
    plan = plan_of(root, breakeven("sharing.degree", (1.0, HIGH, True), jobs, lambda texts: compose(*texts), options))
    drive(plan, run_serial, lambda sweep: None)
    sweep = journal.read(plan.directory)
    said = {}
    for answer in answers(sweep):
        assert answer.conclusion.state == FOUND, answer
        (change,) = answer.conclusion.changes
        cpu_s = sum(sweep.results[key]["cpu_s"] for key in answer.ids)
        said[answer.params[RATE]] = (len(answer.ids), cpu_s, change)
    return said
