"""File systems of the kernel: where they are mounted, or mounted for ourselves as long as needed."""

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from thpsweep.errors import LiveError


@contextlib.contextmanager
def mounted(kind: str) -> Iterator[Path]:
    """Give where a file system (`tracefs`, `debugfs`) is, mounting it in a folder of our own if nowhere.

    Raises: LiveError where that is refused.
    """
    place = _mount_point(kind)
    if place is not None:
        yield place
        return
    with tempfile.TemporaryDirectory(prefix=f"thpsweep-{kind}-") as folder:
        command = ["mount", "-t", kind, "none", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LiveError(f"{kind} is not mounted and cannot be: {first_line(done.stderr)}")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


def first_line(text: str) -> str:
    """Give what a program said first."""
    return (text.strip().splitlines() or ["no reason given"])[0].rstrip(".")


def _mount_point(kind: str) -> Path | None:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, found, *_ = line.split()
        if found == kind:
            return Path(place)
    return None
