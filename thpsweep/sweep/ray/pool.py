"""Run points in Ray actors that the driver owns and replaces."""

import contextlib
import dataclasses
import functools
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

from thpsweep.model.capture import files
from thpsweep.model.plugins import carrying
from thpsweep.model.simulate import simulate_each
from thpsweep.sweep.local.attempt import Function
from thpsweep.sweep.local.launcher import Arrival, Remaining, Task, TaskSource, Terms, refuse_too_large
from thpsweep.sweep.local.worker import Worker
from thpsweep.sweep.planning.limits import RAY_BYTES, PointLimits, Room
from thpsweep.sweep.ray.calls import Calls
from thpsweep.sweep.ray.errors import RayLostError, RayUnavailableError
from thpsweep.sweep.ray.join import Head, secure
from thpsweep.sweep.ray.memory_queue import MemoryQueue
from thpsweep.sweep.ray.process import Link, RayProcess
from thpsweep.sweep.ray.slots import Machine, Slot, Slots
from thpsweep.sweep.ray.start import start
from thpsweep.sweep.records.identity import identity
from thpsweep.sweep.records.schema import CheckedPoint

ARRIVAL, MORE = "arrival", "more"
"""Messages of the process that holds Ray: points that ended, and a question for more."""

MAX_FRUITLESS = 3
"""Rays of our own in a row that may die before a single result came in; then the next one would, too."""


def run_pool(
    tasks: Sequence[Task],
    terms: Terms | None = None,
    *,
    address: str = "local",
    actors: int | None = None,
    function: Function = simulate_each,
) -> Generator[Arrival, None, None]:
    """Run points in `actors` processes (None: one a CPU), yield outcomes as they come, whichever process dies.

    `address` is "local" for a Ray of our own, on this machine and for this sweep, or that of a running cluster.
    Raises: RayUnavailableError where a Ray of our own does not start, or does not stay; SweepError for a cluster.
    """
    terms = terms or Terms()
    if address != "local":
        yield from _run_once(tasks, terms, address, actors, function)
        return
    left = Remaining(tasks, terms.source)
    terms = dataclasses.replace(terms, source=left)
    n_fruitless = 0
    while not terms.draining.is_set():
        try:
            for arrival in _run_once(left.tasks, terms, address, actors, function):
                n_fruitless = 0
                left.end(arrival)
                yield arrival
            return
        except RayLostError as problem:
            n_fruitless += 1
            if n_fruitless >= MAX_FRUITLESS:
                times = f"{n_fruitless} times in a row without a result"
                expected = "expected a Ray that stays, or hydra/launcher=serial"
                raise RayUnavailableError(f"{problem}, {times}; {expected}") from problem
            if not terms.draining.is_set():
                print(f"thpsweep: {problem}; starting Ray anew", file=sys.stderr)


@dataclasses.dataclass(frozen=True)
class _Job:
    """What is to be run in Ray. `room` is the memory for points in a Ray of our own."""

    tasks: Sequence[Task]
    limits: PointLimits
    address: str
    actors: int | None
    function: Function
    room: Room | None
    needs_token: bool


def _run_once(
    tasks: Sequence[Task], terms: Terms, address: str, actors: int | None, function: Function
) -> Generator[Arrival, None, None]:
    """Run points in one Ray, as long as it lives. Raises: RayLostError where it dies."""
    alone = address == "local"
    needs_token = not alone and secure()
    room = Room.beside(RAY_BYTES) if alone else None
    fitting, refused = refuse_too_large(tasks, room) if room else (tasks, [])
    while room and refused:
        yield refused
        if fitting:
            break
        fitting, refused = refuse_too_large(terms.source.more(1), room)
        if not fitting and not refused:
            return
    job = _Job(fitting, terms.limits, address, actors, function, room, needs_token)
    yield from _beside(job, terms) if alone and "ray" not in sys.modules else _within(job, terms)


def _within(job: _Job, terms: Terms) -> Generator[Arrival, None, None]:
    """Use Ray in this process: that of a cluster, or one where Ray is loaded already."""
    ray = start(job.address, job.actors)
    try:
        yield from _calls(ray, job, terms).arrivals()
    finally:
        ray.shutdown()


def _beside(job: _Job, terms: Terms) -> Generator[Arrival, None, None]:
    """Use a Ray of our own, in a process beside this one. Raises: RayLostError where it dies."""

    def work(link: Link) -> None:
        ray = start(job.address, job.actors)
        link.started()
        theirs = Terms(job.limits, link.draining, source=_Driver(link))
        for arrival in _calls(ray, job, theirs).arrivals():
            link.tell(ARRIVAL, arrival)

    with contextlib.closing(RayProcess(work)) as process:
        for kind, content in process.messages(terms.draining):
            if kind == ARRIVAL:
                yield content
            elif kind == MORE:
                process.answer(terms.source.more(content))


