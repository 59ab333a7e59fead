"""What `thpsweep plan` prints: the points of a sweep, and what they would take."""

from collections.abc import Sequence

from rich import box
from rich.table import Table

from thpsweep.answers.table import count, duration, size
from thpsweep.sweep.forecast import Forecast, Workers
from thpsweep.sweep.plan import Plan, PlannedPoint

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


def summary(plan: Plan, done: set[str], workers: Workers, predicted: Forecast) -> list[str]:
    """Say how many points there are, how many are left, and what these will take."""
    left = len(plan.points) - len(done)
    lines = [f"{count(len(plan.points))} points{plan.left_out}; {count(len(done))} already done in {plan.directory}"]
    if not left:
        return [*lines, "nothing is left to run"]
    if workers.processes is None:
        time = f"{duration(predicted.wall_s)} / processes of {workers.name}"
        memory = f"{size(predicted.peak_bytes)} a process"
    else:
        time = f"{duration(predicted.wall_s)} in {workers.name}"
        memory = f"{size(predicted.peak_bytes)}"
    lines.append(
        f"{count(left)} to run: about {time} ({duration(predicted.busy_s)} of CPU), at most about {memory} of memory"
    )
    return [
        *lines,
        f"time: {predicted.source}; memory: the model's estimate of the largest points, and {_overhead(workers)}",
    ]


def _overhead(workers: Workers) -> str:
    fixed = f" and {size(workers.overhead_bytes)} for Ray" if workers.overhead_bytes else ""
    return f"{size(workers.process_bytes)} a process{fixed}"
