"""What `thpsweep plan` prints: the points of a sweep, and what they would take."""

import dataclasses
from collections.abc import Sequence

from rich import box
from rich.table import Table

from thpsweep.answers.terminal.numbers import count, duration
from thpsweep.sweep.planning.forecast import ALONE, Forecast, Workers, forecast
from thpsweep.sweep.planning.limits import ADVICE, MLFLOW_BYTES, Room, need_bytes
from thpsweep.sweep.planning.plan import Plan
from thpsweep.sweep.records.journal import Sweep
from thpsweep.sweep.records.point import PlannedPoint
from thpsweep.units import size

MOST_TOO_LARGE = 10
"""Points that are named because they do not fit."""

MOST_ROWS = 40
"""More points than this are shown by the first and the last of them."""


def points_table(plan: Plan, done: set[str], *, whole: bool = False) -> Table:
    """List the points by what tells them apart, the middle of a long list left out unless the whole is wanted."""
    names = list(dict.fromkeys(name for point in plan.points for name in point.params))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("point", *names, "id", "state"):
        table.add_column(heading, justify="right" if heading == "point" else "left", overflow="fold")
    for row in _shown(list(enumerate(plan.points, start=1)), whole):
        if row is None:
            table.add_row("...", *["" for _ in names], "", f"{len(plan.points) - MOST_ROWS} more: --all")
            continue
        number, point = row
        values = [str(point.params.get(name, "")) for name in names]
        table.add_row(str(number), *values, point.id[:12], "done" if point.id in done else "")
    return table


def _shown(numbered: Sequence[tuple[int, PlannedPoint]], whole: bool) -> list[tuple[int, PlannedPoint] | None]:
    if whole or len(numbered) <= MOST_ROWS:
        return list(numbered)
    return [*numbered[: MOST_ROWS // 2], None, *numbered[-MOST_ROWS // 2 :]]


def summary(plan: Plan, done: set[str], predicted: Forecast) -> list[str]:
    """Say how many points there are, how many are left, what these will take, and how that is known."""
    n_left = sum(point.id not in done for point in plan.points)
    n_done = len(plan.points) - n_left
    lines = [f"{plan.counted}{plan.left_out}; {count(n_done)} already done in {plan.directory}"]
    if not n_left:
        return [*lines, "nothing is left to run"]
    workers = predicted.workers
    known = workers.processes is not None
    wall = f"{duration(predicted.wall_s)} in {workers.name}" if known else f"as long as {workers.name} takes"
    each = "" if known else " for each process"
    left = f"{count(n_left)} to run: about {wall} ({duration(predicted.busy_s)} of CPU)"
    lines.append(f"{left}, about {size(predicted.peak_bytes)} of memory at the peak{each}")
    return [*lines, *_basis(plan, predicted), *_too_large(plan, done, workers)]


def _too_large(plan: Plan, done: set[str], workers: Workers) -> list[str]:
    """Name the points that there is no memory for on this machine, with what they need; those of a cluster run elsewhere."""
    if workers.processes is None:
        return []
    room = Room.beside(max(workers.overhead_bytes, MLFLOW_BYTES))
    named = [
        f"  {' '.join(f'{name}={value}' for name, value in point.params.items())}: {size(need_bytes(point.checked))}"
        for point in plan.points
        if point.id not in done and not room.holds(point.checked)
    ]
    if not named:
        return []
    more = [f"  and {count(len(named) - MOST_TOO_LARGE)} more"] if len(named) > MOST_TOO_LARGE else []
    return [f"{count(len(named))} will not fit and fail: {room}; {ADVICE}", *named[:MOST_TOO_LARGE], *more]


def search_summary(plan: Plan, found: Sweep | None, workers: Workers) -> list[str]:
    """Say what a search will take, whose points are not all known beforehand."""
    assert plan.search is not None
    n_all, basis = plan.search.outlook()
    n_done = len(found.done) if found else 0
    lines = [f"a search: about {count(n_all)} points; {count(n_done)} already done in {plan.directory}"]
    if found and found.concluded:
        return [*lines, "it is over: nothing is left to run"]
    each = forecast(plan, set(), dataclasses.replace(workers, may_stay=False))
    busy_s = each.busy_s / len(plan.points) * max(n_all - n_done, 1)
    wall_s = workers.start_s + busy_s / (workers.processes or 1)
    if workers.may_stay and busy_s <= wall_s:
        each, workers, wall_s = forecast(plan, set(), ALONE), ALONE, busy_s
    known = workers.processes is not None
    wall = f"about {duration(wall_s)} in {workers.name}" if known else f"as long as {workers.name} takes"
    lines.append(f"{wall} ({duration(busy_s)} of CPU), about {size(each.peak_bytes)} of memory at the peak")
    return [*lines, f"points: {basis}", *_basis(plan, each)]


def _basis(plan: Plan, predicted: Forecast) -> list[str]:
    """Say what a prediction rests on, and what it leaves out."""
    workers = predicted.workers
    whose = "Ray, driver and MLflow" if workers.start_s else "MLflow"
    fixed = f" and {size(workers.overhead_bytes)} for {whose}" if workers.overhead_bytes else ""
    around = "start, table and MLflow" if plan.tracked else "start and table"
    return [
        f"time: {predicted.source}; beside it {around} take some seconds",
        f"memory: the model's estimate, and {size(workers.process_bytes)} a process{fixed}",
    ]
