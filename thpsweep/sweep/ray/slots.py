"""Who works where: a slot for each worker that the machines have room for, more as machines join, fewer as they leave."""

import dataclasses
import sys
import time
from collections.abc import Callable, Container, Mapping
from typing import Any

from thpsweep.errors import SweepError
from thpsweep.sweep.ray.memory_queue import MemoryQueue, layout

LOOK_S = 2.0
"""How often the driver asks who is there."""

WAIT_S = 600.0
"""How long it waits for a machine to join where none is left; its results are safe, and the same command goes on."""


@dataclasses.dataclass(frozen=True)
class Machine:
    """A node that is alive, with what it may give: its name, CPUs and memory, whoever else uses them."""

    name: str
    cpus: int
    memory_bytes: int


Look = Callable[[], Mapping[str, Machine]]
"""Tells who is there now, by an id that no other machine ever has."""


@dataclasses.dataclass
class Slot:
    """A place for one worker on a machine, and the memory that it declares. The worker has none before it is hired."""

    number: int
    machine: str
    memory_bytes: int
    worker: Any = None


class Slots:
    """Keep as many slots as the machines have room for, and points are left for; `actors` bounds them all."""

    def __init__(self, look: Look, actors: int | None, queue: MemoryQueue) -> None:
        self._look, self._most, self._queue = look, actors or sys.maxsize, queue
        self._refused: dict[str, str] = {}
        self._look_at_s = 0.0
        self._deserted_at_s: float | None = None
        self._n_made = 0
        self.machines: Mapping[str, Machine] = {}
        self.by_number: dict[int, Slot] = {}

    @property
    def room(self) -> int:
        """Count the workers that the machines have CPUs for, busy or not."""
        return min(sum(machine.cpus for machine in self.machines.values()), self._most)

    def first_look(self) -> None:
        """See who is there before anything runs. Raises: SweepError where a point fits on none of them."""
        self.machines = self._look()
        largest = max((machine.memory_bytes for machine in self.machines.values()), default=0)
        need = max((need for need, _ in self._queue.left), default=0)
        if self.machines and need > largest:
            raise SweepError(_fits_nowhere(need, largest))

    def refresh(self, busy: Container[int]) -> list[Slot]:
        """Make slots for what is left, and give those up, of the ones not busy, that are not needed or are no more.

        Gives the slots that were given up; their workers have to go. Raises: SweepError where nobody is left to work.
        """
        if time.monotonic() >= self._look_at_s:
            self.machines = {key: one for key, one in self._look().items() if key not in self._refused}
            self._look_at_s = time.monotonic() + LOOK_S
        gone = [
            slot for slot in self.by_number.values() if slot.machine not in self.machines and slot.number not in busy
        ]
        left = self._queue.left
        for key, machine in self.machines.items():
            there = [slot for slot in self.by_number.values() if slot.machine == key]
            room = self._most - len(self.by_number) + len(there)
            wanted = layout(min(machine.cpus, room), machine.memory_bytes, left)
            left = _less(left, wanted)
            gone += self._settle(key, machine, there, wanted, busy)
        for slot in gone:
            self.by_number.pop(slot.number, None)
        self._queue.expect(len(self.by_number))
        self._complain()
        return gone

    def refuse(self, key: str, why: str) -> None:
        """Use a machine no more. Raises: SweepError where it was the last one."""
        name = self.machines[key].name if key in self.machines else key
        self._refused[key] = f"{name} cannot be used: {why}"
        self.machines = {other: machine for other, machine in self.machines.items() if other != key}
        if not self.machines:
            raise SweepError("; ".join(dict.fromkeys(self._refused.values())))
        print(f"thpsweep: {self._refused[key]}", file=sys.stderr)

    def _settle(
        self, key: str, machine: Machine, there: list[Slot], wanted: list[int], busy: Container[int]
    ) -> list[Slot]:
        """Add the slots that are wanted and not there; where there is no room, give one up that is larger or unwanted."""
        spare = sorted((slot for slot in there), key=lambda slot: slot.memory_bytes)
        missing, larger = [], []
        for size in sorted(wanted):
            match = next((slot for slot in spare if slot.memory_bytes >= size), None)
            if match is None:
                missing.append(size)
                continue
            spare.remove(match)
            larger += [match] if match.memory_bytes > size else []
        free_cpus = machine.cpus - len(there)
        free_bytes = machine.memory_bytes - sum(slot.memory_bytes for slot in there)
        may_go = [slot for slot in (*larger, *spare) if slot.number not in busy]
        gone = []
        for size in reversed(missing):
            while may_go and (free_cpus < 1 or free_bytes < size):
                gone.append(may_go.pop())
                free_cpus, free_bytes = free_cpus + 1, free_bytes + gone[-1].memory_bytes
            if free_cpus >= 1 and free_bytes >= size:
                self._add(key, size)
                free_cpus, free_bytes = free_cpus - 1, free_bytes - size
        return gone

    def _add(self, key: str, memory_bytes: int) -> None:
        self._n_made += 1
        self.by_number[self._n_made] = Slot(self._n_made, key, memory_bytes)

    def _complain(self) -> None:
        """Say so where nobody can take what is left, and end it after a while."""
        need = min((need for need, _ in self._queue.left), default=0)
        if not need or any(slot.memory_bytes >= need for slot in self.by_number.values()):
            self._deserted_at_s = None
            return
        now_s = time.monotonic()
        largest = max((machine.memory_bytes for machine in self.machines.values()), default=0)
        why = _fits_nowhere(need, largest) if self.machines else "the cluster has no machine with a CPU"
        if self._deserted_at_s is None:
            self._deserted_at_s = now_s
            print(f"thpsweep: {why}; waiting {WAIT_S:.0f} s for one to join", file=sys.stderr)
        elif now_s - self._deserted_at_s > WAIT_S:
            raise SweepError(f"{why}, for {WAIT_S:.0f} s; all results are kept, the same command goes on")


def _less(left: list[tuple[int, int]], wanted: list[int]) -> list[tuple[int, int]]:
    """Take points that have a slot off what is left."""
    return [(need, n - wanted.count(need)) for need, n in left if n > wanted.count(need)]


def _fits_nowhere(need: int, largest: int) -> str:
    return (
        f"a point needs about {need / 2**30:.2f} GiB and no machine of the cluster gives Ray more than "
        f"{largest / 2**30:.2f} GiB; expected fewer replicates, regions or sharers, or a machine with more"
    )
