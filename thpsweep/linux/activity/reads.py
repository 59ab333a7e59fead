"""How many pages processes touch: young bits are cleared, and counted a while later, VMA by VMA.

Source: Documentation/filesystems/proc.rst, clear_refs and smaps, "Referenced" (v6.18).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from thpsweep.linux.proc.maps import anonymous_span
from thpsweep.linux.proc.tree import VanishedError
from thpsweep.units import PAGE_SIZE_BYTES

CLEAR_ANONYMOUS, CLEAR_SOFT_DIRTY = 2, 4
"""Values for /proc/PID/clear_refs: young bits of anonymous pages; soft-dirty bits."""

MOST_PROCESSES = 17
"""Processes whose young bits are watched, the root and the first workers: smaps takes 30 ms for a GiB of each."""

_FIELD = re.compile(r"^(Rss|Referenced):\s+(\d+) kB")
_HEADER = re.compile(r"^[0-9a-f]+-[0-9a-f]+ ")


@dataclass(frozen=True)
class Touched:
    """Count the resident pages of a process's anonymous VMAs, and those that were touched."""

    resident: int
    touched: int


def clear(pid: int, what: int) -> None:
    """Clear young or soft-dirty bits of a process. Raises: VanishedError; OSError where it is refused."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text(str(what))
    except (FileNotFoundError, ProcessLookupError) as error:
        raise VanishedError(pid) from error


def touched(pid: int) -> Touched:
    """Count what was touched since the bits were cleared, in the VMAs that a capture looks at. Raises: VanishedError."""
    try:
        text = Path(f"/proc/{pid}/smaps").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError) as error:
        raise VanishedError(pid) from error
    return count(text.splitlines())


def count(lines: Sequence[str]) -> Touched:
    """Add up the lines of smaps."""
    n_kib, inside = {"Rss": 0, "Referenced": 0}, False
    for line in lines:
        if _HEADER.match(line):
            inside = anonymous_span(line) is not None
        elif inside and (match := _FIELD.match(line)):
            n_kib[match.group(1)] += int(match.group(2))
    each_kib = PAGE_SIZE_BYTES // 1024
    return Touched(n_kib["Rss"] // each_kib, min(n_kib["Referenced"], n_kib["Rss"]) // each_kib)
