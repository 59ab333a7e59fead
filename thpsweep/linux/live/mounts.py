"""File systems of the kernel: where they are mounted, or mounted for ourselves as long as needed."""

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from thpsweep.errors import LiveError

_OURS = "thpsweep-mount-"


@contextlib.contextmanager
def mounted(kind: str) -> Iterator[Path]:
    """Give where a file system (`tracefs`, `debugfs`) is, mounting it in a folder of our own if nowhere.

    Raises: LiveError where that is refused.
    """
    place = _mount_point(kind)
    if place is not None:
        yield place
        return
    folder = Path(tempfile.mkdtemp(prefix=_OURS))
    try:
        done = subprocess.run(["mount", "-t", kind, "none", folder], capture_output=True, text=True, check=False)
        if done.returncode:
            raise LiveError(f"{kind} is not mounted and cannot be: {first_line(done.stderr)}")
        try:
            yield folder
        finally:
            # Lazily: a process that still has a file of it open keeps it. BusyBox knows -l, but not --lazy.
            subprocess.run(["umount", "-l", folder], check=True)
    finally:
        folder.rmdir()  # only if it is empty: what is mounted there must not be deleted


def first_line(text: str) -> str:
    """Give what a program said first."""
    return (text.strip().splitlines() or ["no reason given"])[0].rstrip(".")


def _mount_point(kind: str) -> Path | None:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, mounted_kind, *_ = line.split()
        if mounted_kind == kind and not Path(place).name.startswith(_OURS):  # that of another run goes when it ends
            return Path(place)
    return None
