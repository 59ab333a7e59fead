"""The calls in flight, one a worker: sent, received, and replaced when they come to nothing."""

import collections
import dataclasses
import math
import re
import time
from collections.abc import Callable, Generator
from typing import Any

from thpsweep.linux.proc.cgroups import oom_kills
from thpsweep.sweep.local.attempt import as_error, outcome, overrun_error
from thpsweep.sweep.local.isolated import killed_for_memory
from thpsweep.sweep.local.launcher import Arrival, Terms, refuse_too_large
from thpsweep.sweep.local.worker import MOST_S
from thpsweep.sweep.planning.limits import Room
from thpsweep.sweep.ray.chunks import Chunk
from thpsweep.sweep.ray.memory_queue import MemoryQueue
from thpsweep.sweep.ray.retry_policy import End, RetryPolicy
from thpsweep.sweep.ray.slots import Slot, Slots
from thpsweep.sweep.records.identity import Identity, difference
from thpsweep.sweep.records.schema import CheckedPoint, Outcome

POLL_S = 0.5
"""How long the driver waits for news before it looks up; deadlines and signals are handled in between."""

GRACE_S = 5.0
"""How long after its deadline a worker may say by itself that a point took too long, before it is killed."""

MAX_FALSE_STARTS = 5
"""Workers in a row, of each place, that die before they were given a point; then the next one would, too."""


@dataclasses.dataclass
class Call:
    """A chunk on its way; an empty one only greets a new worker. Units: due_s on the monotonic clock."""

    slot: Slot
    chunk: Chunk
    due_s: float
    overran: bool = False


