"""What the engine adds to the points that it runs: time and memory a point, and what a second actor brings.

Run with `python -m pytest -m bench -s tests/bench`. Both sides are measured in one run, without MLflow.
"""

import functools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.each import each
from tests.faults.driver import plan_of
from tests.sweep.conftest import degrees, make_point
from thpsweep.sweep.driver.drive import drive
from thpsweep.sweep.local.launcher import Arrival, Task, Terms
from thpsweep.sweep.local.serial import run_serial
from thpsweep.sweep.planning.check import check
from thpsweep.sweep.ray.pool import run_pool

__all__ = ["degrees", "make_point"]

pytestmark = pytest.mark.bench

Degrees = Callable[..., list[Task]]


def trivial(point: dict[str, Any]) -> dict[str, Any]:
    """Give a result of 20 KB, as large as a simulated one, for nothing."""
    seed = point["run"]["seed"]
    return {
        "metrics": {f"cost/{i}": {"mean": seed + i / 7, "low": seed + i / 9, "high": seed + i / 5} for i in range(250)}
    }


def main(file: str, root: str, launcher: str) -> None:
    """Drive the points of a file; print seconds without the start of the launcher, and the most memory and the last."""
    plan = plan_of(Path(root), json.loads(Path(file).read_text()))
    launch = functools.partial(run_serial if launcher == "serial" else run_pool, function=each(trivial))
    start_s: list[float] = []
    held_bytes: list[int] = []

    def watched(tasks: Sequence[Task], terms: Terms) -> Generator[Arrival, None, None]:
        called_s = time.perf_counter()
        for arrival in launch(tasks, terms):
            start_s.append(time.perf_counter() - called_s)
            held_bytes.append(private_bytes())
            yield arrival

    began_s = time.perf_counter()
    driven = drive(plan, watched, lambda sweep: None)
    took_s = time.perf_counter() - began_s - start_s[0]
    assert driven.exit_code == 0 and sum(1 for _ in driven.results.values()) == len(plan.points)
    print(json.dumps([took_s, max(held_bytes), private_bytes()]))


def private_bytes() -> int:
    """Give what this process holds of memory and shares with nobody; Ray's object store is shared."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


def driven(tmp_path: Path, point: dict[str, Any], n: int, launcher: str) -> list[float]:
    """Drive n points in a process of its own."""
    file = tmp_path / f"{n}.json"
    file.write_text(json.dumps([{**point, "run": {**point["run"], "seed": seed}} for seed in range(n)]))
    command = [sys.executable, "-m", "tests.bench.test_engine", str(file), str(tmp_path / f"{launcher}-{n}"), launcher]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("launcher", ["serial", "ray"])
def test_cost_a_point_does_not_grow_with_the_sweep(
    tmp_path: Path, degrees: Degrees, ray_token: None, launcher: str
) -> None:
    ((_, task),) = degrees(2)
    point = task["point"]
    few, many = 1_000, 10_000
    took_s, most_bytes, end_bytes = (
        dict(zip((few, many), found, strict=True))
        for found in zip(*(driven(tmp_path, point, n, launcher) for n in (few, many)), strict=True)
    )
    cost_us = {n: took_s[n] / n * 1e6 for n in (few, many)}
    print(f"\n{launcher}: {cost_us[few]:.0f} us a point of {few}, {cost_us[many]:.0f} of {many}", end=": ")
    print(f"{cost_us[many] / cost_us[few]:.2f} times; results of 20 KB")
    grown_bytes = [(held[many] - held[few]) / (many - few) for held in (most_bytes, end_bytes)]
    print(
        "the driver's memory grows by {:.1f} KB a point while it runs, {:.1f} KB at the end".format(
            *(grown / 1e3 for grown in grown_bytes)
        )
    )


def test_two_actors_against_one_on_heavy_points(make_point: Callable[..., Any], ray_token: None) -> None:
    point = make_point("workload.regions=64", "run.replicates=8", "run.duration_s=3600", "sharing.degree=64")
    tasks = [(str(seed), check({**point, "run": {**point["run"], "seed": seed}})) for seed in range(24)]
    (one_s, _), (two_s, busy) = (warm(tasks, actors) for actors in (1, 2))
    print(f"\none actor {one_s:.1f} s, two {two_s:.1f} s: {one_s / two_s:.2f} times as fast", end="; ")
    print(f"two were at work for {busy:.0%} of the time, which others on the same cores do not change")


def warm(tasks: list[Task], actors: int) -> tuple[float, float]:
    """Time a pool from first to last results: seconds, scaled to all points, and the share that actors were at work."""
    began_s, took_s, work_s, n_first, ended = 0.0, 0.0, 0.0, 0, 0
    for arrival in run_pool(tasks, actors=actors):  # its end is not that of its last result: Ray shuts down then
        ended += len(arrival)
        if began_s:
            work_s += sum(outcome["wall_s"] for _, outcome in arrival)
            took_s = time.perf_counter() - began_s
        elif ended >= actors:
            began_s, n_first = time.perf_counter(), ended
    return took_s * len(tasks) / (len(tasks) - n_first), work_s / took_s / actors


if __name__ == "__main__":
    main(*sys.argv[1:])
