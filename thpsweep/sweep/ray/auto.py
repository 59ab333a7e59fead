"""Begin in this process and hand over to Ray when that saves time: the launcher of those who do not choose one."""

import contextlib
import dataclasses
import sys
from collections.abc import Generator, Sequence

from thpsweep.linux.proc.cgroups import usable_cpus
from thpsweep.model.simulate import simulate_each
from thpsweep.sweep.local.attempt import Function
from thpsweep.sweep.local.launcher import Arrival, Remaining, Task, TaskSource, Terms
from thpsweep.sweep.local.serial import run_serial
from thpsweep.sweep.planning.limits import RAY_BYTES, Room
from thpsweep.sweep.ray.chunks import TimeEstimate
from thpsweep.sweep.ray.errors import RayUnavailableError
from thpsweep.sweep.ray.pool import run_pool

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

    Of n workers Ray saves (1 - 1/n) of what is left, which is predicted from what has ended. Where Ray does not start, or
    does not stay, the rest runs here.
    """
    terms = terms or Terms()
    estimate = TimeEstimate(tasks)
    left = _Estimated(sorted(tasks, key=lambda task: estimate.work(task[0])), terms.source, estimate)
    terms = dataclasses.replace(terms, source=left)
    yield from _run_here(left, terms, actors, function)
    if (left.points or left.ahead()[0]) and not terms.draining.is_set():
        order = {key: number for number, (key, _) in enumerate(tasks)}
        planned = sorted(left.tasks, key=lambda task: order.get(task[0], len(order)))
        try:
            for arrival in run_pool(planned, terms, actors=actors, function=function):
                left.end(arrival)
                yield arrival
        except RayUnavailableError as problem:
            print(f"thpsweep: {problem}; going on without Ray, one point after the other", file=sys.stderr)
            for arrival in run_serial(left.tasks, terms, function=function):
                left.end(arrival)
                yield arrival


def _run_here(
    left: "_Estimated", terms: Terms, actors: int | None, function: Function
) -> Generator[Arrival, None, None]:
    """Run points in this process, until all have ended or the rest is worth the start of Ray."""
    n_workers = min(actors or usable_cpus(), usable_cpus())
    warming_s = WARM_S
    with contextlib.closing(run_serial(left.tasks, terms, function=function)) as arrivals:
        for arrival in arrivals:
            left.end(arrival)
            for key, ended in arrival:
                left.estimate.measured(key, max(ended["wall_s"] - warming_s, 0.0))
                warming_s = max(warming_s - ended["wall_s"], 0.0)
            yield arrival
            n_later, n_parallel = left.ahead()
            saved = saved_s(left.estimate, min(n_workers, len(left.points) + n_parallel), n_later)
            if saved > RAY_START_S and Room.beside(RAY_BYTES).holds_all(left.points.values()):
                return


def saved_s(estimate: TimeEstimate, n_workers: int, n_later: int = 0) -> float:
    """Predict what so many workers save on what is left and on points still to come, the start of Ray aside."""
    work = estimate.left_work + n_later * estimate.mean_work
    return (estimate.predicted_s(work) or 0.0) * (1 - 1 / n_workers) if n_workers else 0.0


class _Estimated(Remaining):
    """Tasks that are left, and what they will take."""

    def __init__(self, tasks: Sequence[Task], source: TaskSource, estimate: TimeEstimate) -> None:
        super().__init__(tasks, source)
        self.estimate = estimate

    def more(self, n_idle: int) -> Sequence[Task]:
        """Give what the source gives."""
        tasks = super().more(n_idle)
        self.estimate.add(tasks)
        return tasks
