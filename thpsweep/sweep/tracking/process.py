"""Bring MLflow up to date again and again, until the driver that asked for it says that its sweep is over, or is gone."""

import contextlib
import gc
import importlib
import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from thpsweep.sweep.tracking import messages
from thpsweep.sweep.tracking.target import Target

if TYPE_CHECKING:
    from thpsweep.sweep.tracking.tracker import Tracker

EVERY_S = 2.0
"""How often MLflow is brought up to date; where it cannot be, half as often each time, down to every SELDOM_S."""

SELDOM_S = 60.0

IN_STEP, BEHIND = 0, 1
"""Exit codes."""

Report = Callable[[str], None]
"""Sends the driver a line for the user; an empty one says that something was done."""


class CatchUpLoop:
    """Follow one journal with a tracker that is made when it is first needed, as MLflow takes seconds to start."""

    def __init__(
        self, target: Target, connect: Callable[[], "Tracker"], report: Report, is_wanted: Callable[[], bool]
    ) -> None:
        self._target, self._connect, self._report, self._is_wanted = target, connect, report, is_wanted
        self._tracker: Tracker | None = None
        self._reported: set[str] = set()

    def follow(self, lines: messages.Lines) -> int:
        """Catch up until the driver ends it; give the exit code."""
        pause_s, has_ended = 0.0, False  # what MLflow takes to start is best spent while the workers start
        while True:
            message = lines.next(pause_s)
            if message == messages.GONE:
                return BEHIND
            if message in (messages.OVER, messages.FINAL):
                return IN_STEP if self._caught_up(has_ended, final=message == messages.FINAL) else BEHIND
            has_ended = has_ended or message == messages.ENDED
            pause_s = EVERY_S if self._caught_up(has_ended) else min(max(2 * pause_s, EVERY_S), SELDOM_S)

    def _caught_up(self, has_ended: bool, *, final: bool = False) -> bool:
        """Add to MLflow what the journal has and MLflow lacks; report a failure once."""
        try:
            self._tracker = self._tracker or self._connect()
            added = self._tracker.catch_up(ended=has_ended, final=final, is_idle=self._is_wanted)
        except Exception as problem:  # whatever MLflow and its database raise: the journal has it all
            self._report_once(f"MLflow cannot be brought up to date now ({self._target.why(problem)})")
            return False
        for note in added.notes:
            self._report_once(note)
        return True

    def _report_once(self, text: str) -> None:
        if text not in self._reported:
            self._reported.add(text)
            self._report(text)

    def close(self) -> None:
        """Let go of the database."""
        if self._tracker is not None:
            self._tracker.close()


def main() -> None:
    """Follow the journal that the first line on standard input names, for the process that wrote it; exit."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the driver says when it is over, and ends us if need be
        signal.signal(number, signal.SIG_IGN)
    driver = os.getppid()
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what MLflow prints is not for the driver
    lines = messages.Lines(0)
    with contextlib.suppress(Exception):  # what fails now fails again where it is needed, and is reported then
        importlib.import_module("thpsweep.sweep.tracking.tracker")
    order = messages.Order.decode(lines.next() or sys.exit(BEHIND))

    def report(what: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # the end of its lines will tell us that the driver is gone
            print(what, file=out)

    def connect() -> "Tracker":
        from thpsweep.sweep.tracking.tracker import Tracker

        gc.freeze()  # what MLflow brings stays; else each full collection walks it, and there are many while we write
        return Tracker(order.directory, order.target, labels=order.labels, step=lambda: report(""))

    with contextlib.closing(CatchUpLoop(order.target, connect, report, lambda: os.getppid() == driver)) as loop:
        code = loop.follow(lines)
    sys.exit(code)
