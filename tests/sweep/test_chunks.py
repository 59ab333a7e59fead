"""Chunks give every point to exactly one call, and a scene to one worker."""

from collections.abc import Callable
from typing import Any

from thpsweep.sweep.chunks import Chunks
from thpsweep.sweep.point import Point, scene_id
from thpsweep.sweep.serial import outcome


def drained(chunks: Chunks, wall_s: float) -> list[tuple[int, list[tuple[str, Point]]]]:
    """Take turns between two workers; every point takes wall_s."""
    calls = []
    while len(chunks):
        for worker in (0, 1):
            if chunk := chunks.take(worker):
                chunks.measured(chunk, [outcome("done", wall_s=wall_s) for _ in chunk])
                calls.append((worker, chunk))
    return calls


def tasks_of(make_point: Callable[..., Point], n_scenes: int) -> list[tuple[str, Point]]:
    policies = ("none", "copy", "inplace", "inplace_pmd", "switch")
    made = [(d, p, make_point(f"sharing.degree={d}", f"policy={p}")) for p in policies for d in range(1, n_scenes + 1)]
    return [(f"{d}-{p}", point) for d, p, point in made]


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
            workers.setdefault(scene_id(point), set()).add(worker)
    assert [len(found) for found in workers.values()] == [1, 1, 1, 1]


def test_points_of_a_dead_worker_go_out_alone(degrees: Callable[..., list[tuple[str, Any]]]) -> None:
    chunks = Chunks(degrees(*range(1, 9)), 1)
    first = chunks.take(0)
    chunks.measured(first, [outcome("done", wall_s=1e-6)])
    lost = chunks.take(0)
    assert len(lost) > 1
    chunks.again(lost)
    assert [chunks.take(0) for _ in lost] == [[task] for task in lost]
