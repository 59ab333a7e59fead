"""A memory cgroup of our own, of either version."""

import contextlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from thpsweep.errors import LiveError
from thpsweep.linux.live.settings import uninterrupted

_REMOVAL_TRIES = 50


class MemoryCgroup:
    """Hold processes whose memory can be limited."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._v1 = (home / "memory.limit_in_bytes").exists()

    def add(self, pid: int) -> None:
        """Take a process in; its children will be in it too."""
        (self._home / "cgroup.procs").write_text(str(pid))

    @property
    def used_bytes(self) -> int:
        """Memory that is charged."""
        return int((self._home / ("memory.usage_in_bytes" if self._v1 else "memory.current")).read_text())

    def limit(self, n_bytes: int) -> None:
        """Limit the memory: what is above it is reclaimed before this returns, as far as that goes."""
        try:
            (self._home / ("memory.limit_in_bytes" if self._v1 else "memory.max")).write_text(str(n_bytes))
        except OSError as error:
            if error.strerror != os.strerror(16):  # EBUSY: it went as far as it could
                raise

    def forbid_swap(self) -> None:
        """Let nothing be reclaimed to swap."""
        if self._v1:
            (self._home / "memory.swappiness").write_text("0")
        else:
            (self._home / "memory.swap.max").write_text("0")

    def shrink(self) -> None:
        """Reclaim all that can be without swap: caches, and what waits on the list of folios to be split."""
        self.forbid_swap()
        if self._v1:
            (self._home / "memory.force_empty").write_text("0")
        else:
            with contextlib.suppress(OSError):  # EAGAIN: less than that could be reclaimed
                (self._home / "memory.reclaim").write_text(str(self.used_bytes))


@contextmanager
def memory_cgroup() -> Iterator[MemoryCgroup]:
    """Make a cgroup, and remove it when its processes have ended. Raises: LiveError where none can be had."""
    home = _parent() / f"thpsweep-{os.getpid()}"
    try:
        home.mkdir()
    except OSError as error:
        raise LiveError(f"{home}: no memory cgroup can be made ({error.strerror}): run as root") from error
    try:
        if not any((home / name).exists() for name in ("memory.limit_in_bytes", "memory.max")):
            raise LiveError(f"{home.parent}: the memory controller is not on there")
        yield MemoryCgroup(home)
    finally:
        with uninterrupted():
            _remove(home)


def _parent() -> Path:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        if kind == "cgroup2" and "memory" in (Path(place) / "cgroup.controllers").read_text().split():
            return Path(place)
        if kind == "cgroup" and "memory" in options.split(","):
            return Path(place)
    raise LiveError("no memory cgroups are mounted")


def _remove(home: Path) -> None:
    for _ in range(_REMOVAL_TRIES):
        try:
            home.rmdir()
            return
        except OSError:  # its last process is not quite gone
            time.sleep(0.1)
    home.rmdir()
