"""Standard streams as others leave them: closed, full, cut off, or of few characters. And files that say no, in a line."""

import errno
import os
import sys
from typing import TextIO

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

BAD_INPUT, DISK_FULL = 2, 3
"""Exit codes of a file that cannot be used, and of one that takes no more."""


def prepare() -> None:
    """Occupy descriptors that were closed, so that no file takes their place; print `?` for what a stream cannot say.

    Else a journal may become standard error, which libraries, child processes and signal handlers write to.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest number that is free
    sys.stdout, sys.stderr = _usable(sys.stdout, 1), _usable(sys.stderr, 2)


def _usable(stream: TextIO | None, number: int) -> TextIO:
    if stream is None:  # then Python would print what is for standard error to standard output
        return open(number, "w", errors="replace", closefd=False)
    reconfigure = getattr(stream, "reconfigure", None)  # a notebook's or a test's has none
    if reconfigure is not None:
        reconfigure(errors="replace")
    return stream


def flush() -> None:
    """Write what is still to be written, while somebody can say that it cannot be."""
    sys.stdout.flush()


def give_up() -> None:
    """Let the rest of standard output go nowhere, so that the end of the process does not trip over it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def explained(problem: OSError) -> tuple[str, int] | None:
    """Say in one line what the system refused, and the exit code for it; None where it does not say of which file."""
    code = DISK_FULL if problem.errno in NO_ROOM else BAD_INPUT
    if problem.filename is None and code == BAD_INPUT:
        return None
    if problem.filename is None:
        give_up()
    name = "standard output" if problem.filename is None else os.fsdecode(problem.filename)
    return f"{name}: {problem.strerror}", code