class Calls:
    """Keep every worker busy until each point has an outcome. `start_worker` makes one for a slot; `ray` is the module.

    `wanted` is who a worker has to be alike: one that would compute something else is given nothing. `attachments` gives
    what travels with points. `room` is the memory for points where all of them run on this
    machine.
    """

    def __init__(
        self,
        ray: Any,
        start_worker: Callable[[Slot], Any],
        slots: Slots,
        queue: MemoryQueue,
        terms: Terms,
        wanted: Identity,
        attachments: Callable[[list[CheckedPoint]], list[Any]],
        room: Room | None,
    ) -> None:
        self._ray, self._start_worker, self._slots, self._queue, self._terms = ray, start_worker, slots, queue, terms
        self._wanted, self._attachments, self._room = wanted, attachments, room
        self._refused: Arrival = []
        self._oom_kills = oom_kills()
        self._in_flight: dict[Any, Call] = {}
        self._retries = RetryPolicy()
        self._false_starts: collections.Counter[str] = collections.Counter()

    def arrivals(self) -> Generator[Arrival, None, None]:
        """Yield outcomes as they come. Raises: SweepError where workers cannot even start."""
        self._slots.first_look()
        self._refill()
        while self._is_working():
            ready = self._ready()
            arrival = [ended for reference in ready for ended in self._received(reference)]
            self._send()  # first, so that workers work while the journal is written
            if arrival:
                yield arrival
            self._refill()
            if self._refused:
                yield self._refused
                self._refused = []
            self._kill_overdue()

    def _refill(self) -> None:
        """Ask for more where workers would be idle, now that all that came in is known, and send it."""
        n_idle = self._slots.room - sum(bool(call.chunk) for call in self._in_flight.values())
        if n_idle > 0 and not len(self._queue) and not self._terms.draining.is_set():
            more = self._terms.source.more(n_idle)
            if self._room is not None:
                more, self._refused = refuse_too_large(more, self._room)
            self._queue.add(more)
        self._send()

    def _is_working(self) -> bool:
        """Tell whether anything is still to come; a worker that has not said anything yet has nothing to give."""
        waits = (len(self._queue) or self._refused) and not self._terms.draining.is_set()
        return bool(waits) or any(call.chunk for call in self._in_flight.values())

    def _ready(self) -> list[Any]:
        """Wait for a call to end, or for a while; others may have ended at the same time."""
        flying = list(self._in_flight)
        if not flying:
            time.sleep(POLL_S)
            return []
        ready, _ = self._ray.wait(flying, num_returns=1, timeout=POLL_S)
        if ready:
            ready, _ = self._ray.wait(flying, num_returns=len(flying), timeout=0)
        return list(ready)

    def _send(self) -> None:
        """Give each idle worker its next points, and each slot without one a worker, if there is anything to do."""
        if self._terms.draining.is_set() or not len(self._queue):
            return
        busy = {call.slot.number for call in self._in_flight.values()}
        for slot in self._slots.refresh(busy):
            self._dismiss(slot)
        for slot in list(self._slots.by_number.values()):
            if slot.number in busy or not len(self._queue):
                continue
            if slot.worker is None:
                slot.worker = self._start_worker(slot)
                self._in_flight[slot.worker.greet.remote(self._wanted)] = Call(slot, [], math.inf)
            elif chunk := self._queue.take(slot.number, slot.memory_bytes):
                self._call(slot, chunk)

    def _call(self, slot: Slot, chunk: Chunk) -> None:
        deadline_s = self._terms.limits.deadline_s
        in_turn = min(len(chunk), 2)  # points that ran side by side, and then the first of them alone
        due_s = math.inf if deadline_s is None else time.monotonic() + in_turn * deadline_s + MOST_S + GRACE_S
        points = [point for _, point in chunk]
        reference = slot.worker.run.remote(points, self._attachments(points))
        self._in_flight[reference] = Call(slot, chunk, due_s)

    def _kill_overdue(self) -> None:
        """Kill workers that are stuck where no signal reaches them; their calls then come to nothing."""
        for call in self._in_flight.values():
            if time.monotonic() > call.due_s and not call.overran:
                call.overran = True
                self._ray.kill(call.slot.worker)

    def _received(self, reference: Any) -> Arrival:
        """Take a call's outcomes; those of its points that have none go out again."""
        call = self._in_flight.pop(reference)
        errors = self._ray.exceptions
        try:
            answer = self._ray.get(reference)
        except (errors.RayActorError, errors.ObjectLostError, errors.ActorUnschedulableError) as death:
            return self._after_death(call, death)
        except errors.RayError as problem:  # not the worker: points or results could not travel
            return self._after_trouble(call, problem)
        if call.chunk:
            return self._ended(call.chunk, answer)
        self._greeted(call.slot, answer)
        return []

    def _greeted(self, slot: Slot, theirs: Identity) -> None:
        """Let a new worker begin, or do without its machine."""
        self._false_starts[slot.machine] = 0
        if unlike := difference(theirs, self._wanted):
            self._dismiss(slot)
            self._slots.refuse(slot.machine, unlike)

    def _ended(self, chunk: Chunk, outcomes: list[Outcome | None]) -> Arrival:
        self._queue.again([task for task, ended in zip(chunk, outcomes, strict=True) if not ended])
        arrival: Arrival = []
        for (key, _), ended in zip(chunk, outcomes, strict=True):
            if not ended:
                continue
            self._queue.measured(key, ended["wall_s"])
            arrival.append((key, {**ended, "attempts": self._retries.attempts(key)}))
        return arrival

    def _dismiss(self, slot: Slot) -> None:
        """Let a worker go; also one that is only out of reach, which would come back."""
        if slot.worker is not None:
            self._ray.kill(slot.worker)
        slot.worker = None

    def _after_death(self, call: Call, death: Any) -> Arrival:
        self._dismiss(call.slot)
        if not call.chunk:
            self._after_false_start(call.slot, death)
            return []
        end, why = _judged(death, call, self._terms.limits.deadline_s)
        if self._room is not None and end is End.DIED and oom_kills() > self._oom_kills:
            self._oom_kills, why = oom_kills(), killed_for_memory()
        again, given_up = self._retries.after(call.chunk, end, why)
        self._queue.again(*again)
        return given_up

    def _after_false_start(self, slot: Slot, death: Any) -> None:
        """Do without a machine whose workers die before they are given anything; one that has left is forgotten."""
        if _is_lost(death):
            return
        self._false_starts[slot.machine] += 1
        there = sum(other.machine == slot.machine for other in self._slots.by_number.values())
        if self._false_starts[slot.machine] >= MAX_FALSE_STARTS * max(there, 1):
            self._slots.refuse(slot.machine, f"workers die before they are given anything: {_cause(death)}")

    def _after_trouble(self, call: Call, problem: Exception) -> Arrival:
        """Let the point fail whose result cannot travel, when it is alone."""
        if not call.chunk:
            self._dismiss(call.slot)
            self._slots.refuse(call.slot.machine, f"workers cannot begin there: {_cause(problem)}")
        if len(call.chunk) > 1:
            self._queue.again(*([task] for task in call.chunk))
            return []
        return [
            (key, outcome("failed", error=as_error(problem), attempts=self._retries.attempts(key)))
            for key, _ in call.chunk
        ]


def _judged(death: Any, call: Call, deadline_s: float | None) -> tuple[End, str]:
    """Tell the ends of a worker apart. A node that Ray gave up takes innocent workers with it."""
    if call.overran:
        return End.OVERRAN, overrun_error(deadline_s or 0.0)
    return (End.LOST if _is_lost(death) else End.DIED), _cause(death)


def _is_lost(death: Any) -> bool:
    """Tell whether the worker's machine, or the way to it, is gone."""
    pattern = r"its node has died|node .* (is )?dead|is temporarily unavailable|not schedulable|[Oo]bject .* lost"
    return bool(getattr(death, "preempted", False) or re.search(pattern, str(death)))


def _cause(death: Exception) -> str:
    """Say in one sentence what Ray says in a page."""
    text = " ".join(str(death).split())
    detail = re.search(r"Worker exit detail: (.*?)\. ", text + " ")
    return detail[1] if detail else text[:200]
