"""How much CPU time a tree takes while it is watched: its root, all others, and both halves of the window apart.

Source: Documentation/filesystems/proc.rst, table 1-4, utime to cstime (v6.18).
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from thpsweep.linux.proc.tree import family

_US_PER_S = 1_000_000


@dataclass(frozen=True)
class _Moment:
    """CPU time so far. Units: s."""

    at_s: float
    root_s: float
    others_s: float


@dataclass
class CpuWatch:
    """Look at the CPU time of a tree now and then; what children took that were waited for is their parents' to tell."""

    pid: int
    children: bool
    moments: list[_Moment] = field(default_factory=list)

    def look(self) -> None:
        """Note how much CPU time the tree has taken. Raises: CaptureError where its root has ended."""
        root_s = others_s = 0.0
        for position, process in enumerate(family(self.pid, self.children).processes):
            own_s, waited_s = _seconds(process.pid)
            root_s, others_s = (own_s, others_s) if position == 0 else (root_s, others_s + own_s)
            others_s += waited_s
        self.moments.append(_Moment(time.monotonic(), root_s, others_s))

    def facts(self) -> dict[str, int]:
        """Give the mean CPU time a second. Units: us a second; a million is one CPU."""
        if len(self.moments) < 2:
            return {}
        first, last = self.moments[0], self.moments[-1]
        halves = [_both(one, other) for one, other in zip(self.moments, self.moments[1:], strict=False)]
        return {
            "cpu_root_us_per_s": _rate(first, last, last.root_s - first.root_s),
            "cpu_others_us_per_s": _rate(first, last, last.others_s - first.others_s),
            "cpu_least_part_us_per_s": min(halves),
            "cpu_most_part_us_per_s": max(halves),
        }


def _both(one: _Moment, other: _Moment) -> int:
    return _rate(one, other, other.root_s + other.others_s - one.root_s - one.others_s)


def _rate(one: _Moment, other: _Moment, seconds: float) -> int:
    return round(max(0.0, seconds) / max(1e-3, other.at_s - one.at_s) * _US_PER_S)


def _seconds(pid: int) -> tuple[float, float]:
    """Read what a process took itself, and what its children did that it has waited for; nothing of one that ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return 0.0, 0.0
    values: Sequence[str] = text.rpartition(")")[2].split()
    utime, stime, cutime, cstime = (int(value) / os.sysconf("SC_CLK_TCK") for value in values[11:15])
    return utime + stime, cutime + cstime
