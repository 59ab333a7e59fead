"""Start Ray, join one, and end it: within a deadline, and with one line where that cannot be."""

import atexit
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from thpsweep.errors import SweepError
from thpsweep.linux.proc.cgroups import usable_cpus
from thpsweep.sweep.ray import stand_in
from thpsweep.sweep.ray.join import cannot_join, reachable

START_S = 120.0
"""How long a Ray of our own may take to start: measured 5 to 27 s on two cores, the latter beside other work."""

POLL_S = 0.5
LINE_EVERY_S = 20.0
"""How often it is said that Ray is still starting."""

ESSENTIAL = {"gcs_server": "its GCS", "raylet": "its raylet"}
"""Processes that a Ray of our own is none without."""


class RayUnavailableError(SweepError):
    """No Ray of our own can start or stay here. The points can still run in the driver."""


class RayLostError(SweepError):
    """The sweep's own Ray has died; what it ran has to run again."""


def start(address: str, actors: int | None) -> Any:
    """Import and start or join Ray. What it reads from the environment it reads when it is imported.

    Raises: RayUnavailableError where a Ray of our own cannot start, RayLostError where it died of something else meanwhile;
    SweepError where a cluster cannot be joined.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Under `uv run` Ray would make each worker an environment of its own; ours is the driver's.
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
    return _start_local(actors) if address == "local" else _join(address)


def dead_parts(ray: Any) -> str:
    """Name the essential processes of our own Ray that have ended; nothing where all of them run."""
    node = ray._private.worker._global_node
    names = {kind for kind, _ in node.dead_processes()} if node is not None else set()
    return " and ".join(ESSENTIAL[name] for name in sorted(names & ESSENTIAL.keys()))


def _join(address: str) -> Any:
    import ray
    import ray._private.services

    try:
        reachable(ray._private.services.canonicalize_bootstrap_address(address))
        with _keeping_sigterm():
            ray.init(address=address, **_quiet())
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as problem:
        raise cannot_join(address, problem) from problem
    return ray


def _start_local(actors: int | None) -> Any:
    """Start a Ray of our own in a thread: what hangs there can be left.

    A raylet that dies just as ray.init registers there takes this process with it: Ray ends it at once, with exit code 1 and
    "Failed to register worker to Raylet" (ray 2.60.0, src/ray/core_worker/core_worker_process.cc). Results are kept.
    """
    # Despite its name it holds on Linux too: 0 makes every process of Ray listen on 127.0.0.1 and nowhere else.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    _need_loopback()
    try:
        import ray
    except Exception as problem:  # an installation that is broken raises whatever its modules do
        raise _unavailable(problem) from problem
    problems: list[BaseException] = []
    has_answered, is_over, has_died = threading.Event(), threading.Event(), threading.Event()

    def begin() -> None:
        try:
            ray.init(address="local", num_cpus=actors or usable_cpus(), **_quiet())
        except BaseException as problem:  # whatever Ray raises, SystemExit too; it is raised where it is waited for
            problems.append(problem)
        has_answered.set()
        # Ray's processes end with the thread that started them: set_kill_on_parent_death_linux, ray/_private/utils.py.
        while ray.is_initialized():
            time.sleep(POLL_S)
        is_over.set()

    with _keeping_sigterm():
        threading.Thread(target=begin, name="thpsweep-ray", daemon=True).start()
        threading.Thread(target=stand_in.watch, args=(is_over, has_died), name="thpsweep-gcs", daemon=True).start()
        _wait(has_answered)
    if problems or not has_answered.is_set():
        _leave(ray, is_stuck=not has_answered.is_set())
        failure = problems[0] if problems else TimeoutError(f"no answer within {START_S:.0f} s")
        if has_died.is_set():
            raise RayLostError("Ray has lost a part of its own while it started") from failure
        raise _unavailable(failure) from failure
    return ray


def _wait(has_answered: threading.Event) -> None:
    """Wait for Ray's start, not for ever, and say so now and then."""
    began_s = said_s = time.monotonic()
    while not has_answered.wait(0.1) and time.monotonic() - began_s < START_S:
        if time.monotonic() - said_s > LINE_EVERY_S:
            said_s = time.monotonic()
            print(f"thpsweep: Ray is still starting, after {said_s - began_s:.0f} s", file=sys.stderr)


def _leave(ray: Any, *, is_stuck: bool) -> None:
    """End what a start that came to nothing has left behind."""
    if is_stuck:
        atexit.unregister(ray.shutdown)  # it would wait at the end of this process
    else:
        with contextlib.suppress(Exception):
            ray.shutdown()
    for process in stand_in.children():
        with contextlib.suppress(OSError):
            os.kill(process, signal.SIGKILL)


def _need_loopback() -> None:
    """See that this machine can talk to itself: without that Ray waits for minutes. Raises: RayUnavailableError."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=5.0).close()
    except OSError as problem:
        raise _unavailable(problem, "a loopback interface that is up (ip link set lo up)") from problem


def _unavailable(problem: BaseException, expected: str = "") -> RayUnavailableError:
    """Say in one line why Ray cannot start, and what to set."""
    text = " ".join(str(problem).split())[:200]
    if "AF_UNIX path length" in text:
        expected = "a shorter TMPDIR, for example RAY_TMPDIR=/tmp"
    elif isinstance(problem, OSError) and problem.filename is not None and not expected:
        expected = "a HOME and a TMPDIR that can be written to"
    expected = expected or "a Ray that starts (python -c 'import ray; ray.init()'), or hydra/launcher=serial"
    return RayUnavailableError(f"Ray cannot start here ({type(problem).__name__}: {text}); expected {expected}")


def _quiet() -> dict[str, Any]:
    return {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False}


@contextlib.contextmanager
def _keeping_sigterm() -> Any:
    """Keep our handler of SIGTERM, which ray.init replaces with its own."""
    before: Callable[..., Any] | int | None = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
