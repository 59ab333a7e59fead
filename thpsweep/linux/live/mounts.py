"""File systems of the kernel: where they are mounted, or mounted for ourselves as long as needed."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from thpsweep.errors import LiveError


@contextlib.contextmanager
def mounted(kind: str) -> Iterator[Path]:
    """Give where a file system (`tracefs`, `debugfs`) is, mounting it for this process alone if nowhere.

    Raises: LiveError where that is refused.
    """
    place = _mount_point(kind)
    if place is not None:
        yield place
        return
    held = _mount_and_detach(kind)
    try:
        yield Path(f"/proc/{os.getpid()}/fd/{held}")
    finally:
        os.close(held)


def first_line(text: str) -> str:
    """Give what a program said first."""
    return (text.strip().splitlines() or ["no reason given"])[0].rstrip(".")


def _mount_and_detach(kind: str) -> int:
    """Give a file descriptor of a mount that no path leads to any more: it goes with this process, however that ends."""
    with tempfile.TemporaryDirectory(prefix="thpsweep-mount-") as folder:
        done = subprocess.run(["mount", "-t", kind, "none", folder], capture_output=True, text=True, check=False)
        if done.returncode:
            raise LiveError(f"{kind} is not mounted and cannot be: {first_line(done.stderr)}")
        try:
            return os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        finally:
            # Lazily: what has a file of it open keeps it. BusyBox knows -l, but not --lazy.
            subprocess.run(["umount", "-l", folder], check=True)


def _mount_point(kind: str) -> Path | None:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, mounted_kind, *_ = line.split()
        if mounted_kind == kind:
            return Path(place)
    return None
