"""Remember, beyond the end of a driver, which points it was at: one that may have ended its driver is kept apart later.

A machine that was switched off or restarted since, which its boot id tells, is no point's fault.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

FILE_NAME = "running.json"

MOST_RUNNING = 64
"""Points that run side by side, at the most."""

MOST_SUSPECTS = 2 * MOST_RUNNING
"""Points that are remembered."""

ROOM_BYTES = 100 * (MOST_SUSPECTS + MOST_RUNNING) + 100
"""Room for those, and for the ones that run side by side: each takes less than 100 bytes."""

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""Changes at each start of the machine. Source: Documentation/admin-guide/sysctl/kernel.rst, random."""


class CrashLog:
    """Count the drivers that ended within a point. Without a file it knows nothing, and keeps nothing."""

    def __init__(self, file: Path | None = None) -> None:
        self._handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666) if file else -1
        self._deaths = _deaths(os.pread(self._handle, ROOM_BYTES, 0)) if file else {}
        self._boot = boot_id()

    def close(self) -> None:
        """Let go of the file."""
        if self._handle >= 0:
            os.close(self._handle)

    def deaths(self, key: str) -> int:
        """Say how many drivers have ended within a point since it last ended by itself."""
        return self._deaths.get(key, 0)

    @contextlib.contextmanager
    def at(self, *keys: str) -> Iterator[None]:
        """Run points in here. Nothing waits for the disk: the file outlives this process, not this machine."""
        self._write(keys)
        try:
            yield
        finally:  # also an interruption: a driver that is asked to stop does not die of the point
            self.forget(*keys)

    def forget(self, *keys: str) -> None:
        """Suspect points no more: they ended."""
        for key in keys:
            self._deaths.pop(key, None)
        self._write(())

    def _write(self, running: Sequence[str]) -> None:
        if self._handle >= 0:
            content = {"boot": self._boot, "running": running, "deaths": self._deaths}
            os.pwrite(self._handle, json.dumps(content).encode().ljust(ROOM_BYTES), 0)


def suspects(directory: Path) -> Mapping[str, int]:
    """List the points of a sweep within which drivers ended, and how many did; of a sweep that nothing runs."""
    try:
        return _deaths((directory / FILE_NAME).read_bytes())
    except OSError:
        return {}


def boot_id() -> str:
    """Identify this start of the machine; nothing where the kernel does not say."""
    with contextlib.suppress(OSError):
        return BOOT_ID.read_text().strip()
    return ""


def _deaths(content: bytes) -> dict[str, int]:
    """Count the deaths in what a driver left behind, the last one with them."""
    try:
        left: Any = json.loads(content or b"{}")
        counts = {str(key): int(n) for key, n in left.get("deaths", {}).items()}
        for key in map(str, left.get("running", []) if left.get("boot") == boot_id() else []):
            counts[key] = counts.pop(key, 0) + 1
    except (ValueError, TypeError, AttributeError):  # torn by the end of the machine: nothing is suspected
        return {}
    return dict(list(counts.items())[-MOST_SUSPECTS:])
