"""Chunks give every point to exactly one call, and a scene to one worker."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from thpsweep.sweep.local.launcher import Task
from thpsweep.sweep.planning.check import check
from thpsweep.sweep.ray.chunks import Chunks
from thpsweep.sweep.records.point import Point, scene_id


def measured(chunks: Chunks, chunk: list[tuple[str, Point]], wall_s: float) -> None:
    """Say what each point of a chunk took."""
    for key, _ in chunk:
        chunks.pace.measured(key, wall_s)


def drained(chunks: Chunks, wall_s: float) -> list[tuple[int, list[tuple[str, Point]]]]:
    """Take turns between two workers; every point takes wall_s."""
    calls = []
    while len(chunks):
        for worker in (0, 1):
            if chunk := chunks.take(worker):
                measured(chunks, chunk, wall_s)
                calls.append((worker, chunk))
    return calls


def tasks_of(make_point: Callable[..., Point], n_scenes: int) -> list[Task]:
    policies = ("none", "copy", "inplace", "inplace_pmd", "switch")
    made = [(d, p, make_point(f"policy={p}")) for p in policies for d in range(1, n_scenes + 1)]
    return [(f"{d}-{p}", check({**point, "sharing": {**point["sharing"], "degree": d}})) for d, p, point in made]


def test_every_point_is_handed_out_once(make_point: Callable[..., Point]) -> None:
    tasks = tasks_of(make_point, 4)
    calls = drained(Chunks(tasks, 2), wall_s=0.001)
    assert sorted(key for _, chunk in calls for key, _ in chunk) == sorted(key for key, _ in tasks)


def test_dear_points_go_alone(make_point: Callable[..., Point]) -> None:
    calls = drained(Chunks(tasks_of(make_point, 4), 2), wall_s=10.0)
    assert {len(chunk) for _, chunk in calls} == {1}


def test_cheap_points_go_together(degrees: Callable[..., list[tuple[str, Any]]]) -> None:
    calls = drained(Chunks(degrees(*range(1, 101)), 2), wall_s=0.001)
    assert len(calls) < 30


def test_a_scene_stays_with_one_worker(make_point: Callable[..., Point]) -> None:
    calls = drained(Chunks(tasks_of(make_point, 4), 2), wall_s=10.0)
    workers = {}
    for worker, chunk in calls:
        for _, point in chunk:
            workers.setdefault(scene_id(point["point"]), set()).add(worker)
    assert [len(found) for found in workers.values()] == [1, 1, 1, 1]


@pytest.mark.parametrize("wall_s", [0.001, 0.01, 0.1])
def test_a_call_takes_what_it_should(degrees: Callable[..., list[tuple[str, Any]]], wall_s: float) -> None:
    ((_, task),) = degrees(4)
    point = task["point"]
    alike = [(str(seed), check({**point, "run": {**point["run"], "seed": seed}})) for seed in range(2000)]
    chunks = Chunks(alike, 1)
    measured(chunks, chunks.take(0), wall_s)
    assert 0.2 <= len(chunks.take(0)) * wall_s <= 2.0


def test_points_taken_back_go_out_next_as_they_were_put_together(
    degrees: Callable[..., list[tuple[str, Any]]],
) -> None:
    tasks = degrees(*range(1, 9))
    chunks = Chunks(tasks, 1)
    chunks.again([tasks[7], tasks[2]], [], [tasks[4]])
    assert (chunks.take(0), chunks.take(0)) == ([tasks[7], tasks[2]], [tasks[4]])


def test_ten_times_the_scenes_cost_ten_times_as_much(degrees: Callable[..., list[tuple[str, Any]]]) -> None:
    def steps(n: int) -> int:
        chunks, count = Chunks(degrees(*range(1, n + 1)), 2), 0

        def counted(*_: object) -> None:
            nonlocal count
            count += 1

        sys.setprofile(counted)
        drained(chunks, wall_s=0.01)
        sys.setprofile(None)
        return count

    assert steps(2000) < 12 * steps(200)
