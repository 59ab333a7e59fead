"""Run a suspected point in a child process: what it does to its process it does to the child, whose end says what it was."""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import time
import warnings
from multiprocessing.connection import Connection, wait
from pathlib import Path

from thpsweep.linux.proc.cgroups import memory_limit, oom_kills
from thpsweep.sweep.local.attempt import Function, as_error, attempt, outcome, overrun_error
from thpsweep.sweep.planning.limits import PointLimits
from thpsweep.sweep.records.schema import Error, Outcome, Point

MAX_DEATHS = 3
"""Children that may die of a point before it is given up, as many as a pool's workers."""

GRACE_S = 5.0
"""How long after its deadline a child may say by itself that a point took too long, before it is killed."""

PR_SET_PDEATHSIG = 1
"""Source: include/uapi/linux/prctl.h."""

OOM_SCORE_ADJ = "500"
"""The kernel is to kill the child before the driver. Source: Documentation/filesystems/proc.rst, /proc/PID/oom_score_adj."""


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
    context = multiprocessing.get_context("fork")  # what runs points need not travel, as closures of a plugin cannot
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(sender, function, point, limits), daemon=True)
    with warnings.catch_warnings():
        # Python 3.12 warns of forks beside other threads: the child calls nothing of what ours hold locks of.
        warnings.simplefilter("ignore", DeprecationWarning)
        child.start()
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


def _child(sender: Connection, function: Function, point: Point, limits: PointLimits) -> None:
    """Run the point; end with the driver, and leave its signals to it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE_ADJ)
    (ended,) = attempt(function, [point], limits)
    try:
        sender.send(ended)
    except Exception as problem:  # whatever pickle and a point's own types raise: its result cannot travel
        sender.send(outcome("failed", error=as_error(problem)))
    os._exit(0)
