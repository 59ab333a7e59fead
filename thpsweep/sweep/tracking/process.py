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

Say = Callable[[str], None]
"""Tells the driver what the user has to know; nothing: that something was done."""


class Following:
    """Follow one journal with a tracker that is made when it is first needed, as MLflow takes seconds to start."""

    def __init__(
        self, target: Target, connect: Callable[[], "Tracker"], say: Say, is_wanted: Callable[[], bool]
    ) -> None:
        self._target, self._connect, self._say, self._is_wanted = target, connect, say, is_wanted
        self._tracker: Tracker | None = None
        self._told: set[str] = set()

    def follow(self, lines: messages.Lines) -> int:
        """Catch up until told otherwise; give the exit code."""
        pause_s, has_ended = 0.0, False  # what MLflow takes to start is best spent while the workers start
        while True:
            word = lines.next(pause_s)
            if word == messages.GONE:
                return BEHIND
            if word in (messages.OVER, messages.FINAL):
                return IN_STEP if self._caught_up(has_ended, final=word == messages.FINAL) else BEHIND
            has_ended = has_ended or word == messages.ENDED
            pause_s = EVERY_S if self._caught_up(has_ended) else min(max(2 * pause_s, EVERY_S), SELDOM_S)

    def _caught_up(self, has_ended: bool, *, final: bool = False) -> bool:
        """Add to MLflow what the journal has and MLflow lacks; say so, once, where that fails."""
        try:
            self._tracker = self._tracker or self._connect()
            self._tracker.catch_up(ended=has_ended, final=final, is_idle=self._is_wanted)
        except Exception as problem:  # whatever MLflow and its database raise: the journal has it all
            said = f"MLflow cannot be brought up to date now ({self._target.why(problem)})"
            if said not in self._told:
                self._told.add(said)
                self._say(said)
            return False
        return True


def main() -> None:
    """Follow the journal that the first line on standard input names, for the process that wrote it; exit."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the driver says when it is over, and ends us if need be
        signal.signal(number, signal.SIG_IGN)
    driver = os.getppid()
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what MLflow prints is not for the driver
    lines = messages.Lines(0)
    with contextlib.suppress(Exception):  # what fails now fails again where it is needed, and is told then
        importlib.import_module("thpsweep.sweep.tracking.tracker")
    order = messages.Order.read(lines.next() or sys.exit(BEHIND))

    def say(what: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # the end of its lines will tell us that the driver is gone
            print(what, file=out)

    def connect() -> "Tracker":
        from thpsweep.sweep.tracking.tracker import Tracker

        gc.freeze()  # what MLflow brings stays; else each full collection walks it, and there are many while we write
        return Tracker(order.directory, order.target, step=lambda: say(""))

    sys.exit(Following(order.target, connect, say, lambda: os.getppid() == driver).follow(lines))
