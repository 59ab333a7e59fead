"""Run points within their limits: whatever they do to themselves becomes data, with what it cost."""

import contextlib
import functools
import os
import resource
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from thpsweep.model import plugins
from thpsweep.sweep.planning.limits import PointLimits
from thpsweep.sweep.records.schema import Error, Outcome, Point
from thpsweep.sweep.records.writer import FORKED

Function = Callable[[Sequence[Any]], Sequence[Any]]
"""What runs points side by side that differ in their seeds only, and gives a result each."""


class Overrun(BaseException):
    """A point took longer than its deadline. Not an Exception: the point may catch those."""


def attempt(function: Function, points: Sequence[Point], limits: PointLimits) -> list[Outcome]:
    """Run points; whatever they raise becomes data. The limits are those of one point, and end with it.

    Several that do not all end well have no outcome: whose fault it was shows when each of them runs alone.
    """
    _forget_peak()
    began_s, began_cpu_s = time.perf_counter(), time.thread_time()
    state, results, error = "done", [None] * len(points), None
    try:
        with _deadline(limits.deadline_s), _memory(limits.memory_bytes):
            results = _in_this_process(function, points)
    except Overrun as problem:
        state, error = "timeout", as_error(problem)
    except MemoryError as problem:
        allowed = f"it may take {limits.memory_bytes} bytes more than an idle worker (sweep.memory_bytes)"
        state, error = "failed", {**as_error(problem), "message": f"{str(problem) or 'out of memory'}; {allowed}"}
    except KeyboardInterrupt:
        raise
    except BaseException as problem:  # also what a user's own option raises that is no Exception
        state, error = "failed", as_error(problem)
    if error and len(points) > 1:
        return []
    wall_s, cpu_s = time.perf_counter() - began_s, time.thread_time() - began_cpu_s
    share = functools.partial(
        outcome,
        state,
        error=error,
        wall_s=wall_s / len(points),
        cpu_s=cpu_s / len(points),
        peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        batch_size=len(points),
    )
    return [share(result=result) for result in results]


def _in_this_process(function: Function, points: Sequence[Point]) -> list[Any]:
    """Run points. A child that they fork ends here, whatever it brings: it would go on as a second driver or worker."""
    process = os.getpid()
    try:
        return list(function(points))
    finally:
        if os.getpid() != process:
            os._exit(FORKED)


def outcome(
    state: str,
    *,
    result: Any = None,
    error: Error | None = None,
    wall_s: float = 0.0,
    cpu_s: float = 0.0,
    peak_bytes: int = 0,
    batch_size: int = 1,
    attempts: int = 1,
) -> Outcome:
    """Put together how a point ended on this host."""
    return {
        "state": state,
        "result": result,
        "error": error,
        "host": os.uname().nodename,
        "wall_s": wall_s,
        "cpu_s": cpu_s,
        "peak_bytes": peak_bytes,
        "batch_size": batch_size,
        "attempts": attempts,
    }


def as_error(problem: BaseException) -> Error:
    """Turn an exception into type, message and traceback; that of a plugin says where, and with which values."""
    lines = traceback.format_exception(problem)
    return {"type": type(problem).__name__, "message": plugins.located(problem), "traceback": "".join(lines)}


def overrun_error(deadline_s: float) -> str:
    """Say that a point took too long, and which option says so."""
    return f"it took longer than sweep.deadline_s={deadline_s:g}"


@contextlib.contextmanager
def _deadline(deadline_s: float | None) -> Iterator[None]:
    """Raise Overrun in here when the time is up; only a main thread can, and only between two steps of Python."""
    if deadline_s is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def overrun(number: int, frame: FrameType | None) -> None:
        raise Overrun(overrun_error(deadline_s))

    before = signal.signal(signal.SIGALRM, overrun)
    signal.setitimer(signal.ITIMER_REAL, deadline_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _memory(memory_bytes: int | None) -> Iterator[None]:
    """Let this process take so much memory more than it has now; what is asked for beyond is a MemoryError."""
    if memory_bytes is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = _data_bytes() + memory_bytes
    bounds = [bound for bound in (soft, hard) if bound != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min([wanted, *bounds]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int:
    """Look up how much of this process counts against RLIMIT_DATA, its stack with it.

    Source: Documentation/filesystems/proc.rst, /proc/PID/statm; fs/proc/task_mmu.c, task_statm().
    """
    return int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()


def _forget_peak() -> None:
    """Let the peak of this process's memory, which getrusage() tells, begin anew, where that is allowed."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
