"""A thread of the kernel: how long it has run, and whether it sleeps."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from thpsweep.errors import LiveError


class Kthread:
    """Find a kernel thread by its name. Raises: LiveError where it does not run, or is not shown."""

    def __init__(self, name: str) -> None:
        for path in Path("/proc").glob("[0-9]*/comm"):
            try:
                if path.read_text() == f"{name}\n":
                    self._proc = path.parent
                    return
            except (FileNotFoundError, ProcessLookupError):
                continue
        raise LiveError(f"{name} is not among the processes that this one sees")

    @contextmanager
    def at_nice(self, nice: int) -> Iterator[None]:
        """Let it compete for a CPU like other programs: at nice 19, as khugepaged is, it hardly runs on a busy machine.

        Where that is not permitted, as to the root of a user namespace, it stays as it is.
        """
        pid = int(self._proc.name)
        before = os.getpriority(os.PRIO_PROCESS, pid)
        try:
            os.setpriority(os.PRIO_PROCESS, pid, nice)
        except PermissionError:
            yield
            return
        try:
            yield
        finally:
            os.setpriority(os.PRIO_PROCESS, pid, before)

    @property
    def cpu_ns(self) -> float:
        """How long it has run so far, up to when it last gave up its CPU."""
        return float((self._proc / "schedstat").read_text().split()[0])

    @property
    def sleeps(self) -> bool:
        """Whether it waits for being woken."""
        return (self._proc / "stat").read_text().rpartition(")")[2].split()[0] == "S"
