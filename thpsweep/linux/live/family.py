"""Families of live processes: roots that are started, children that they fork."""

import select
import socket
import subprocess
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

from thpsweep.errors import LiveError
from thpsweep.linux.live.actor import Actor, Reply
from thpsweep.linux.live.build import actor_binary

_PATIENCE_S, _GRACE_S = 30.0, 3.0


class LiveFamily:
    """Start processes and keep their connections; all of them end with it."""

    def __init__(self) -> None:
        binary = actor_binary()
        self._stack = ExitStack()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="thpsweep-")))
        self._listener = self._stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        self._listener.bind(str(self._folder / "driver"))
        self._listener.listen(64)
        self._binary = binary
        self.actors: list[Actor] = []

    def __enter__(self) -> "LiveFamily":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all processes and wait for them."""
        with self._stack:
            self._listener.close()  # a process that has just been started and not been heard yet ends, too
            while self.actors:
                self.actors.pop().end()

    def start(self) -> Actor:
        """Start a process that has no memory of ours yet.

        It is in a session of its own, so that Ctrl-C reaches only us, who put things back.
        """
        process = subprocess.Popen(
            [str(self._binary), str(self._folder / "driver")], stdin=subprocess.DEVNULL, start_new_session=True
        )
        self._stack.callback(_see_off, process)
        return self._adopt()

    def fork(self, parent: Actor) -> tuple[Actor, Reply]:
        """Let a process fork; give the child, and what the fork took."""
        reply = parent.do("fork", 1, 1)
        child = self._adopt()
        if child.pid != reply.result:
            raise LiveError(f"process {child.pid} joined a live family in place of {reply.result}")
        return child, reply

    def end(self, actor: Actor) -> None:
        """Let one process exit, and wait until its memory is gone."""
        self.actors.remove(actor)
        actor.end()

    def _adopt(self) -> Actor:
        if not select.select([self._listener], [], [], _PATIENCE_S)[0]:
            raise LiveError(f"a live process did not start within {_PATIENCE_S:.0f} s")
        connection, _ = self._listener.accept()
        self._stack.callback(_hang_up, connection)
        self.actors.append(Actor(connection))
        return self.actors[-1]


def _hang_up(connection: socket.socket) -> None:
    """End a connection that may have been ended already; others may still hold it, so closing it is not enough."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def _see_off(process: subprocess.Popen[bytes]) -> None:
    """Wait for a root; one that an interrupt left without anybody who hears it does not end by itself."""
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
