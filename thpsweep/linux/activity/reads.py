"""How many pages processes touch: young bits are cleared, and counted a while later, VMA by VMA.

Source: Documentation/filesystems/proc.rst, clear_refs and smaps, "Referenced" (v6.18).
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from thpsweep.linux.activity.task_clock import TaskClock
from thpsweep.linux.proc.maps import anonymous_span
from thpsweep.linux.proc.tree import VanishedError
from thpsweep.units import PAGE_SIZE_BYTES

CLEAR_ANONYMOUS, CLEAR_SOFT_DIRTY = 2, 4
"""Values for /proc/PID/clear_refs: young bits of anonymous pages; soft-dirty bits."""

MOST_PROCESSES = 17
"""Processes whose young bits are watched, the root and the first workers: smaps takes 30 ms for a GiB of each."""

WALKED_PROCESSES = 5
"""Processes whose page walks are counted, the root and the first workers, one after the other."""

LENGTHS_S = (0.0, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032)
"""Pauses between clearing young bits and counting them; the interval is longer by what both take."""

REPETITIONS, ENOUGH = 8, 4
"""Intervals of each length; none longer is tried once so many times the pages were marked that the TLB has entries."""

_FIELD = re.compile(r"^(Rss|Referenced):\s+(\d+) kB")
_HEADER = re.compile(r"^[0-9a-f]+-[0-9a-f]+ ")


@dataclass(frozen=True)
class Touched:
    """Count the resident pages of a process's anonymous VMAs, and those that were touched."""

    resident: int
    touched: int


@dataclass(frozen=True)
class Interval:
    """Count the pages that a process walked to in an interval, and its CPU time in it: at least, and at most, so long, as
    pages are cleared and counted one after the other, while it runs. Units: s."""

    pages: int
    low_s: float
    high_s: float


def intervals(pid: int, entries: int) -> tuple[tuple[Interval, ...], ...]:
    """Count over intervals of several lengths in turn, until far more pages are marked than the TLB has entries, and again.

    Raises: VanishedError; OSError where its CPU time is not told.
    """
    lengths: list[list[Interval]] = [[] for _ in LENGTHS_S]
    with TaskClock(pid) as clock:
        for _ in range(REPETITIONS):
            for number, pause_s in enumerate(LENGTHS_S[: len(lengths)]):
                lengths[number].append(_interval(pid, clock, pause_s))
                if lengths[number][-1].pages > ENOUGH * entries:
                    del lengths[number + 1 :]
                    break
    return tuple(map(tuple, lengths))


def _interval(pid: int, clock: TaskClock, pause_s: float) -> Interval:
    begin_s = clock.seconds
    clear(pid, CLEAR_ANONYMOUS)
    cleared_s = clock.seconds
    time.sleep(pause_s)
    counting_s = clock.seconds
    text = _smaps(pid)
    end_s = clock.seconds
    return Interval(count(text.splitlines()).touched, counting_s - cleared_s, end_s - begin_s)


def clear(pid: int, what: int) -> None:
    """Clear young or soft-dirty bits of a process. Raises: VanishedError; OSError where it is refused."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text(str(what))
    except (FileNotFoundError, ProcessLookupError) as error:
        raise VanishedError(pid) from error


def touched(pid: int) -> Touched:
    """Count what was touched since the bits were cleared, in the VMAs that a capture looks at. Raises: VanishedError."""
    return count(_smaps(pid).splitlines())


def _smaps(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/smaps").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError) as error:
        raise VanishedError(pid) from error


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
