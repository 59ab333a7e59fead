"""Run points one after the other in this process: the launcher of tests, debuggers and tiny sweeps."""

import collections
import dataclasses
import threading
import time
from collections.abc import Callable, Generator, Sequence

from thpsweep.model.simulate import simulate_each
from thpsweep.sweep.local.attempt import Function, attempt, outcome
from thpsweep.sweep.local.crash_log import MAX_DEATHS, CrashLog
from thpsweep.sweep.planning.bundles import bundles
from thpsweep.sweep.planning.limits import Limits
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


@dataclasses.dataclass(frozen=True)
class Terms:
    """What a launcher keeps to: limits for each point, and no new ones once `draining` is set; who killed drivers before.

    `source` gives tasks that come later.
    """

    limits: Limits = dataclasses.field(default_factory=Limits)
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
    """Run points bundle by bundle; the next when the last have been taken."""
    terms = terms or Terms()
    limits = terms.limits.shared_by(1)
    waiting = collections.deque(bundles(tasks))
    arrival: Arrival = []
    due_s = time.monotonic() + ARRIVAL_S
    while not terms.draining.is_set():
        if not waiting and arrival:  # what is asked next depends on it
            yield arrival
            arrival, due_s = [], time.monotonic() + ARRIVAL_S
            continue
        if not waiting:
            waiting.extend(bundles(terms.source.more(1)))
        if not waiting:
            break
        bundle = waiting.popleft()
        if ended := _run_logged(function, bundle, limits, terms.crash_log):
            arrival += [(key, mine) for (key, _), mine in zip(bundle, ended, strict=True)]
        else:
            waiting.extendleft([task] for task in reversed(bundle))
        if time.monotonic() >= due_s:
            yield arrival
            arrival, due_s = [], time.monotonic() + ARRIVAL_S
    if arrival:
        yield arrival


def _run_logged(function: Function, bundle: Sequence[Task], limits: Limits, crash_log: CrashLog) -> Sequence[Outcome]:
    """Run points, one alone unless too many processes have ended within it; nothing where each has to run alone."""
    keys, deaths = [key for key, _ in bundle], max(crash_log.deaths(key) for key, _ in bundle)
    if deaths and len(bundle) > 1:
        return []
    with crash_log.at(*keys):  # also one that is given up, so that the next command tries again
        if deaths >= MAX_DEATHS:
            message = f"{deaths} processes ended while they ran it; hydra/launcher=ray keeps it away from the driver"
            return [outcome("quarantined", error={"type": "DriverDied", "message": message, "traceback": ""})]
        return attempt(function, [point["point"] for _, point in bundle], limits)
