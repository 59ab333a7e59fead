"""The CPU time of another process while it runs, to the nanosecond: perf's task clock of each of its threads.

The CPU-time clock of another process, and schedstat, are brought up to date at the tick and when a thread leaves its CPU.
They stand still for up to 4 ms (CONFIG_HZ=250), since thread_group_cputime() of kernel/sched/cputime.c asks for the caller's
own threads alone (v6.18). Reading a perf event goes to the CPU that the thread is on.
"""

import ctypes
import errno
import os
import platform
import struct
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from thpsweep.linux.proc.tree import VanishedError
from thpsweep.units import NS_PER_S

_NUMBER = {"x86_64": 298, "aarch64": 241, "riscv64": 241, "loongarch64": 241, "ppc64le": 319, "s390x": 331}
"""Number of perf_event_open(). Source: arch/*/kernel/syscalls, scripts/syscall.tbl (v6.18)."""

_ATTRIBUTES = struct.pack("=IIQQQQQ2IQ", 1, 64, 1, 0, 0, 0, 0, 0, 0, 0)
"""PERF_TYPE_SOFTWARE, PERF_ATTR_SIZE_VER0, PERF_COUNT_SW_TASK_CLOCK. Source: include/uapi/linux/perf_event.h (v6.18)."""

_CLOEXEC = 8


class TaskClock:
    """Read how long the threads of a process have run since this was opened; threads that begin later are not counted."""

    def __init__(self, pid: int) -> None:
        """Open it. Raises: VanishedError; OSError where it is refused, or not known for this architecture."""
        self._files: list[int] = []
        with ExitStack() as stack:
            stack.callback(self._close)
            try:
                threads = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
            except FileNotFoundError as error:
                raise VanishedError(pid) from error
            for thread in threads:
                self._open(thread)
            if not self._files:
                raise VanishedError(pid)
            stack.pop_all()

    def _open(self, thread: int) -> None:
        number = _NUMBER.get(platform.machine())
        if number is None:
            raise OSError(errno.ENOSYS, f"perf_event_open: its number is not known for {platform.machine()}")
        libc = ctypes.CDLL(None, use_errno=True)
        file = int(libc.syscall(ctypes.c_long(number), _ATTRIBUTES, thread, -1, -1, ctypes.c_ulong(_CLOEXEC)))
        if file >= 0:
            self._files.append(file)
        elif ctypes.get_errno() != errno.ESRCH:  # a thread that has ended meanwhile
            raise OSError(ctypes.get_errno(), f"perf_event_open: {os.strerror(ctypes.get_errno())}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close()

    def _close(self) -> None:
        while self._files:
            os.close(self._files.pop())

    @property
    def seconds(self) -> float:
        """CPU time since it was opened, of all threads together."""
        return sum(int(struct.unpack("=Q", os.read(file, 8))[0]) for file in self._files) / NS_PER_S


def refused() -> str:
    """Say why there is no such clock here; nothing where there is one."""
    try:
        with TaskClock(os.getpid()):
            return ""
    except OSError as error:
        return str(error.strerror)
