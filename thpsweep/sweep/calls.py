"""The calls in flight, one a worker: sent, received, and replaced when they come to nothing."""

import dataclasses
import math
import re
import time
from collections.abc import Callable, Generator
from typing import Any

from thpsweep.errors import SweepError
from thpsweep.sweep.attempt import Outcome, as_error, outcome, overrun_error
from thpsweep.sweep.chunks import Chunk, Chunks
from thpsweep.sweep.deaths import Deaths, End
from thpsweep.sweep.serial import Arrival, Terms
from thpsweep.sweep.worker import MOST_S

POLL_S = 0.5
"""How long the driver waits for news before it looks up; deadlines and signals are handled in between."""

GRACE_S = 5.0
"""How long after its deadline a worker may say by itself that a point took too long, before it is killed."""

MAX_FALSE_STARTS = 5
"""Workers in a row, of each place, that die before they were given a point; then the next one would, too."""


@dataclasses.dataclass
class Call:
    """A chunk on its way; an empty one only says that a new worker is there. Units: due_s on the monotonic clock."""

    number: int
    chunk: Chunk
    due_s: float
    overran: bool = False


class Calls:
    """Keep every worker busy until each point has an outcome. `hire` makes a worker; `ray` is the module."""

    def __init__(self, ray: Any, hire: Callable[[], Any], n_workers: int, chunks: Chunks, terms: Terms) -> None:
        self._ray, self._hire, self._chunks, self._terms = ray, hire, chunks, terms
        self._workers: list[Any] = [None] * n_workers
        self._in_flight: dict[Any, Call] = {}
        self._deaths = Deaths()
        self._false_starts = 0

    def arrivals(self) -> Generator[Arrival, None, None]:
        """Yield outcomes as they come. Raises: SweepError where workers cannot even start."""
        self._refill()
        while self._in_flight:
            ready, _ = self._ray.wait(list(self._in_flight), num_returns=1, timeout=POLL_S)
            if ready:  # others may have come at the same time
                ready, _ = self._ray.wait(list(self._in_flight), num_returns=len(self._in_flight), timeout=0)
            arrival = [ended for reference in ready for ended in self._received(reference)]
            self._send()  # first, so that workers work while the journal is written
            if arrival:
                yield arrival
            self._refill()
            self._kill_overdue()

    def _refill(self) -> None:
        """Ask for more where workers would be idle, now that all that came in is known, and send it."""
        n_idle = len(self._workers) - len(self._in_flight)
        if n_idle and not len(self._chunks) and not self._terms.draining.is_set():
            self._chunks.add(self._terms.source.more(n_idle))
        self._send()

    def _send(self) -> None:
        """Give each idle worker its next points, and each one that died a successor, if there is anything to do."""
        busy = {call.number for call in self._in_flight.values()}
        for number, worker in enumerate(self._workers):
            if number in busy or not len(self._chunks) or self._terms.draining.is_set():
                continue
            if worker is None:
                self._workers[number] = self._hire()
            self._call(number, [] if worker is None else self._chunks.take(number))

    def _call(self, number: int, chunk: Chunk) -> None:
        deadline_s = self._terms.limits.deadline_s
        due_s = time.monotonic() + deadline_s + MOST_S + GRACE_S if chunk and deadline_s is not None else math.inf
        reference = self._workers[number].run.remote([point for _, point in chunk])
        self._in_flight[reference] = Call(number, chunk, due_s)

    def _kill_overdue(self) -> None:
        """Kill workers that are stuck where no signal reaches them; their calls then come to nothing."""
        for call in self._in_flight.values():
            if time.monotonic() > call.due_s and not call.overran:
                call.overran = True
                self._ray.kill(self._workers[call.number])

    def _received(self, reference: Any) -> Arrival:
        """Take a call's outcomes; those of its points that have none go out again."""
        call = self._in_flight.pop(reference)
        try:
            outcomes: list[Outcome] = self._ray.get(reference)
        except self._ray.exceptions.RayActorError as death:
            return self._after_death(call, death)
        except self._ray.exceptions.RayError as problem:  # not the worker: points or results could not travel
            return self._after_trouble(call, problem)
        self._false_starts = 0
        self._chunks.again(call.chunk[len(outcomes) :])
        arrival = []
        for (key, _), ended in zip(call.chunk, outcomes, strict=False):
            self._chunks.pace.measured(key, ended["wall_s"])
            arrival.append((key, {**ended, "attempts": self._deaths.attempts(key)}))
        return arrival

    def _after_death(self, call: Call, death: Any) -> Arrival:
        self._ray.kill(self._workers[call.number])  # one that is only out of reach would come back
        self._workers[call.number] = None
        if not call.chunk:
            return self._after_false_start(death)
        end, why = _judged(death, call, self._terms.limits.deadline_s)
        again, given_up = self._deaths.after(call.chunk, end, why)
        self._chunks.again(*again)
        return given_up

    def _after_false_start(self, death: Any) -> Arrival:
        self._false_starts += 1
        if death.actor_init_failed or self._false_starts >= MAX_FALSE_STARTS * len(self._workers):
            raise SweepError(f"workers die before they are given anything: {_cause(death)}") from death
        return []

    def _after_trouble(self, call: Call, problem: Exception) -> Arrival:
        """Let the point fail whose result cannot travel, when it is alone."""
        if len(call.chunk) > 1:
            self._chunks.again(*([task] for task in call.chunk))
            return []
        return [
            (key, outcome("failed", error=as_error(problem), attempts=self._deaths.attempts(key)))
            for key, _ in call.chunk
        ]


def _judged(death: Any, call: Call, deadline_s: float | None) -> tuple[End, str]:
    """Tell the ends of a worker apart. A node that Ray gave up takes innocent workers with it."""
    if call.overran:
        return End.OVERRAN, overrun_error(deadline_s or 0.0)
    lost = death.preempted or re.search(r"its node has died|is temporarily unavailable", str(death))
    return (End.LOST if lost else End.DIED), _cause(death)


def _cause(death: Exception) -> str:
    """Say in one sentence what Ray says in a page."""
    text = " ".join(str(death).split())
    detail = re.search(r"Worker exit detail: (.*?)\. ", text + " ")
    return detail[1] if detail else text[:200]
