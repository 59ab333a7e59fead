"""Run points one after the other in this process: the launcher of tests, debuggers and tiny sweeps."""

import collections
import dataclasses
import threading
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any

from thpsweep.model.simulate import simulate
from thpsweep.sweep.attempt import Limits, Outcome, attempt, outcome
from thpsweep.sweep.point import Point, scene_id
from thpsweep.sweep.watch import MAX_DEATHS, Watch

Task = tuple[str, Point]
"""A point with its id."""

Arrival = list[tuple[str, Outcome]]
"""Points that ended, by id; they are journaled together."""


class Source:
    """Tasks that come later, as results tell what to ask next. This one, a grid's, has none: all are there at the start.

    A launcher asks when a worker would be idle and everything that it has yielded was taken; nothing in flight and
    nothing more is the end.
    """

    def more(self, n_idle: int) -> Sequence[Task]:
        """Give tasks that are to run whatever else comes in, to keep so many workers busy; none where there are none now."""
        return ()

    def ahead(self) -> tuple[int, int]:
        """Say about how many tasks are still to come, and how many of them could run side by side."""
        return 0, 0


@dataclasses.dataclass(frozen=True)
class Terms:
    """What a launcher keeps to: limits for each point, and no new ones once `draining` is set; who killed drivers before.

    `source` gives tasks that come later.
    """

    limits: Limits = dataclasses.field(default_factory=Limits)
    draining: threading.Event = dataclasses.field(default_factory=threading.Event)
    watch: Watch = dataclasses.field(default_factory=Watch)
    source: Source = dataclasses.field(default_factory=Source)


Launch = Callable[[Sequence[Task], Terms], Generator[Arrival, None, None]]
"""A launcher: takes points, yields outcomes as they come, in any order. It raises for nothing a point does."""

ARRIVAL_S = 0.2
"""How long outcomes are gathered here before they go out together: each arrival is a write that waits for the disk."""


def serial(
    tasks: Sequence[Task], terms: Terms | None = None, *, function: Callable[[Point], Any] = simulate
) -> Generator[Arrival, None, None]:
    """Run points scene by scene, since those of a scene have one baseline; the next when the last have been taken."""
    terms = terms or Terms()
    limits = terms.limits.shared_by(1)
    waiting = collections.deque(by_scene(tasks))
    arrival: Arrival = []
    due_s = time.monotonic() + ARRIVAL_S
    while not terms.draining.is_set():
        if not waiting and arrival:  # what is asked next depends on it
            yield arrival
            arrival, due_s = [], time.monotonic() + ARRIVAL_S
            continue
        if not waiting:
            waiting.extend(by_scene(terms.source.more(1)))
        if not waiting:
            break
        key, point = waiting.popleft()
        arrival.append((key, _watched(function, key, point, limits, terms.watch)))
        if time.monotonic() >= due_s:
            yield arrival
            arrival, due_s = [], time.monotonic() + ARRIVAL_S
    if arrival:
        yield arrival


def by_scene(tasks: Sequence[Task]) -> list[Task]:
    """Put the points of each scene one after the other, where the first of them was."""
    scenes: dict[str, list[Task]] = {}
    for task in tasks:
        scenes.setdefault(scene_id(task[1]), []).append(task)
    return [task for scene in scenes.values() for task in scene]


def _watched(function: Callable[[Point], Any], key: str, point: Point, limits: Limits, watch: Watch) -> Outcome:
    """Run a point, unless too many processes have ended within it."""
    if watch.deaths(key) >= MAX_DEATHS:
        said = (
            f"{watch.deaths(key)} processes ended while they ran it; hydra/launcher=ray keeps it away from the driver"
        )
        with watch.at(key):  # so that the next command tries again
            return outcome("quarantined", error={"type": "DriverDied", "message": said, "traceback": ""})
    with watch.at(key):
        return attempt(function, point, limits)
