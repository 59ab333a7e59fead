"""Trace events of the kernel, through a tracefs instance of our own that disturbs nobody else's.

Source: Documentation/trace/ftrace.rst, "Instances" (v6.18).
"""

import contextlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from thpsweep.errors import LiveError
from thpsweep.linux.live.mounts import mounted

_LINE = re.compile(r"^\s*.*-(\d+)\s+\[\d+\]\s+\S+\s+([\d.]+): (\w+): (.*)$")
_FIELD = re.compile(r"(\w+)=([^,\s]+)")
_BUFFER_KIB = 4_096
_REMOVAL_TRIES = 50


@dataclass(frozen=True)
class Event:
    """One event: who was running, when, its name and its fields as they are printed."""

    pid: int
    time_s: float
    name: str
    fields: dict[str, str]


class Tracing:
    """Make an instance, mounting tracefs for ourselves where nobody has; remove both at the end."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._on: set[str] = set()

    def __enter__(self) -> "Tracing":
        with ExitStack() as stack:
            self._home = stack.enter_context(mounted("tracefs")) / "instances" / f"thpsweep-{os.getpid()}"
            try:
                self._home.mkdir()
            except OSError as error:
                raise LiveError(f"{self._home}: no tracefs instance can be made ({error.strerror})") from error
            stack.callback(_remove, self._home)
            (self._home / "trace_clock").write_text("mono")
            (self._home / "buffer_size_kb").write_text(str(_BUFFER_KIB))
            self._pipe = os.open(self._home / "trace_pipe", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            stack.callback(os.close, self._pipe)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def recording(self, *events: str, pid: int | None = None) -> Iterator[list[Event]]:
        """Record events (all of a system, where only that is named); the list is filled at the end of the block.

        Events stay on until others are asked for: switching them costs ten milliseconds.
        pid: record only of this process, and when it gets and loses a CPU, where `sched/sched_switch` is asked for.
        Raises: LiveError where the kernel has no such event.
        """
        caught: list[Event] = []
        (self._home / "set_event_pid").write_text("" if pid is None else str(pid))
        self._switch(set(events))
        self._read()  # what came before, and may have run over meanwhile, is of nobody's interest
        yield caught
        caught += _events(self._read())

    def _switch(self, wanted: set[str]) -> None:
        for event in wanted - self._on:
            if not (self._home / "events" / event).is_dir():
                raise LiveError(f"this kernel has no trace event {event}")
            (self._home / "events" / event / "enable").write_text("1")
            self._on.add(event)
        for event in self._on - wanted:
            (self._home / "events" / event / "enable").write_text("0")
            self._on.remove(event)

    def _read(self) -> str:
        """Take all text out of the buffers."""
        chunks = []
        with contextlib.suppress(BlockingIOError):  # nothing is left
            while chunk := os.read(self._pipe, 1 << 20):
                chunks.append(chunk)
        return b"".join(chunks).decode(errors="replace")


def _events(text: str) -> list[Event]:
    """Parse what the kernel printed. Raises: LiveError where events were lost."""
    if "LOST" in text:
        raise LiveError("the trace buffer ran over: the machine is too busy, try again")
    matches = (_LINE.match(line) for line in text.splitlines())
    return [
        Event(int(m.group(1)), float(m.group(2)), m.group(3), dict(_FIELD.findall(m.group(4)))) for m in matches if m
    ]


def _remove(home: Path) -> None:
    """Remove an instance; the kernel may still be busy with it for a moment."""
    for _ in range(_REMOVAL_TRIES):
        try:
            home.rmdir()
            return
        except OSError:
            time.sleep(0.1)
    home.rmdir()
