"""Run a suspected point in a child process: what it does to its process it does to the child, whose end says what it was."""

import contextlib
import functools
import signal
import time
from multiprocessing.connection import Connection, wait

from thpsweep.linux.proc.cgroups import memory_limit, oom_kills
from thpsweep.sweep.local.attempt import Function, as_error, attempt, outcome, overrun_error
from thpsweep.sweep.local.child import CONTEXT, fork
from thpsweep.sweep.planning.limits import PointLimits
from thpsweep.sweep.records.schema import Error, Outcome, Point

MAX_DEATHS = 3
"""Children that may die of a point before it is given up, as many as a pool's workers."""

GRACE_S = 5.0
"""How long after its deadline a child may say by itself that a point took too long, before it is killed."""


def run_isolated(function: Function, point: Point, limits: PointLimits) -> Outcome:
    """Run one point in a child, and again where the child dies; give it up after some deaths."""
    why = ""
    for n in range(1, MAX_DEATHS + 1):
        began_s, kills = time.perf_counter(), oom_kills()
        ended, exit_code = _in_child(function, point, limits)
        if ended is not None:
            return {**ended, "attempts": n}
        wall_s = time.perf_counter() - began_s
        if limits.deadline_s is not None and wall_s > limits.deadline_s:
            error: Error = {"type": "Overrun", "message": overrun_error(limits.deadline_s), "traceback": ""}
            return outcome("timeout", error=error, wall_s=wall_s, attempts=n)
        why = explain_death(exit_code, kills)
    message = f"its process died {MAX_DEATHS} times, alone with it: {why}"
    error = {"type": "WorkerDied", "message": message, "traceback": ""}
    return outcome("quarantined", error=error, attempts=MAX_DEATHS)


def explain_death(exit_code: int | None, kills_before: int) -> str:
    """Say how a process ended: whether the kernel killed it for want of memory, by which signal, or with which code."""
    if oom_kills() > kills_before:
        return killed_for_memory()
    if exit_code is not None and exit_code < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-exit_code).name}"
    return f"exit code {exit_code}"


def killed_for_memory() -> str:
    """Say that the kernel killed a process for want of memory, and what bounds it."""
    limit = memory_limit()
    return f"the kernel killed it for want of memory ({limit.source}: {limit.limit_bytes / 2**30:.2f} GiB)"


def _in_child(function: Function, point: Point, limits: PointLimits) -> tuple[Outcome | None, int | None]:
    """Give a point's outcome, or nothing and the exit code of the child that died of it."""
    receiver, sender = CONTEXT.Pipe(duplex=False)
    child = fork("thpsweep-point", functools.partial(_attempt, sender, function, point, limits))
    sender.close()
    due_s = None if limits.deadline_s is None else limits.deadline_s + GRACE_S
    try:
        ready = wait([receiver, child.sentinel], due_s)
        ended = None
        if receiver in ready or receiver.poll():
            with contextlib.suppress(EOFError, OSError):
                ended = receiver.recv()
        if ended is None and ready:
            child.join(GRACE_S)
        return ended, child.exitcode
    finally:
        child.kill()
        child.join()
        receiver.close()


def _attempt(sender: Connection, function: Function, point: Point, limits: PointLimits) -> None:
    """Run the point in the child, and send how it ended."""
    (ended,) = attempt(function, [point], limits)
    try:
        sender.send(ended)
    except Exception as problem:  # whatever pickle and a point's own types raise: its result cannot travel
        sender.send(outcome("failed", error=as_error(problem)))
