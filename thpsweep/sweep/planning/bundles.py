"""Put points together that run side by side: those that differ in their seeds only, where they are small.

What a small point takes is Python's and NumPy's calls; they take hardly longer for many points than for one.
"""

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from thpsweep.model.setting import estimate
from thpsweep.sweep.records.point import Point, canonical, scene_id

MOST_POINTS = 64
MOST_BYTES = 48 << 20
"""What the states of a bundle may take: nothing is saved where they do not fit into a core's caches any more."""

MOST_WORK = 1e7
"""What a bundle may ask of the model, in its own units: about a second, which is lost where the process is killed."""

Key = TypeVar("Key")


def expected(point: Point) -> Mapping[str, float]:
    """Give the model's estimate; that of points that differ in their seeds only is worked out once."""
    return _expected(but_seed(point))


@functools.lru_cache(maxsize=4096)
def _expected(text: str) -> Mapping[str, float]:
    return estimate(json.loads(text))


def but_seed(point: Point) -> str:
    """Write all of a point but its seed, which is 0 here."""
    return canonical({**point, "run": {**point["run"], "seed": 0}})


def abreast(point: Point) -> int:
    """Say how many points like this one may run side by side; 1 where it is best alone."""
    needs = expected(point)
    state_bytes = needs["state_bytes"] * point["run"]["replicates"]
    return max(1, min(MOST_POINTS, int(MOST_BYTES / state_bytes), int(MOST_WORK / needs["work"])))


def company_id(point: Point) -> str:
    """Identify points that are best handed out together: a scene, or scenes that may run side by side."""
    return scene_id(point if abreast(point) == 1 else {**point, "run": {**point["run"], "seed": None}})


def bundles(tasks: Sequence[tuple[Key, Point]]) -> list[list[tuple[Key, Point]]]:
    """Put points into bundles. Those of one company come one after the other, and have their baselines in common."""
    companies: dict[str, dict[int, list[tuple[Key, Point]]]] = {}
    for task in tasks:
        companies.setdefault(company_id(task[1]), {}).setdefault(task[1]["run"]["seed"], []).append(task)
    return [bundle for scenes in companies.values() for bundle in _bundles(list(scenes.values()))]


def _bundles(scenes: list[list[tuple[Key, Point]]]) -> Iterator[list[tuple[Key, Point]]]:
    """Take some scenes, which differ in their seeds, at a time: of each policy they make a bundle."""
    most = min(abreast(point) for scene in scenes for _, point in scene)
    for first in range(0, len(scenes), most):
        alike: dict[str, list[tuple[Key, Point]]] = {}
        for scene in scenes[first : first + most]:
            for task in scene:
                alike.setdefault(but_seed(task[1]), []).append(task)
        yield from alike.values()
