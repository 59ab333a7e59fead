"""Run points in Ray actors that the driver owns and replaces; the only importer of Ray."""

import functools
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

from thpsweep.model.capture import files
from thpsweep.model.plugins import carrying
from thpsweep.model.simulate import simulate_each
from thpsweep.sweep.local.attempt import Function
from thpsweep.sweep.local.serial import Arrival, Task, Terms
from thpsweep.sweep.local.worker import Worker
from thpsweep.sweep.ray.calls import Calls
from thpsweep.sweep.ray.join import Head, cannot_join, reachable, secure
from thpsweep.sweep.ray.memory_queue import MemoryQueue
from thpsweep.sweep.ray.slots import Machine, Slot, Slots
from thpsweep.sweep.records.identity import identity
from thpsweep.sweep.records.schema import CheckedPoint


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
    """
    terms = terms or Terms()
    alone = address == "local"
    has_token = alone or secure()
    ray = _started(address, actors)
    try:
        queue = MemoryQueue(tasks)
        slots = Slots(_Look(ray, alone), actors, queue)
        packed = ray.cloudpickle.dumps(functools.partial(Worker, carrying(function), terms.limits))
        attachments = _Attachments(ray)
        attachments.of(point for _, point in tasks)  # a file that cannot be read is found out before anything runs
        start_worker = functools.partial(_start_worker, ray.remote(_guard()), slots, (packed, has_token and not alone))
        yield from Calls(ray, start_worker, slots, queue, terms, identity(), attachments.of).arrivals()
    finally:
        ray.shutdown()


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


class _Look:
    """List the nodes that are alive and have a CPU; while the head is silent, those of the last time."""

    def __init__(self, ray: Any, alone: bool) -> None:
        self._ray, self._alone = ray, alone
        self._head = Head(ray.get_runtime_context().gcs_address)
        self._last: dict[str, Machine] = {}

    def __call__(self) -> dict[str, Machine]:
        if self._alone or self._head.answers():
            self._last = dict(filter(None, map(self._machine, self._ray.nodes())))
        return self._last

    def _machine(self, node: dict[str, Any]) -> tuple[str, Machine] | None:
        cpus, memory_bytes = int(node["Resources"].get("CPU", 0)), int(node["Resources"].get("memory", 0))
        if not node["Alive"] or not cpus:
            return None
        name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
        return node["NodeID"], Machine(name, cpus, sys.maxsize if self._alone else memory_bytes)


def _start_worker(guard: Any, slots: Slots, given: tuple[Any, ...], slot: Slot) -> Any:
    """Begin a worker on the machine of its slot, and declare its memory to Ray; on this machine alone it has its share."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = sum(other.machine == slot.machine for other in slots.by_number.values())
    place = NodeAffinitySchedulingStrategy(slot.machine, soft=False)
    declared_bytes = 0 if slots.machines[slot.machine].memory_bytes == sys.maxsize else slot.memory_bytes
    options = {"num_cpus": 1, "max_restarts": 0, "memory": declared_bytes or None, "scheduling_strategy": place}
    return guard.options(**options).remote(*given, there, declared_bytes)


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
    ray = loaded if has_begun else _started(address, actors)
    try:
        call = ray.remote(num_cpus=1, max_retries=0)(_call)
        results: list[Any] = ray.get([call.remote(function) for function in calls])
        return results
    finally:
        if not has_begun:
            ray.shutdown()


def _call(function: Callable[[], Any]) -> Any:
    return function()


def _started(address: str, actors: int | None) -> Any:
    """Import and start Ray. What it reads from the environment it reads when it is imported."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Under `uv run` Ray would make each worker an environment of its own; ours is the driver's.
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
    if address == "local":
        # Despite its name it holds on Linux too: 0 makes every process of Ray listen on 127.0.0.1 and nowhere else.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    import ray
    import ray._private.services

    on_terminate = signal.getsignal(signal.SIGTERM)
    n_cpus = (actors or len(os.sched_getaffinity(0))) if address == "local" else None
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False}
    try:
        if address != "local":
            reachable(ray._private.services.canonicalize_bootstrap_address(address))
        ray.init(address=address, num_cpus=n_cpus, **quiet)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as problem:
        if address == "local":
            raise
        raise cannot_join(address, problem) from problem
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_terminate)  # ray.init put its own there
    return ray
