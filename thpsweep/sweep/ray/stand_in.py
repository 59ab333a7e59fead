"""Answer in the place of a GCS that has died.

A call that needs the GCS waits for one, for a minute, and then Ray ends the whole process (ray 2.60.0,
src/ray/rpc/retryable_grpc_client.cc). Answered with nothing it comes back, and the driver can see what has happened.
"""

import contextlib
import os
import re
import threading
from pathlib import Path
from typing import Any

POLL_S, START_POLL_S = 0.5, 0.05
"""How often Ray's processes are looked at, and how often before they are known."""


def children() -> dict[int, str]:
    """Give the command lines of this process's children that are Ray's."""
    found = {}
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            for child in (task / "children").read_text().split():
                command = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if "/ray/" in command and "session_" in command:
                    found[int(child)] = command
    return found


def watch(is_over: threading.Event, has_died: threading.Event) -> None:
    """Wait, in a thread of its own, until this process's Ray is over; stand in for its GCS as soon as that has died.

    `has_died` is set when the GCS or the raylet ends.
    """
    known: dict[str, tuple[int, str]] = {}
    server: Any = None
    while not is_over.wait(POLL_S if len(known) > 1 else START_POLL_S):
        for pid, command in children().items():
            known.setdefault(command.split(" ")[0].rpartition("/")[2], (pid, command))
        ended = {name for name in ("gcs_server", "raylet") if name in known and _has_ended(known[name][0])}
        if ended:
            has_died.set()
        if "gcs_server" in ended and server is None and (address := _gcs_address(known["gcs_server"][1])):
            server = _serve(address)
    if server is not None:
        server.stop(None)


def _gcs_address(command: str) -> str | None:
    """Find out where a GCS listened: it leaves its port in the folder of its session. Nobody waits for one that has not."""
    host, logs = (re.search(rf"--{name}=(\S+)", command) for name in ("node[-_]ip[-_]address", "log[-_]dir"))
    files = [*Path(logs[1]).parent.glob("gcs_server_port_*")] if logs else []
    return f"{host[1] if host else '127.0.0.1'}:{files[0].read_text()}" if files else None


def _has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return not os.path.exists(f"/proc/{pid}")


def _serve(address: str) -> Any:
    """Answer every call at an address with an empty message, in which all values are the usual ones."""
    from concurrent.futures import ThreadPoolExecutor

    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # else it says of each process that starts that it was busy
    import grpc

    def answer(request: bytes, context: Any) -> bytes:
        return b""

    def nothing_new(request: bytes, context: Any) -> bytes:
        context.abort(grpc.StatusCode.UNAVAILABLE, "the GCS has died")
        raise AssertionError("abort raises")

    class Nobody(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, call: Any) -> Any:
            # A poll that is answered is repeated at once.
            return grpc.unary_unary_rpc_method_handler(nothing_new if "Poll" in call.method else answer)

    server = grpc.server(ThreadPoolExecutor(2), handlers=(Nobody(),))
    with contextlib.suppress(RuntimeError):  # the port was taken by another process: then that one answers
        server.add_insecure_port(address)
        server.start()
    return server
