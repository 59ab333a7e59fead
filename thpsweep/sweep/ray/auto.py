"""Begin in this process and hand over to Ray when that saves time: the launcher of those who do not choose one."""

import contextlib
import dataclasses
import os
from collections.abc import Generator, Sequence

from thpsweep.model.simulate import simulate_each
from thpsweep.sweep.local.attempt import Function
from thpsweep.sweep.local.serial import Arrival, Task, TaskSource, Terms, run_serial
from thpsweep.sweep.ray.chunks import TimeEstimate
from thpsweep.sweep.ray.pool import run_pool
from thpsweep.sweep.records.schema import CheckedPoint

RAY_START_S = 8.0
"""From the decision for Ray to its first results, and its end: measured 5 to 10 s on two cores."""

WARM_S = 0.5
"""What the first points of a process may take beside themselves, for what is loaded when it is first needed: 0.15 to 0.4 s,
the more as MLflow starts meanwhile. It does not count: a hundred points of milliseconds are none of seconds."""


def run_auto(
    tasks: Sequence[Task],
    terms: Terms | None = None,
    *,
    actors: int | None = None,
    function: Function = simulate_each,
) -> Generator[Arrival, None, None]:
    """Run points here, small ones first, until those that are left are worth the start of Ray; then run them there.

    Of n workers Ray saves (1 - 1/n) of what is left, which is predicted from what has ended. Where a driver has ended
    within a point before, all points run there: it costs a worker then, and no driver.
    """
    terms = terms or Terms()
    if any(terms.crash_log.deaths(key) for key, _ in tasks):
        yield from run_pool(tasks, terms, actors=actors, function=function)
        return
    n_workers = min(actors or len(os.sched_getaffinity(0)), len(os.sched_getaffinity(0)))
    pace = TimeEstimate(tasks)
    left = dict(sorted(tasks, key=lambda task: pace.work(task[0])))
    noting = dataclasses.replace(terms, source=_Noting(terms.source, left, pace))
    warming_s = WARM_S
    with contextlib.closing(run_serial(list(left.items()), noting, function=function)) as arrivals:
        for arrival in arrivals:
            for key, ended in arrival:
                del left[key]
                pace.measured(key, max(ended["wall_s"] - warming_s, 0.0))
                warming_s = max(warming_s - ended["wall_s"], 0.0)
            yield arrival
            n_later, abreast = terms.source.ahead()
            saved = saved_s(pace, min(n_workers, len(left) + abreast), n_later)
            if saved > RAY_START_S and not terms.draining.is_set():
                break
        else:
            return
    if not terms.draining.is_set():
        planned = {key: left[key] for key, _ in tasks if key in left}
        yield from run_pool(list((planned | left).items()), terms, actors=actors, function=function)


def saved_s(pace: TimeEstimate, n_workers: int, n_later: int = 0) -> float:
    """Predict what so many workers save on what is left and on points still to come, the start of Ray aside."""
    work = pace.left_work + n_later * pace.mean_work
    return (pace.predicted_s(work) or 0.0) * (1 - 1 / n_workers) if n_workers else 0.0


class _Noting(TaskSource):
    """Pass tasks on, and remember that they are left."""

    def __init__(self, source: TaskSource, left: dict[str, CheckedPoint], pace: TimeEstimate) -> None:
        self._source, self._left, self._pace = source, left, pace

    def more(self, n_idle: int) -> Sequence[Task]:
        """Give what the source gives."""
        tasks = self._source.more(n_idle)
        self._left.update(tasks)
        self._pace.add(tasks)
        return tasks
