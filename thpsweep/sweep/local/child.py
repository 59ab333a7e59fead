"""Fork a process that ends with this one and leaves its signals to it."""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import warnings
from collections.abc import Callable
from multiprocessing.context import ForkProcess
from pathlib import Path
from types import FrameType

PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15
"""Source: include/uapi/linux/prctl.h."""

OOM_SCORE_ADJ = "500"
"""The kernel is to kill the child before the driver. Source: Documentation/filesystems/proc.rst, /proc/PID/oom_score_adj."""

CONTEXT = multiprocessing.get_context("fork")
"""What runs in a child need not travel, as closures of a plugin cannot."""


def fork(name: str, body: Callable[[], None]) -> ForkProcess:
    """Begin `body()` in a child; `ps` and `top` show its name."""
    child = CONTEXT.Process(target=_run, args=(os.getpid(), name, body), daemon=True)
    with warnings.catch_warnings():
        # Python 3.12 warns of forks beside other threads: the child calls nothing of what ours hold locks of.
        warnings.simplefilter("ignore", DeprecationWarning)
        child.start()
    return child


def _run(parent: int, name: str, body: Callable[[], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave_to_parent)
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended before it could have been noticed
        os._exit(1)
    libc.prctl(PR_SET_NAME, name.encode())
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE_ADJ)
    body()
    os._exit(0)


def _leave_to_parent(number: int, frame: FrameType | None) -> None:
    """Do nothing. A handler, as programs that the child starts would inherit that a signal is ignored."""
