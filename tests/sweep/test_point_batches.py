"""Small points that differ in their seeds only run side by side; nobody's end becomes another's."""

import asyncio
import collections
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from thpsweep.model import plugins, registry
from thpsweep.model.simulate import simulate, simulate_each
from thpsweep.sweep.local import worker as worker_module
from thpsweep.sweep.local.attempt import Outcome
from thpsweep.sweep.local.launcher import Task, Terms
from thpsweep.sweep.local.serial import run_serial
from thpsweep.sweep.local.worker import Worker
from thpsweep.sweep.planning.batches import MOST_POINTS, batch_limit, batches, seed_of
from thpsweep.sweep.planning.check import check
from thpsweep.sweep.planning.limits import PointLimits
from thpsweep.sweep.ray.chunks import Chunks
from thpsweep.sweep.records.crash_log import FILE_NAME, CrashLog
from thpsweep.sweep.records.point import Point

GUILTY = 3
"""A seed that makes trouble."""

MakePoint = Callable[..., Point]


def of_seeds(make_point: MakePoint, seeds: Sequence[int], *overrides: str) -> list[Task]:
    """Make points that differ in their seeds, with a key that tells what they are."""
    point = make_point(*overrides)
    return [
        ("-".join([*overrides, str(seed)]), check({**point, "run": {**point["run"], "seed": seed}})) for seed in seeds
    ]


@pytest.fixture
def seeds(make_point: MakePoint) -> list[Task]:
    return of_seeds(make_point, range(1, 6))


def in_serial(function: Any, tasks: Sequence[Task], limits: PointLimits) -> dict[str, Outcome]:
    """Run in this process; a point that came twice would be a duplicate."""
    found = [ended for arrival in run_serial(tasks, Terms(limits), function=function) for ended in arrival]
    assert len(found) == len(tasks)
    return dict(found)


def in_a_worker(function: Any, tasks: Sequence[Task], limits: PointLimits) -> dict[str, Outcome]:
    """Call a worker as the driver does, until every point has an outcome."""
    worker, left, found = Worker(function, limits, 0, 1), list(tasks), dict[str, Outcome]()
    while left:
        outcomes = worker.run([point for _, point in left])
        assert any(outcomes) and len(outcomes) == len(left)
        found |= {key: ended for (key, _), ended in zip(left, outcomes, strict=True) if ended}
        left = [task for task, ended in zip(left, outcomes, strict=True) if not ended]
    return found


Run = Callable[[Any, Sequence[Task], PointLimits], dict[str, Outcome]]
either = pytest.mark.parametrize("run", [in_serial, in_a_worker])


@either
def test_each_point_has_the_result_that_it_has_alone(make_point: MakePoint, run: Run) -> None:
    tasks = [task for policy in ("copy", "switch") for task in of_seeds(make_point, range(4), f"policy={policy}")]
    sizes = []

    def noted(points: Sequence[Point]) -> list[Any]:
        sizes.append(len(points))
        return simulate_each(points)

    found = run(noted, tasks, PointLimits())
    assert sizes == [4, 4]
    assert repr({key: found[key]["result"] for key, _ in tasks}) == repr(
        {key: simulate(p["point"]) for key, p in tasks}
    )
    assert {ended["state"] for ended in found.values()} == {"done"}


def troubled(make_trouble: Callable[[], object]) -> Callable[[Sequence[Point]], list[int]]:
    """Echo seeds, except for the guilty one."""

    def echo(points: Sequence[Point]) -> list[int]:
        if any(point["run"]["seed"] == GUILTY for point in points):
            make_trouble()
        return [point["run"]["seed"] for point in points]

    return echo


def raises() -> None:
    raise ValueError("trouble")


def cancels() -> None:
    """Raise what is no Exception."""
    raise asyncio.CancelledError


def hoards() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)  # memory ends it, not time, however slow a busy machine is
    hoard = []
    while True:
        hoard.append(bytearray(1 << 20))


@either
@pytest.mark.parametrize(
    ("trouble", "state", "error"),
    [
        (raises, "failed", "ValueError"),
        (lambda: exit(3), "failed", "SystemExit"),
        (cancels, "failed", "CancelledError"),
        (hoards, "failed", "MemoryError"),
        (lambda: time.sleep(60), "timeout", "Overrun"),
    ],
)
def test_one_that_makes_trouble_makes_it_for_itself(
    seeds: list[Task], run: Run, trouble: Callable[[], object], state: str, error: str
) -> None:
    found = run(troubled(trouble), seeds, PointLimits(deadline_s=0.2, memory_bytes=64 << 20))
    guilty = found.pop(str(GUILTY))
    assert (guilty["state"], guilty["error"]["type"]) == (state, error)
    assert {key: ended["result"] for key, ended in found.items()} == {"1": 1, "2": 2, "4": 4, "5": 5}


def test_a_call_that_takes_long_gets_somewhere(seeds: list[Task], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "MOST_S", 0.0)
    found = in_a_worker(troubled(lambda: time.sleep(60)), seeds, PointLimits(deadline_s=0.1))
    assert collections.Counter(ended["state"] for ended in found.values()) == {"done": 4, "timeout": 1}


