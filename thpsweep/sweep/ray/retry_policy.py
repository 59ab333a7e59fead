"""Find out which point a worker died of, and how often it may happen."""

import collections
import enum

from thpsweep.sweep.local.attempt import outcome
from thpsweep.sweep.local.launcher import Arrival
from thpsweep.sweep.ray.chunks import Chunk
from thpsweep.sweep.records.schema import Error, Outcome

RETRIES = 2
"""How often a point goes out again after its worker died with nobody else in it."""

MAX_LOSSES = 20
"""How often a point goes out again after its machine was taken away; there has to be an end."""


class End(enum.Enum):
    """Why a call came to nothing: its worker died, it was killed at its deadline, or its machine went."""

    DIED = "WorkerDied"
    OVERRAN = "Overrun"
    LOST = "NodeLost"


class RetryPolicy:
    """Count, for each point, calls that came to nothing. Only a death that a point had for itself counts against it."""

    def __init__(self) -> None:
        self._calls: collections.Counter[str] = collections.Counter()
        self._alone: collections.Counter[str] = collections.Counter()
        self._losses: collections.Counter[str] = collections.Counter()

    def attempts(self, key: str) -> int:
        """Say how often a point has gone out, with the call that ends now."""
        return self._calls[key] + 1

    def after(self, chunk: Chunk, end: End, why: str) -> tuple[list[Chunk], Arrival]:
        """Judge a call that came to nothing: the chunks that go out again, and the points that do not.

        A chunk whose worker died goes out in halves, until the guilty point is alone; one that took too long, point by
        point, since each further call would take as long. One whose machine went is as innocent as before.
        """
        for key, _ in chunk:
            self._calls[key] += 1
        if end is End.LOST:
            return self._after_loss(chunk, why)
        if len(chunk) > 1:
            half = len(chunk) // 2
            return ([chunk[:half], chunk[half:]] if end is End.DIED else [[task] for task in chunk]), []
        return self._after_lone(chunk, end, why)

    def _after_lone(self, chunk: Chunk, end: End, why: str) -> tuple[list[Chunk], Arrival]:
        ((key, _),) = chunk
        self._alone[key] += 1
        if end is End.OVERRAN:
            return [], [self._given_up(key, "timeout", end, why)]
        if self._alone[key] <= RETRIES:
            return [chunk], []
        message = f"its worker process died {self._alone[key]} times, alone with it: {why}"
        return [], [self._given_up(key, "quarantined", end, message)]

    def _after_loss(self, chunk: Chunk, why: str) -> tuple[list[Chunk], Arrival]:
        for key, _ in chunk:
            self._losses[key] += 1
        kept = [task for task in chunk if self._losses[task[0]] <= MAX_LOSSES]
        given_up = [key for key, _ in chunk if self._losses[key] > MAX_LOSSES]
        message = f"its machine was lost {MAX_LOSSES + 1} times: {why}"
        return [kept] if kept else [], [self._given_up(key, "quarantined", End.LOST, message) for key in given_up]

    def _given_up(self, key: str, state: str, end: End, why: str) -> tuple[str, Outcome]:
        error: Error = {"type": end.value, "message": why, "traceback": ""}
        return key, outcome(state, error=error, attempts=self._calls[key])
