"""Long-term pins where they show: VmPin of a process, and the buffers that an io_uring names.

Source: io_uring/fdinfo.c io_uring_show_fdinfo(), fs/proc/task_mmu.c task_mem() (v6.18).
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from thpsweep.linux.proc.maps import Span
from thpsweep.units import HPAGE_PMD_SIZE_BYTES, PAGE_SIZE_BYTES

_PINNED = re.compile(r"^VmPin:\s+(\d+) kB", re.MULTILINE)
_BUFFERS = re.compile(r"^UserBufs:\s+\d+\n((?:\s+\d+: 0x[0-9a-f]+/\d+\n?)*)", re.MULTILINE)
_BUFFER = re.compile(r"0x([0-9a-f]+)/(\d+)")


@dataclass(frozen=True)
class Pinned:
    """Count pinned pages of a process: all, and those of each buffer that lies in a captured region."""

    pages: int
    buffers: tuple[int, ...]


def pinned(pid: int, spans: Sequence[Span]) -> Pinned:
    """Ask what a process has pinned; one that has ended, or hides it, has nothing."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return Pinned(0, ())
    match = _PINNED.search(status)
    n_pages = int(match.group(1)) * 1024 // PAGE_SIZE_BYTES if match else 0
    if not n_pages:
        return Pinned(0, ())
    texts = (_read(path) for path in _rings(pid))
    return Pinned(n_pages, tuple(n for text in texts for n in buffers(text, spans)))


def buffers(fdinfo: str, spans: Sequence[Span]) -> list[int]:
    """Parse an io_uring's fdinfo: the pages of each registered buffer that lies in the regions of a span."""
    ranges = [
        (int(start, 16), int(size)) for block in _BUFFERS.findall(fdinfo) for start, size in _BUFFER.findall(block)
    ]
    return [
        -(-(start + size) // PAGE_SIZE_BYTES) - start // PAGE_SIZE_BYTES
        for start, size in ranges
        if size and any(low <= start // HPAGE_PMD_SIZE_BYTES < high for low, high in spans)
    ]


def _rings(pid: int) -> list[Path]:
    home = Path(f"/proc/{pid}/fd")
    try:
        names = os.listdir(home)
    except OSError:
        return []
    return [Path(f"/proc/{pid}/fdinfo/{name}") for name in names if "io_uring" in _link(home / name)]


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