class _Driver(TaskSource):
    """The driver's source of tasks, seen from the process that holds Ray."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def more(self, n_idle: int) -> Sequence[Task]:
        """Ask the driver, which has taken all that was sent before."""
        tasks: Sequence[Task] = self._link.ask(MORE, n_idle)
        return tasks


def _calls(ray: Any, job: _Job, terms: Terms) -> Calls:
    """Make ready to run points in Ray's actors."""
    room = job.room
    queue = MemoryQueue(job.tasks, most_bytes=room.usable_bytes if room else sys.maxsize)
    slots = Slots(_Alone(ray, room) if room else _Look(ray), job.actors, queue)
    reserved_bytes = RAY_BYTES if room else 0
    packed = ray.cloudpickle.dumps(functools.partial(Worker, carrying(job.function), job.limits, reserved_bytes))
    attachments = _Attachments(ray)
    attachments.of(point for _, point in job.tasks)  # a file that cannot be read is found out before anything runs
    start_worker = functools.partial(
        _start_worker, ray.remote(_guard()), slots, room is None, (packed, job.needs_token)
    )
    return Calls(ray, start_worker, slots, queue, terms, identity(), attachments.of, room)


class _Attachments:
    """Captured files that points name, in Ray's object store: from there each goes to each machine once."""

    def __init__(self, ray: Any) -> None:
        self._ray, self._kept = ray, dict[str, Any]()

    def of(self, points: Iterable[CheckedPoint]) -> list[Any]:
        """Give what some points need. Raises: as files.read_attachment."""
        named = files.named_by(point["point"] for point in points)
        for path in named:
            if path not in self._kept:
                self._kept[path] = self._ray.put(files.read_attachment(path))
        return [self._kept[path] for path in named]


class _Alone:
    """Give the one machine of our own Ray, with the memory that there is for points."""

    def __init__(self, ray: Any, room: Room) -> None:
        (node,) = ray.nodes()
        name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
        self._machines = {node["NodeID"]: Machine(name, int(node["Resources"].get("CPU", 0)), room.usable_bytes)}

    def __call__(self) -> dict[str, Machine]:
        return self._machines


class _Look:
    """List the nodes of a cluster that are alive and have a CPU; while the head is silent, those of the last time."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._head = Head(ray.get_runtime_context().gcs_address)
        self._last: dict[str, Machine] = {}

    def __call__(self) -> dict[str, Machine]:
        if self._head.answers():
            self._last = dict(filter(None, map(self._machine, self._ray.nodes())))
        return self._last

    def _machine(self, node: dict[str, Any]) -> tuple[str, Machine] | None:
        cpus, memory_bytes = int(node["Resources"].get("CPU", 0)), int(node["Resources"].get("memory", 0))
        if not node["Alive"] or not cpus:
            return None
        name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
        return node["NodeID"], Machine(name, cpus, memory_bytes)


def _start_worker(guard: Any, slots: Slots, declares: bool, given: tuple[bytes, bool], slot: Slot) -> Any:
    """Begin a worker on the machine of its slot, and declare its memory to the Ray of a cluster, which others use, too."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = sum(other.machine == slot.machine for other in slots.by_number.values())
    place = NodeAffinitySchedulingStrategy(slot.machine, soft=False)
    declared_bytes = slot.memory_bytes if declares else None
    options = {"num_cpus": 1, "max_restarts": 0, "memory": declared_bytes, "scheduling_strategy": place}
    return guard.options(**options).remote(*given, there, slot.memory_bytes)


def _guard() -> type:
    """Make the class of the actors. It is local, so that it travels whole: a node may have another thpsweep, or none."""

    class Worker:  # as the processes are called
        """Let a worker begin once it is known to be alike."""

        def __init__(self, packed: bytes, needs_token: bool, *share: int) -> None:
            self._packed, self._needs_token, self._share = packed, needs_token, share
            self._worker: Any = None
            self._unpacked: set[Any] = set()

        def greet(self, wanted: dict[str, str]) -> dict[str, str]:
            """Say who is here, and begin if that is wanted."""
            import os
            import pickle

            if self._needs_token and os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
                return {"problem": "Ray runs there without its token (RAY_AUTH_MODE=token)"}
            try:
                from thpsweep.sweep.records.identity import identity as identity_there
            except ImportError as problem:
                return {"problem": f"this thpsweep is not installed there ({problem})"}
            theirs = identity_there()
            if all(theirs.get(name) == wanted[name] for name in wanted):
                self._worker = pickle.loads(self._packed)(*self._share)
            return theirs

        def run(self, points: list[Any], attachments: list[Any]) -> Any:
            """Run points, with the captured files that they name."""
            import ray

            from thpsweep.model.capture.files import provide

            if new := set(attachments) - self._unpacked:
                provide(ray.get(list(new)))
                self._unpacked |= new
            return self._worker.run(points)

    return Worker


def call_each(calls: Sequence[Callable[[], Any]], *, address: str = "local", actors: int | None = None) -> list[Any]:
    """Make calls in Ray's workers, each once, and give their results in order: the jobs of other Hydra apps.

    A Ray that runs already is used, and left as it is. Raises: whatever the first call that fails raised.
    """
    if address != "local":
        secure()
    loaded: Any = sys.modules.get("ray")  # importing it here would be before its environment is set
    has_begun = loaded is not None and loaded.is_initialized()
    ray = loaded if has_begun else start(address, actors)
    try:
        call = ray.remote(num_cpus=1, max_retries=0)(_call)
        results: list[Any] = ray.get([call.remote(function) for function in calls])
        return results
    finally:
        if not has_begun:
            ray.shutdown()


def _call(function: Callable[[], Any]) -> Any:
    return function()
