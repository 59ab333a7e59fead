"""The contract of launchers with tasks that come later: asked for when a worker is free, run once, with no barrier."""

import dataclasses
import functools
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.each import each
from thpsweep.api import composed
from thpsweep.model.capture import files
from thpsweep.sweep.local.launcher import Arrival, Launch, Task, TaskSource, Terms
from thpsweep.sweep.local.serial import run_serial
from thpsweep.sweep.planning.check import check
from thpsweep.sweep.ray import auto as auto_module
from thpsweep.sweep.ray import pool as pool_module
from thpsweep.sweep.ray.auto import run_auto
from thpsweep.sweep.ray.errors import RayUnavailableError
from thpsweep.sweep.ray.pool import run_pool

Degrees = Callable[..., list[Task]]


def pid(point: dict[str, Any]) -> dict[str, Any]:
    """Sleep as many ms as the seed says."""
    time.sleep(point["run"]["seed"] / 1e3)
    return {"pid": os.getpid()}


def in_turn(folder: Path, point: dict[str, Any]) -> dict[str, Any]:
    """Leave a file; the first of chain A waits for that of the last of chain B, as one that takes long would."""
    degree, end_s = point["sharing"]["degree"], time.monotonic() + 60.0
    while degree == 1 and not (folder / "15").exists() and time.monotonic() < end_s:
        time.sleep(0.05)
    (folder / str(degree)).touch()
    return {}


class Chains(TaskSource):
    """Two chains of points, each known when the one before it has been taken; the first of chain A takes long."""

    def __init__(self, degrees: Degrees, *, slow_ms: int) -> None:
        self.tasks = {
            "A1": self._task(degrees, 1, slow_ms),
            **{f"B{number}": self._task(degrees, number + 10, 1) for number in range(1, 6)},
            "A2": self._task(degrees, 2, 1),
        }
        self.told: list[str] = []
        self.given: list[str] = []

    def _task(self, degrees: Degrees, degree: int, ms: int) -> dict[str, Any]:
        ((_, task),) = degrees(degree)
        return check({**task["point"], "run": {**task["point"]["run"], "seed": ms}})

    def more(self, n_idle: int) -> Sequence[Task]:
        """Give what follows the points that are known; those of a chain one by one."""
        ready = [f"{chain}{sum(key[0] == chain for key in self.told) + 1}" for chain in "AB"]
        new = [key for key in ready if key in self.tasks and key not in self.given]
        self.given += new
        return [(key, self.tasks[key]) for key in new]

    def ahead(self) -> tuple[int, int]:
        """Both chains."""
        return len(self.tasks) - len(self.given), 2


def run(launch: Launch, source: Chains, tasks: Sequence[Task] = ()) -> list[str]:
    """Take arrivals as the driver does: whoever asks next knows of them."""
    source.given += [key for key, _ in tasks]
    for arrival in launch(tasks, Terms(source=source)):
        assert all(outcome["state"] == "done" for _, outcome in arrival)
        source.told += [key for key, _ in arrival]
    return source.told


@pytest.mark.parametrize("first", [[], ["B1"]])
def test_here_they_run_to_the_end_of_each_chain(degrees: Degrees, first: list[str]) -> None:
    source = Chains(degrees, slow_ms=1)
    told = run(functools.partial(run_serial, function=each(pid)), source, [(key, source.tasks[key]) for key in first])
    assert sorted(told) == sorted(source.tasks)


@pytest.mark.slow
@pytest.mark.servers
def test_in_workers_nobody_waits_for_a_slow_one(degrees: Degrees, ray_token: None, tmp_path: Path) -> None:
    source = Chains(degrees, slow_ms=1)
    told = run(functools.partial(run_pool, actors=2, function=each(functools.partial(in_turn, tmp_path))), source)
    assert sorted(told) == sorted(source.tasks)
    assert told.index("B5") < told.index("A1") < told.index("A2")


@pytest.mark.slow
@pytest.mark.servers
def test_auto_hands_over_what_is_still_to_come(
    degrees: Degrees, ray_token: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auto_module, "usable_cpus", lambda: 2)
    monkeypatch.setattr(auto_module, "RAY_START_S", 0.0)
    monkeypatch.setattr(auto_module, "WARM_S", 0.0)
    source, where = Chains(degrees, slow_ms=1), []

    def noted(tasks: Sequence[Task], terms: Terms) -> Iterator[Arrival]:
        for arrival in run_auto(tasks, terms, function=each(pid)):
            where.extend(outcome["result"]["pid"] for _, outcome in arrival)
            yield arrival

    assert sorted(run(noted, source)) == sorted(source.tasks)
    assert where[0] == os.getpid() and os.getpid() not in where[2:]


def test_auto_hands_over_where_all_that_is_left_is_still_to_come(
    degrees: Degrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed_over = []

    def pool(tasks: Sequence[Task], terms: Terms, **how: Any) -> Iterator[Arrival]:
        handed_over.append(list(tasks))
        return run_serial(tasks, terms, function=how["function"])

    for name, value in {"RAY_START_S": 0.0, "WARM_S": 0.0, "usable_cpus": lambda: 2, "run_pool": pool}.items():
        monkeypatch.setattr(auto_module, name, value)
    source = Chains(degrees, slow_ms=1)
    assert sorted(run(functools.partial(run_auto, function=each(pid)), source)) == sorted(source.tasks)
    assert handed_over == [[]]


def test_a_pool_asks_for_what_comes_after_points_that_are_too_large(
    degrees: Degrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Chains(degrees, slow_ms=1)
    large = {**source.tasks["A1"], "state_bytes": 1e18}

    def start(*_: Any) -> None:
        raise RayUnavailableError("for what fits")

    monkeypatch.setattr(pool_module, "start", start)
    arrivals = run_pool([("large", large)], Terms(source=source))
    assert [(key, outcome["state"]) for key, outcome in next(arrivals)] == [("large", "failed")]
    with pytest.raises(RayUnavailableError, match="for what fits"):
        next(arrivals)
    assert source.given == ["A1", "B1"]


def provided(point: dict[str, Any]) -> dict[str, Any]:
    """Say which captured files came with the points so far."""
    return {"names": sorted(Path(path).name for path in files.PROVIDED)}


@pytest.mark.slow
@pytest.mark.servers
def test_a_captured_file_travels_with_the_points_that_name_it(
    degrees: Degrees, ray_token: None, tmp_path: Path
) -> None:
    source = Chains(degrees, slow_ms=1)
    (sample, *_) = files.samples()
    for key, name in (("B1", "one"), ("B3", "two"), ("A2", "two")):
        file = shutil.copy(files.SAMPLES / f"{sample}.npz", tmp_path / f"{name}.npz")
        source.tasks[key] = check(composed(("workload=captured", f"workload.path={file}", "policy=none")))
    found = {}
    for arrival in run_pool([], Terms(source=source), actors=1, function=each(provided)):
        source.told += [key for key, _ in arrival]
        found |= {key: outcome["result"]["names"] for key, outcome in arrival}
    assert found["B1"] == ["one.npz"]
    assert found["A2"] == found["B3"] == found["B5"] == ["one.npz", "two.npz"]


def test_nothing_is_asked_for_while_draining(degrees: Degrees) -> None:
    source = Chains(degrees, slow_ms=1)
    terms = dataclasses.replace(Terms(), source=source)
    for arrival in run_serial([("B1", source.tasks["B1"])], terms, function=each(pid)):
        source.told += [key for key, _ in arrival]
        terms.draining.set()
    assert (source.told, source.given) == (["B1"], [])
