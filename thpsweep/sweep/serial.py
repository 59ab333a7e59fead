"""Run points one after the other in this process: the launcher of tests, debuggers and tiny sweeps."""

import dataclasses
import threading
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any

from thpsweep.model.simulate import simulate
from thpsweep.sweep.attempt import Limits, Outcome, attempt
from thpsweep.sweep.point import Point

Task = tuple[str, Point]
"""A point with its id."""

Arrival = list[tuple[str, Outcome]]
"""Points that ended, by id; they are journaled together."""


@dataclasses.dataclass(frozen=True)
class Terms:
    """What a launcher keeps to: limits for each point, and no new ones once `draining` is set."""

    limits: Limits = dataclasses.field(default_factory=Limits)
    draining: threading.Event = dataclasses.field(default_factory=threading.Event)


Launch = Callable[[Sequence[Task], Terms], Generator[Arrival, None, None]]
"""A launcher: takes points, yields outcomes as they come, in any order. It raises for nothing a point does."""

ARRIVAL_S = 0.2
"""How long outcomes are gathered here before they go out together: each arrival is a write that waits for the disk."""


def serial(
    tasks: Sequence[Task], terms: Terms | None = None, *, function: Callable[[Point], Any] = simulate
) -> Generator[Arrival, None, None]:
    """Run points in the given order, the next ones when the last ones have been taken."""
    terms = terms or Terms()
    limits = terms.limits.shared_by(1)
    arrival: Arrival = []
    due_s = time.monotonic() + ARRIVAL_S
    for key, point in tasks:
        if terms.draining.is_set():
            break
        arrival.append((key, attempt(function, point, limits)))
        if time.monotonic() >= due_s:
            yield arrival
            arrival, due_s = [], time.monotonic() + ARRIVAL_S
    if arrival:
        yield arrival
