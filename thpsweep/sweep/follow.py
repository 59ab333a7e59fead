"""Keep MLflow up to date with a journal while it is written. The sweep goes on whatever becomes of MLflow."""

import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from thpsweep.sweep.plan import Plan

EVERY_S = 5.0


class Follower:
    """Bring MLflow up to date every few seconds, from a thread of its own, between entering and leaving."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._told: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="thpsweep-follower", daemon=True)

    def __enter__(self) -> Self:
        if self._plan.tracked:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def catch_up(self, *, final: bool) -> None:
        """Add to MLflow what the journal has and MLflow lacks; say so, once, where that fails."""
        if not self._plan.tracked:
            return
        try:
            _track(self._plan.directory, self._plan.root, final)
        except Exception as problem:  # whatever MLflow and its database raise: the journal has it all
            why = " ".join([f"{type(problem).__name__}:", *str(problem).split()])[:300]
            if why not in self._told:
                self._told.add(why)
                said = f"MLflow is not up to date ({why}); nothing is lost, the same command tries again"
                print(f"thpsweep: {said}", file=sys.stderr)

    def _follow(self) -> None:
        while not self._stop.wait(EVERY_S):
            self.catch_up(final=False)


def _track(directory: Path, root: Path, final: bool) -> None:
    # Imported late: MLflow takes seconds, which are better spent while the first points run.
    from thpsweep.sweep.tracking import track

    track(directory, root=root, final=final)
