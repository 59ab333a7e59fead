"""Run points in Ray actors that the driver owns and replaces; the only importer of Ray."""

import functools
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from typing import Any

from thpsweep.model.plugins import carrying
from thpsweep.model.simulate import simulate
from thpsweep.sweep.calls import Calls
from thpsweep.sweep.chunks import Chunks
from thpsweep.sweep.point import Point
from thpsweep.sweep.serial import Arrival, Task, Terms
from thpsweep.sweep.worker import Worker


def pool(
    tasks: Sequence[Task],
    terms: Terms | None = None,
    *,
    address: str = "local",
    actors: int | None = None,
    function: Callable[[Point], Any] = simulate,
) -> Generator[Arrival, None, None]:
    """Run points in `actors` processes (None: one a CPU), yield outcomes as they come, whichever process dies.

    `address` is "local" for a Ray of our own, on this machine and for this sweep, or that of a running cluster.
    """
    terms = terms or Terms()
    ray = _started(address, actors)
    try:
        most = max(len(tasks), terms.source.ahead()[1], 1)
        n_workers = min(actors or int(ray.cluster_resources().get("CPU", 1)), most)
        # The machines of a cluster are taken to be like this one: an actor a CPU.
        on_a_machine = n_workers if address == "local" else min(n_workers, len(os.sched_getaffinity(0)))
        hire = functools.partial(
            ray.remote(num_cpus=1, max_restarts=0)(Worker).remote, carrying(function), terms.limits, on_a_machine
        )
        yield from Calls(ray, hire, n_workers, Chunks(tasks, n_workers), terms).arrivals()
    finally:
        ray.shutdown()


def call_each(calls: Sequence[Callable[[], Any]], *, address: str = "local", actors: int | None = None) -> list[Any]:
    """Make calls in Ray's workers, each once, and give their results in order: the jobs of other Hydra apps.

    A Ray that runs already is used, and left as it is. Raises: whatever the first call that fails raised.
    """
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

    on_terminate = signal.getsignal(signal.SIGTERM)
    n_cpus = (actors or len(os.sched_getaffinity(0))) if address == "local" else None
    ray.init(
        address=address, num_cpus=n_cpus, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False
    )
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_terminate)  # ray.init put its own there
    return ray
