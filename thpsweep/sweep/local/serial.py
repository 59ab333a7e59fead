"""Run points one after the other in this process: the launcher of tests, debuggers and tiny sweeps."""

import collections
import dataclasses
import threading
import time
from collections.abc import Callable, Generator, Sequence

from thpsweep.model.simulate import simulate_each
from thpsweep.sweep.local.attempt import Function, attempt, outcome
from thpsweep.sweep.local.isolated import run_isolated
from thpsweep.sweep.planning.batches import batches
from thpsweep.sweep.planning.limits import MLFLOW_BYTES, PointLimits, Room
from thpsweep.sweep.records.crash_log import CrashLog
from thpsweep.sweep.records.schema import CheckedPoint, Outcome

Task = tuple[str, CheckedPoint]
"""A checked point with its id."""

Arrival = list[tuple[str, Outcome]]
"""Points that ended, by id; they are journaled together."""


class TaskSource:
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


class Remaining(TaskSource):
    """Pass tasks on, and remember those that have not ended: what another launcher goes on with."""

    def __init__(self, tasks: Sequence[Task], source: TaskSource) -> None:
        self.points, self._source = dict(tasks), source

    @property
    def tasks(self) -> list[Task]:
        """List them in their order."""
        return list(self.points.items())

    def more(self, n_idle: int) -> Sequence[Task]:
        """Give what the source gives."""
        tasks = self._source.more(n_idle)
        self.points.update(tasks)
        return tasks

    def ahead(self) -> tuple[int, int]:
        """Ask the source."""
        return self._source.ahead()

    def end(self, arrival: Arrival) -> None:
        """Take what has ended off."""
        for key, _ in arrival:
            self.points.pop(key, None)


@dataclasses.dataclass(frozen=True)
class Terms:
    """What a launcher keeps to: limits of a point, no new ones once `draining` is set, which points drivers ended within.

    `source` gives tasks that come later.
    """

    limits: PointLimits = dataclasses.field(default_factory=PointLimits)
    draining: threading.Event = dataclasses.field(default_factory=threading.Event)
    crash_log: CrashLog = dataclasses.field(default_factory=CrashLog)
    source: TaskSource = dataclasses.field(default_factory=TaskSource)


Launch = Callable[[Sequence[Task], Terms], Generator[Arrival, None, None]]
"""A launcher: takes points, yields outcomes as they come, in any order. It raises for nothing a point does."""

ARRIVAL_S = 0.2
"""How long outcomes are gathered here before they go out together: each arrival is a write that waits for the disk."""


def run_serial(
    tasks: Sequence[Task], terms: Terms | None = None, *, function: Function = simulate_each
) -> Generator[Arrival, None, None]:
    """Run points batch by batch; the next when the last have been taken."""
    terms = terms or Terms()
    limits = terms.limits.shared_by(1, reserved_bytes=MLFLOW_BYTES)
    room = Room.beside(MLFLOW_BYTES)
    tasks, arrival = refuse_too_large(tasks, room)
    waiting = collections.deque(batches(tasks))
    due_s = time.monotonic() + ARRIVAL_S
    while not terms.draining.is_set():
        if not waiting and arrival:  # what is asked next depends on it
            yield arrival
            arrival, due_s = [], time.monotonic() + ARRIVAL_S
            continue
        if not waiting:
            more, refused = refuse_too_large(terms.source.more(1), room)
            waiting.extend(batches(more))
            arrival += refused
        if not waiting and not arrival:
            break
        if not waiting:
            continue
        batch = waiting.popleft()
        if ended := _run_logged(function, batch, limits, terms.crash_log):
            arrival += [(key, mine) for (key, _), mine in zip(batch, ended, strict=True)]
        else:
            waiting.extendleft([task] for task in reversed(batch))
        if time.monotonic() >= due_s:
            yield arrival
            arrival, due_s = [], time.monotonic() + ARRIVAL_S
    if arrival:
        yield arrival


def refuse_too_large(tasks: Sequence[Task], room: Room) -> tuple[list[Task], Arrival]:
    """Part the points that there is memory for from the outcomes of those that would only die of it."""
    fitting: list[Task] = []
    refused: Arrival = []
    for key, point in tasks:
        if room.holds(point):
            fitting.append((key, point))
        else:
            refused.append((key, _too_large(room.refusal(point))))
    return fitting, refused


def _too_large(message: str) -> Outcome:
    return outcome("failed", error={"type": "TooLarge", "message": message, "traceback": ""})


def _run_logged(
    function: Function, batch: Sequence[Task], limits: PointLimits, crash_log: CrashLog
) -> Sequence[Outcome]:
    """Run points; one within which a driver ended runs in a process of its own. Nothing where each has to run alone.

    Then the driver's end is not laid to the point, and the point's own end is known: it is judged as a pool judges it.
    """
    keys = [key for key, _ in batch]
    is_suspected = any(map(crash_log.deaths, keys))
    if is_suspected and len(batch) > 1:
        return []
    if is_suspected:
        ended = [run_isolated(function, batch[0][1]["point"], limits)]
        crash_log.forget(*keys)  # also one that is given up, so that the next command tries again
        return ended
    with crash_log.at(*keys):
        return attempt(function, [point["point"] for _, point in batch], limits)
