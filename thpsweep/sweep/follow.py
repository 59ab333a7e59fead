"""Keep MLflow up to date with a journal while it is written. The sweep goes on whatever becomes of MLflow."""

import gc
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from thpsweep.sweep.plan import Plan
from thpsweep.sweep.tracking.target import Target

if TYPE_CHECKING:
    from thpsweep.sweep.tracking.tracker import Tracker

EVERY_S = 5.0
"""How often MLflow is brought up to date; where it cannot be, half as often each time, down to every SELDOM_S."""

SELDOM_S = 60.0

STUCK_S = 20.0
"""How long a sweep that is over waits for an MLflow that gets nothing done: longer than its requests may take."""

PATIENCE_S = 300.0
"""How long it waits for one that does."""


class Follower:
    """Bring MLflow up to date from a thread of its own, which alone talks to it, between entering and leaving."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._told: set[str] = set()
        self._is_over, self._is_final = threading.Event(), False
        self._tracker: Tracker | None = None
        self._in_step = False
        self._thread = threading.Thread(target=self._follow, name="thpsweep-follower", daemon=True)

    def __enter__(self) -> Self:
        if self._plan.tracked:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self.finish(final=False)

    def finish(self, *, final: bool) -> None:
        """Let the thread add what is left, with the files of the sweep's directory if `final`; wait, but not for ever."""
        if not self._thread.is_alive() or self._is_over.is_set():
            return
        self._is_final = final
        self._is_over.set()
        self._wait()
        if not self._in_step:
            self._tell(f"MLflow is not up to date; nothing is lost: `thpsweep sync {self._plan.directory}` catches up")

    def _wait(self) -> None:
        began_s = moved_s = time.monotonic()
        n_steps = -1
        while self._thread.is_alive() and time.monotonic() < min(began_s + PATIENCE_S, moved_s + STUCK_S):
            now = self._tracker.n_steps if self._tracker else 0
            if now != n_steps:
                n_steps, moved_s = now, time.monotonic()
            self._thread.join(0.05)

    def _follow(self) -> None:
        pause_s = 0.0  # what MLflow takes to start is best spent while the workers start
        while not self._is_over.wait(pause_s):
            pause_s = EVERY_S if self._caught_up(final=False) else min(max(2 * pause_s, EVERY_S), SELDOM_S)
        self._in_step = self._caught_up(final=self._is_final)

    def _caught_up(self, *, final: bool) -> bool:
        """Add to MLflow what the journal has and MLflow lacks; say so, once, where that fails."""
        try:
            self._tracker = self._tracker or _tracker(self._plan.directory, self._plan.target)
            self._tracker.catch_up(final=final)
        except Exception as problem:  # whatever MLflow and its database raise: the journal has it all
            text = self._plan.target.shown(" ".join(str(problem).split()))
            self._tell(f"MLflow cannot be brought up to date now ({type(problem).__name__}: {text[:300]})")
            return False
        return True

    def _tell(self, what: str) -> None:
        if what not in self._told:
            self._told.add(what)
            print(f"thpsweep: {what}", file=sys.stderr)


def _tracker(directory: Path, target: Target) -> "Tracker":
    # Imported here: MLflow takes seconds, which the driver spends on other things.
    from thpsweep.sweep.tracking.tracker import Tracker

    gc.freeze()  # what MLflow brings stays; else each full collection walks it, and there are many while we write
    return Tracker(directory, target)