def test_what_a_process_dies_of_is_found_out_among_many(seeds: list[Task], tmp_path: Path) -> None:
    deadly = troubled(lambda: os._exit(1))
    child = os.fork()
    if child == 0:
        list(run_serial(seeds, Terms(crash_log=CrashLog(tmp_path / FILE_NAME)), function=deadly))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    crash_log = CrashLog(tmp_path / FILE_NAME)
    found = {
        key: ended["state"]
        for arrival in run_serial(seeds, Terms(crash_log=crash_log), function=deadly)
        for key, ended in arrival
    }
    assert found == {"1": "done", "2": "done", "3": "quarantined", "4": "done", "5": "done"}


def test_a_crash_log_has_room_for_all_that_it_remembers(tmp_path: Path) -> None:
    keys = [f"{number:064x}" for number in range(3 * MOST_POINTS)]
    for first in range(0, len(keys), MOST_POINTS):
        left_behind = CrashLog(tmp_path / FILE_NAME).at(*keys[first : first + MOST_POINTS])
        left_behind.__enter__()
    assert [CrashLog(tmp_path / FILE_NAME).deaths(key) for key in keys] == [0] * MOST_POINTS + [1] * (2 * MOST_POINTS)


def test_policies_of_many_seeds_have_their_seeds_in_common(make_point: MakePoint) -> None:
    many = range(3 * MOST_POINTS // 2)
    tasks = [task for policy in ("copy", "switch") for task in of_seeds(make_point, many, f"policy={policy}")]
    found = [[seed_of(task[1]) for task in batch] for batch in batches(tasks)]
    first, rest = list(many)[:MOST_POINTS], list(many)[MOST_POINTS:]
    assert found == [first, first, rest, rest]


def test_large_points_stay_alone(make_point: MakePoint) -> None:
    large = ("workload.regions=512", "sharing.degree=200")
    long = ("run.duration_s=86400", "run.tick_s=10")
    assert [batch_limit(check(make_point(*more))) for more in (large, long)] == [1, 1]
    tasks = [task for policy in ("copy", "switch") for task in of_seeds(make_point, (1, 2), *large, f"policy={policy}")]
    found = [batch[0][0].replace("-".join(large), "") for batch in batches(tasks)]
    assert found == ["-policy=copy-1", "-policy=switch-1", "-policy=copy-2", "-policy=switch-2"], "scene by scene"


def test_what_differs_in_more_than_the_seed_is_not_put_together(make_point: MakePoint) -> None:
    tasks = [task for degree in (2, 3) for task in of_seeds(make_point, (1, 2), f"sharing.degree={degree}")]
    tasks += of_seeds(make_point, (1, 2), "machine.cpus=7")
    assert [len(batch) for batch in batches(tasks)] == [2, 2, 2]
    assert sorted(task[0] for batch in batches(tasks) for task in batch) == sorted(key for key, _ in tasks)


def test_chunks_are_whole_scenes_of_one_company(make_point: MakePoint) -> None:
    policies = [f"policy={name}" for name in ("copy", "switch", "inplace")]
    chunks = Chunks([task for policy in policies for task in of_seeds(make_point, range(100), policy)], 2)
    ((first, _),) = chunks.take(0)
    chunks.pace.measured(first, 0.001)
    seeds = [seed_of(point) for _, point in chunks.take(0)]
    assert seeds == sorted(seeds) and len({*seeds}) < 0.4 * len(seeds)


def test_an_estimate_is_that_of_the_model(make_point: MakePoint) -> None:
    from thpsweep.model.setting import estimate

    for point in (make_point(), make_point("run.seed=7"), make_point("sharing.degree=9", "run.seed=7")):
        checked = check(point)
        assert {key: checked[key] for key in ("state_bytes", "work")} == estimate(point)


def test_a_worker_knows_a_member_that_came_along(make_point: MakePoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "LOADED", {})
    monkeypatch.setattr(registry, "_ADDED", {family: {} for family in registry.GROUPS})
    text = """
import dataclasses
import numpy as np
from thpsweep.model.gates.base import Gate

@dataclasses.dataclass
class Nothing(Gate):
    def allow(self, state, proposal):
        return np.zeros(proposal.rows.size, bool)
"""
    carried = plugins.Carrying(simulate_each, (plugins.Plugin("nothing", "nothing.py", text),))
    tasks = of_seeds(make_point, (1, 2))
    sha256 = carried.plugins[0].sha256
    gate = {"kind": "nothing", "plugin": sha256}
    points = [
        {**task, "point": {**task["point"], "policy": {**task["point"]["policy"], "gate": gate}}} for _, task in tasks
    ]
    outcomes = Worker(carried, PointLimits(), 0, 1).run(points)
    assert [ended and ended["result"]["outcomes"].keys() for ended in outcomes] == [{"GATE_REFUSED"}] * 2, outcomes
