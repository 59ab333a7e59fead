"""Remember, beyond the end of this process, which points it was at: one that kills its process must not do so for ever."""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from thpsweep.sweep.planning.bundles import MOST_POINTS

FILE_NAME = "running.json"
MOST_SUSPECTS = 2 * MOST_POINTS
"""Points that are remembered."""

ROOM_BYTES = 100 * (MOST_SUSPECTS + MOST_POINTS)
"""Room for those, and for the ones that run side by side: each takes less than 100 bytes."""

MAX_DEATHS = 3
"""Processes that may end within the same point; the next one does not begin it."""


class CrashLog:
    """Count the processes that ended within a point. Without a file it knows nothing, and keeps nothing."""

    def __init__(self, file: Path | None = None) -> None:
        self._handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666) if file else -1
        self._deaths = self._left_behind() if file else {}

    def close(self) -> None:
        """Let go of the file."""
        if self._handle >= 0:
            os.close(self._handle)

    def deaths(self, key: str) -> int:
        """Say how many processes have ended within a point since it last ended by itself."""
        return self._deaths.get(key, 0)

    @contextlib.contextmanager
    def at(self, *keys: str) -> Iterator[None]:
        """Run points in here. Nothing waits for the disk: the file outlives this process, not this machine."""
        self._write(keys)
        try:
            yield
        finally:  # also an interruption: whoever is asked to stop does not die of the point
            for key in keys:
                self._deaths.pop(key, None)
            self._write(())

    def _write(self, running: Sequence[str]) -> None:
        if self._handle >= 0:
            os.pwrite(self._handle, json.dumps([running, self._deaths]).encode().ljust(ROOM_BYTES), 0)

    def _left_behind(self) -> dict[str, int]:
        try:
            running, deaths = json.loads(os.pread(self._handle, ROOM_BYTES, 0) or b"[[], {}]")
            counts = {str(key): int(n) for key, n in deaths.items()}
            for key in map(str, running):
                counts[key] = counts.pop(key, 0) + 1
        except (ValueError, TypeError, AttributeError):  # torn by the end of the machine: nobody is suspected
            return {}
        return dict(list(counts.items())[-MOST_SUSPECTS:])
