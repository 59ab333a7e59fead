"""Run points one after the other in this process: the launcher of tests, debuggers and tiny sweeps."""

import collections
import time
from collections.abc import Generator, Sequence

from thpsweep.model.simulate import simulate_each
from thpsweep.sweep.local.attempt import Function, attempt
from thpsweep.sweep.local.isolated import run_isolated
from thpsweep.sweep.local.launcher import Arrival, Task, Terms, refuse_too_large
from thpsweep.sweep.planning.batches import batches
from thpsweep.sweep.planning.limits import MLFLOW_BYTES, PointLimits, Room
from thpsweep.sweep.records.crash_log import CrashLog
from thpsweep.sweep.records.schema import Outcome

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
