"""Start a Ray of our own in this process, or join one; with one line where that cannot be."""

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

from thpsweep.linux.proc.cgroups import usable_cpus
from thpsweep.sweep.ray.errors import RayUnavailableError
from thpsweep.sweep.ray.join import cannot_join, reachable


def start(address: str, actors: int | None) -> Any:
    """Import and start or join Ray. What it reads from the environment it reads when it is imported.

    Raises: RayUnavailableError where a Ray of our own cannot start; SweepError where a cluster cannot be joined.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Under `uv run` Ray would make each worker an environment of its own; ours is the driver's.
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
    return _start_local(actors) if address == "local" else _join(address)


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
    # Despite its name it holds on Linux too: 0 makes every process of Ray listen on 127.0.0.1 and nowhere else.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    _need_loopback()
    try:
        import ray

        with _keeping_sigterm():
            ray.init(address="local", num_cpus=actors or usable_cpus(), **_quiet())
    except (Exception, SystemExit) as problem:  # whatever a broken installation, or Ray, raises
        raise RayUnavailableError.of(problem) from problem
    return ray


def _need_loopback() -> None:
    """See that this machine can talk to itself: without that Ray waits for minutes. Raises: RayUnavailableError."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=5.0).close()
    except OSError as problem:
        raise RayUnavailableError.of(problem, "a loopback interface that is up (ip link set lo up)") from problem


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
