"""Write faults of processes with place and time, through a tracefs instance of our own: the kernel filters, we count.

Source: arch/x86/include/asm/trace/exceptions.h, Documentation/trace/ftrace.rst, "Instances" (v6.18).
"""

import contextlib
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from thpsweep.errors import CaptureError, LiveError
from thpsweep.linux.live.mounts import mounted
from thpsweep.units import PAGE_SIZE_BYTES

_EVENTS = {"exceptions/page_fault_user": 7, "exceptions/page_fault_kernel": 3}
"""Events and the error code of a write to a page that is present: from user mode, and from system calls."""

_LINE = re.compile(rb"-(\d+)\s+\(\s*([\d-]+)\)\s.*? ([\d.]+): page_fault_\w+: address=0x([0-9a-f]+)")
_LOST = re.compile(rb"LOST (\d+) EVENTS")
_BUFFER_KIB = 8_192
_REMOVAL_TRIES = 50
_USER_END = 1 << 47


@dataclass
class Faults:
    """Gather write faults as they come. Each is (process, page number, time on the monotonic clock in s).

    process_of: the process of each thread that is followed, for lines that do not name it.
    """

    home: Path
    pipe: int
    lost: int = 0
    parts: list[npt.NDArray[np.float64]] = field(default_factory=list)
    process_of: dict[int, int] = field(default_factory=dict)

    def follow(self, pids: Sequence[int]) -> None:
        """Trace processes, all of their threads, and what they fork."""
        self.process_of = {thread: pid for pid in pids for thread in _threads(pid)}
        (self.home / "set_event_pid").write_text(" ".join(map(str, self.process_of)))

    def drain(self) -> None:
        """Take what is in the buffers."""
        chunks = []
        with contextlib.suppress(BlockingIOError):  # nothing is left
            while chunk := os.read(self.pipe, 1 << 20):
                chunks.append(chunk)
        text = b"".join(chunks)
        self.lost += sum(int(number) for number in _LOST.findall(text))
        events = [
            (self._process(thread, tgid), int(address, 16) // PAGE_SIZE_BYTES, float(at))
            for thread, tgid, at, address in _LINE.findall(text)
        ]
        if events:
            self.parts.append(np.array(events))

    def _process(self, thread: bytes, tgid: bytes) -> int:
        """Name the process of a line; where the kernel does not know it, it writes dashes."""
        return self.process_of.get(int(thread), int(thread)) if tgid.startswith(b"-") else int(tgid)

    def of(self, pid: int) -> npt.NDArray[np.int64]:
        """List the distinct pages that a process wrote, ascending."""
        every = np.concatenate(self.parts) if self.parts else np.zeros((0, 3))
        mine = every[every[:, 0] == pid, 1]
        return np.unique(mine[mine < _USER_END // PAGE_SIZE_BYTES].astype(np.int64))


@contextmanager
def tracing() -> Iterator[Faults]:
    """Trace the write faults of the processes that follow() names. Raises: CaptureError saying why that cannot be."""
    with ExitStack() as stack:
        try:
            home = stack.enter_context(mounted("tracefs")) / "instances" / f"thpsweep-faults-{os.getpid()}"
            home.mkdir()
            stack.callback(_remove, home)
            faults = _set_up(home, stack)
        except LiveError as error:
            raise CaptureError(str(error)) from error
        except OSError as error:
            raise CaptureError(f"tracefs: {error.filename or ''} {error.strerror}".replace("  ", " ")) from error
        yield faults
        for event in _EVENTS:
            (home / "events" / event / "enable").write_text("0")


def _set_up(home: Path, stack: ExitStack) -> Faults:
    """Switch the events on; no process is followed yet."""
    (home / "trace_clock").write_text("mono")
    (home / "buffer_size_kb").write_text(str(_BUFFER_KIB))
    for option in ("record-tgid", "event-fork"):
        (home / "options" / option).write_text("1")
    (home / "set_event_pid").write_text(str(os.getpid()))  # before the events: without a pid they tell of all processes
    for event, error_code in _EVENTS.items():
        (home / "events" / event / "filter").write_text(f"error_code=={error_code}")
        (home / "events" / event / "enable").write_text("1")
    pipe = os.open(home / "trace_pipe", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    stack.callback(os.close, pipe)
    return Faults(home, pipe)


def _threads(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _remove(home: Path) -> None:
    """Remove an instance; the kernel may still be busy with it for a moment."""
    for _ in range(_REMOVAL_TRIES):
        with contextlib.suppress(OSError):
            home.rmdir()
            return
        time.sleep(0.1)
    home.rmdir()
