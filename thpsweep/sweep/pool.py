"""Run points in Ray actors that the driver owns and replaces; the only importer of Ray."""

import functools
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from typing import Any

from thpsweep.model.plugins import carrying
from thpsweep.model.simulate import simulate
from thpsweep.sweep.chunks import Chunks
from thpsweep.sweep.point import Point
from thpsweep.sweep.serial import Outcome, Task, as_error, attempt, outcome

RETRIES = 2
"""How often a point goes out again, alone, after its worker died."""

POLL_S = 0.5
"""How long the driver waits for news before it looks up; signals are handled in between."""


class Worker:
    """Run points in a process of its own; knows neither Hydra nor MLflow."""

    def __init__(self, function: Callable[[Point], Any]) -> None:
        self._function = function

    def run(self, chunk: Sequence[Task]) -> list[Outcome]:
        """Give each point's outcome, in order."""
        return [attempt(self._function, point) for _, point in chunk]


def pool(
    tasks: Sequence[Task],
    *,
    address: str = "local",
    actors: int | None = None,
    function: Callable[[Point], Any] = simulate,
) -> Generator[tuple[str, Outcome], None, None]:
    """Run points in `actors` processes (None: one a CPU), yield outcomes as they come, whichever process dies.

    `address` is "local" for a Ray of our own, on this machine and for this sweep, or that of a running cluster.
    """
    ray = _started(address, actors)
    try:
        n_actors = min(actors or int(ray.cluster_resources().get("CPU", 1)), len(tasks))
        yield from _Calls(ray, tasks, n_actors, function).outcomes()
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


class _Calls:
    """The calls in flight: one an actor."""

    def __init__(self, ray: Any, tasks: Sequence[Task], n_actors: int, function: Callable[[Point], Any]) -> None:
        self._ray = ray
        self._chunks = Chunks(tasks, n_actors)
        actor_class = ray.remote(num_cpus=1, max_restarts=0)(Worker)
        self._new_actor = functools.partial(actor_class.remote, carrying(function))
        self._actors = {number: self._new_actor() for number in range(n_actors)}
        self._in_flight: dict[Any, tuple[int, list[Task]]] = {}
        self._deaths: dict[str, int] = {}

    def outcomes(self) -> Generator[tuple[str, Outcome], None, None]:
        """Keep every actor busy until each point has an outcome."""
        self._send()
        while self._in_flight:
            ready, _ = self._ray.wait(list(self._in_flight), num_returns=1, timeout=POLL_S)
            received = [pair for call in ready for pair in self._received(call)]
            self._send()
            yield from received

    def _send(self) -> None:
        """Give each idle actor its next points."""
        busy = {number for number, _ in self._in_flight.values()}
        for number, actor in self._actors.items():
            if number not in busy and (chunk := self._chunks.take(number)):
                self._in_flight[actor.run.remote(chunk)] = (number, chunk)

    def _received(self, call: Any) -> list[tuple[str, Outcome]]:
        number, chunk = self._in_flight.pop(call)
        try:
            outcomes: list[Outcome] = self._ray.get(call)
        except self._ray.exceptions.RayActorError as death:
            self._actors[number] = self._new_actor()
            return self._after_death(chunk, death)
        except self._ray.exceptions.RayError as problem:  # not the actor: arguments or results could not travel
            outcomes = [outcome("failed", error=as_error(problem)) for _ in chunk]
        self._chunks.measured(chunk, outcomes)
        tried = [self._deaths.get(key, 0) + 1 for key, _ in chunk]
        return [(key, {**o, "attempts": n}) for (key, _), o, n in zip(chunk, outcomes, tried, strict=True)]

    def _after_death(self, chunk: list[Task], death: Exception) -> list[tuple[str, Outcome]]:
        """Send a dead worker's points out again, one by one; give up those that it happened to too often."""
        for key, _ in chunk:
            self._deaths[key] = self._deaths.get(key, 0) + 1
        self._chunks.again([task for task in chunk if self._deaths[task[0]] <= RETRIES])
        given_up = [key for key, _ in chunk if self._deaths[key] > RETRIES]
        error = {**as_error(death), "type": "WorkerDied", "message": _cause(death)}
        return [(key, outcome("failed", error=error, attempts=self._deaths[key])) for key in given_up]


def _cause(death: Exception) -> str:
    """Say in one sentence what Ray says in a page."""
    text = " ".join(str(death).split())
    detail = re.search(r"Worker exit detail: (.*?)\. ", text + " ")
    return f"its worker process died {RETRIES + 1} times, alone with it: {detail[1] if detail else text[:200]}"
