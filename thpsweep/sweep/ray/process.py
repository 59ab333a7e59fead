"""Hold Ray in a process of its own, beside the driver.

Ray ends the process that it is loaded in when the raylet dies there, and when the GCS stays away for a minute (ray 2.60.0,
src/ray/core_worker/core_worker_process.cc, src/ray/rpc/retryable_grpc_client.cc): that must not be the driver.
"""

import contextlib
import functools
import io
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from thpsweep.linux.proc.cgroups import oom_kills
from thpsweep.sweep.local.child import CONTEXT, fork
from thpsweep.sweep.local.isolated import explain_death
from thpsweep.sweep.ray.errors import RayLostError, RayUnavailableError

START_S = 120.0
"""How long a Ray of our own may take to start: measured 5 to 27 s on two cores, the latter beside other work."""

END_S = 20.0
"""How long Ray may take to shut down before its processes are killed."""

POLL_S = 0.5
LINE_EVERY_S = 20.0
"""How often it is said that Ray is still starting."""

ESSENTIAL = {"gcs_server": "its GCS", "raylet": "its raylet"}
"""Processes that a Ray of our own is none without."""

LISTENS, STARTED, SAID, RAISED, OVER = "listens", "started", "said", "raised", "over"
"""Messages that every such process sends; others are of whoever begins it."""

DRAIN = signal.SIGUSR1


class Message(NamedTuple):
    """What the process has to say."""

    kind: str
    content: Any = None


class Link:
    """The end of the process that holds Ray."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._lock = connection, threading.Lock()
        self.draining = threading.Event()
        signal.signal(DRAIN, lambda *_: self.draining.set())

    def started(self) -> None:
        """Say that Ray is there."""
        self.tell(STARTED)

    def tell(self, kind: str, content: Any = None) -> None:
        """Send a message."""
        with self._lock:  # Ray's threads print, too
            self._connection.send(Message(kind, content))

    def ask(self, kind: str, content: Any = None) -> Any:
        """Send a message, and wait for the answer."""
        self.tell(kind, content)
        return self._connection.recv()


class _Stderr(io.TextIOBase):
    """Pass on what is printed, as the driver may be drawing a bar there."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def write(self, text: str) -> int:
        """Send a text."""
        self._link.tell(SAID, text)
        return len(text)


class RayProcess:
    """A process that runs `body`, which starts a Ray of our own and says so.

    It cannot be made where Ray is loaded already: a child has none of the threads that Ray's libraries count on.
    """

    def __init__(self, body: Callable[[Link], None]) -> None:
        self._oom_kills = oom_kills()
        self._connection, theirs = CONTEXT.Pipe()
        self._child = fork("thpsweep-ray", functools.partial(_hold, body, theirs))
        theirs.close()
        self._parts: dict[str, int] = {}
        self._is_over = False

    def messages(self, draining: threading.Event) -> Iterator[Message]:
        """Give the messages, to the last one. `draining` is passed on.

        Raises: RayLostError where a part of Ray, or the process itself, has died; RayUnavailableError where Ray does not
        start in time; whatever `body` raised.
        """
        listens = has_started = has_drained = False
        began_s = said_s = time.monotonic()
        while True:
            if draining.is_set() and listens and not has_drained:
                os.kill(self._child.pid or 0, DRAIN)
                has_drained = True
            message = self._next()
            if message is None and not has_started:
                said_s = _waited(began_s, said_s)
            elif message is None:
                continue
            elif message.kind == LISTENS:
                listens = True  # before, the signal would end it
            elif message.kind == SAID:
                sys.stderr.write(message.content)
            elif message.kind == STARTED:
                has_started = True
            elif message.kind == RAISED:
                self._check()
                self._is_over = True
                raise message.content
            elif message.kind == OVER:
                self._is_over = True
                return
            else:
                yield message

    def answer(self, content: Any) -> None:
        """Answer what was asked last."""
        with contextlib.suppress(OSError):  # it has died, which the next message tells
            self._connection.send(content)

    def close(self) -> None:
        """Let Ray end where it is over; else kill it, with all of its processes that started here."""
        if self._is_over:
            self._child.join(END_S)
        self._child.kill()  # and the kernel kills Ray's: set_kill_on_parent_death_linux, ray/_private/utils.py
        self._child.join()
        self._connection.close()

    def _next(self) -> Message | None:
        """Give the next message, none where there is none for a while. Raises: RayLostError."""
        try:
            if self._connection.poll(POLL_S):
                message: Message = self._connection.recv()
                return message
        except (EOFError, OSError):
            self._child.join()
            self._check()
            how = explain_death(self._child.exitcode, self._oom_kills)
            raise RayLostError(f"Ray has ended the process that holds it ({how})") from None
        self._check()
        return None

    def _check(self) -> None:
        """See that Ray lives: its calls would wait for a minute otherwise. Raises: RayLostError."""
        if dead := self._dead_parts():
            raise RayLostError(f"Ray has lost {' and '.join(dead)}")

    def _dead_parts(self) -> list[str]:
        """Name the essential processes of Ray that were there and are there no more."""
        self._parts |= {name: pid for pid, name in children(self._child.pid or 0).items() if name in ESSENTIAL}
        return [ESSENTIAL[name] for name, pid in sorted(self._parts.items()) if _has_ended(pid)]


def _hold(body: Callable[[Link], None], connection: Connection) -> None:
    """Run `body` in the process that is to hold Ray, and end Ray when the driver knows how it ended."""
    link = Link(connection)
    sys.stderr = _Stderr(link)
    link.tell(LISTENS)
    try:
        body(link)
        link.tell(OVER)
    except BaseException as problem:  # it is raised in the driver
        link.tell(RAISED, _that_travels(problem))
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()


def _that_travels(problem: BaseException) -> BaseException:
    """Give an exception, or where it cannot be pickled another one that says the same."""
    try:
        pickle.loads(pickle.dumps(problem))
    except Exception:  # whatever its own methods raise
        return RuntimeError("".join(traceback.format_exception(problem)))
    problem.add_note("".join(traceback.format_exception(problem)))
    return problem


def _waited(began_s: float, said_s: float) -> float:
    """Say now and then that Ray is still starting; give when it was said. Raises: RayUnavailableError after START_S."""
    now_s = time.monotonic()
    if now_s - began_s > START_S:
        raise RayUnavailableError.of(TimeoutError(f"no answer within {START_S:.0f} s"))
    if now_s - said_s < LINE_EVERY_S:
        return said_s
    print(f"thpsweep: Ray is still starting, after {now_s - began_s:.0f} s", file=sys.stderr)
    return now_s


def children(pid: int) -> dict[int, str]:
    """Give the names of a process's children, as the kernel shortens them."""
    names = {}
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                with contextlib.suppress(OSError):
                    names[int(child)] = Path(f"/proc/{child}/comm").read_text().strip()
    return names


def _has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
