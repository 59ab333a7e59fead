"""Run points one after the other in this process: the launcher of tests, debuggers and tiny sweeps."""

import os
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from typing import Any

from thpsweep.model.simulate import simulate
from thpsweep.sweep.point import Point

Task = tuple[str, Point]
"""A point with its id."""

Outcome = dict[str, Any]
"""How a point ended: state, result, error, host, wall_s, attempts; plain JSON types."""

Launch = Callable[[Sequence[Task]], Generator[tuple[str, Outcome], None, None]]
"""A launcher: takes points, yields each one's outcome as it comes, in any order. It raises for nothing a point does."""


def serial(
    tasks: Sequence[Task], *, function: Callable[[Point], Any] = simulate
) -> Generator[tuple[str, Outcome], None, None]:
    """Run points in the given order, each when its result is asked for."""
    for key, point in tasks:
        yield key, attempt(function, point)


def attempt(function: Callable[[Point], Any], point: Point) -> Outcome:
    """Run a point; whatever it raises becomes data. Units: wall_s in seconds."""
    began_s = time.perf_counter()
    try:
        state, result, error = "done", function(point), None
    except (Exception, SystemExit) as problem:
        state, result, error = "failed", None, as_error(problem)
    wall_s = time.perf_counter() - began_s
    return outcome(state, result=result, error=error, wall_s=wall_s)


def outcome(
    state: str, *, result: Any = None, error: Outcome | None = None, wall_s: float = 0.0, attempts: int = 1
) -> Outcome:
    """Put together how a point ended on this host."""
    return {
        "state": state,
        "result": result,
        "error": error,
        "host": os.uname().nodename,
        "wall_s": wall_s,
        "attempts": attempts,
    }


def as_error(problem: BaseException) -> Outcome:
    """Turn an exception into type, message and traceback."""
    lines = traceback.format_exception(problem)
    return {"type": type(problem).__name__, "message": str(problem), "traceback": "".join(lines)}
