"""Keep MLflow up to date with a journal while it is written. The sweep goes on whatever becomes of MLflow.

A process of its own writes to MLflow (`thpsweep.sweep.tracking.process`): what MLflow takes to start and to write does not
slow the driver down, and one that hangs can be left. It may be started before there is a plan.
"""

import contextlib
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from thpsweep.sweep.planning.plan import Plan
from thpsweep.sweep.tracking import messages

STUCK_S = 20.0
"""How long a sweep that is over waits for an MLflow that gets nothing done: longer than its requests may take."""

PATIENCE_S = 300.0
"""How long it waits for one that does."""

Process = subprocess.Popen[str]


class Follower:
    """Have MLflow brought up to date, between entering and leaving, from a process that ends with this one.

    `begun` is a process that is ready for it or soon will be.
    """

    def __init__(self, plan: Plan, begun: Process | None = None) -> None:
        self._plan, self._process = plan, begun
        self._listener = threading.Thread(target=self._listen, name="thpsweep-follower", daemon=True)
        self._moved_s = 0.0

    def __enter__(self) -> Self:
        if self._plan.tracked:
            self._process = self._process or begin()
            self._send(messages.Order(self._plan.directory, self._plan.target, self._plan.labels).encode())
            self._listener.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None:
                self.finish(final=False)
        finally:
            self._end()

    def ended(self) -> None:
        """Send that all results are in the journal: what needs nothing but them is made meanwhile."""
        self._send(messages.ENDED)

    def finish(self, *, final: bool) -> None:
        """Let it add what is left, with the files of the sweep's directory if `final`; wait, but not for ever."""
        if self._process is None:
            return
        self._send(messages.FINAL if final else messages.OVER)
        if self._waited() != 0:
            self._print(f"MLflow is not up to date; nothing is lost: {self._catching_up}")
        self._end()

    def leave(self) -> None:
        """Do without what it has not added yet."""
        if self._process is not None:
            self._print(f"MLflow may not be up to date: {self._catching_up}")
            self._end()

    @property
    def _catching_up(self) -> str:
        return f"`thpsweep sync {shlex.quote(str(self._plan.directory))}` catches up"

    def _waited(self) -> int | None:
        """Wait for the process to end, as long as something is done; give its exit code, none where it did not end."""
        assert self._process is not None
        began_s = self._moved_s = time.monotonic()
        while self._listener.is_alive() and time.monotonic() < min(began_s + PATIENCE_S, self._moved_s + STUCK_S):
            self._listener.join(0.02)
        return None if self._listener.is_alive() else self._process.wait()

    def _end(self) -> None:
        if self._process is None:
            return
        self._process.kill()  # what it was writing is not there, or is completed at the next time
        self._listener.join()
        end(self._process)
        self._process = None

    def _send(self, message: str) -> None:
        if self._process is None or self._process.stdin is None:
            return
        with contextlib.suppress(OSError):  # it is gone, which its exit code tells
            self._process.stdin.write(message + "\n")
            self._process.stdin.flush()

    def _listen(self) -> None:
        """Read the messages of the process to its end; an empty line says that something was done."""
        assert self._process is not None and self._process.stdout is not None
        for line in self._process.stdout:
            self._moved_s = time.monotonic()
            if line.strip():
                self._print(line.strip())

    def _print(self, text: str) -> None:
        print(f"thpsweep: {text}", file=sys.stderr)


def begin() -> Process:
    """Start a process that imports MLflow, which takes seconds, and then waits for an Order."""
    return subprocess.Popen(
        command(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for this process, which sends the other one messages
    )


def end(process: Process) -> None:
    """Do without a process, whatever it is at; of one that has ended nothing is left."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):  # something may be left that it did not read
            assert pipe is not None
            pipe.close()


def command() -> Sequence[str]:
    """Give the command of the process that talks to MLflow."""
    return messages.command("thpsweep.sweep.tracking.process")
