"""Put points together that run side by side: those that differ in their seeds only, where they are small.

What a small point takes is Python's and NumPy's calls; they take hardly longer for many points than for one.
"""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from thpsweep.sweep.records.schema import CheckedPoint

MOST_POINTS = 64
MOST_BYTES = 48 << 20
"""What the states of a batch may take: nothing is saved where they do not fit into a core's caches any more."""

MOST_WORK = 1e7
"""What a batch may ask of the model, in its own units: about a second, which is lost where the process is killed."""

Key = TypeVar("Key")


def batch_limit(point: CheckedPoint) -> int:
    """Say how many points like this one may run side by side; 1 where it is best alone."""
    state_bytes = point["state_bytes"] * point["point"]["run"]["replicates"]
    return max(1, min(MOST_POINTS, int(MOST_BYTES / state_bytes), int(MOST_WORK / point["work"])))


def affinity_id(point: CheckedPoint) -> str:
    """Identify points that are best handed out together: a scene, or scenes that may run side by side."""
    return f"{point['scene']} {seed_of(point) if batch_limit(point) == 1 else 'any seed'}"


def seed_of(point: CheckedPoint) -> int:
    """Give what points that are alike differ in."""
    return point["point"]["run"]["seed"]


def batches(tasks: Sequence[tuple[Key, CheckedPoint]]) -> list[list[tuple[Key, CheckedPoint]]]:
    """Put points into batches. Those of one affinity group come one after the other, and have their baselines in common."""
    groups: dict[str, dict[int, list[tuple[Key, CheckedPoint]]]] = {}
    for task in tasks:
        groups.setdefault(affinity_id(task[1]), {}).setdefault(seed_of(task[1]), []).append(task)
    return [batch for scenes in groups.values() for batch in _batches(list(scenes.values()))]


def _batches(scenes: list[list[tuple[Key, CheckedPoint]]]) -> Iterator[list[tuple[Key, CheckedPoint]]]:
    """Take some scenes, which differ in their seeds, at a time: of each policy they make a batch."""
    most = min(batch_limit(point) for scene in scenes for _, point in scene)
    for first in range(0, len(scenes), most):
        alike: dict[str, list[tuple[Key, CheckedPoint]]] = {}
        for scene in scenes[first : first + most]:
            for task in scene:
                alike.setdefault(task[1]["alike"], []).append(task)
        yield from alike.values()
