"""What a launcher takes and what it gives, whoever runs the points: this process, or Ray's actors."""

import dataclasses
import threading
from collections.abc import Callable, Generator, Sequence

from thpsweep.sweep.local.attempt import outcome
from thpsweep.sweep.planning.limits import PointLimits, Room
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
