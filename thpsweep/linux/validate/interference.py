"""Interference: what others did to memory during a step, as counters of the kernel show it, whatever came of the step.

Source: mm/vmstat.c vmstat_text; mm/damon/ops-common.c damon_get_folio(), which takes a reference, damon_folio_mkold(), which
moves young bits from ptes to the folio, for all its sharers, and marks it idle (v6.18).
"""

import re
from pathlib import Path

DAMON = "DAMON ran"
"""It may have held a reference for a moment; all other interference has changed something."""

IDLE = "DAMON moved young bits"

FILL = "fill"
"""Name of a write that begins with a compaction of all memory."""

_COUNTERS = {
    "thp_split_page": ("folios were split", ("page_out", "punch", FILL)),
    "pgmigrate_success": ("pages were migrated", ("migrate", FILL)),
    "pswpout": ("pages were swapped out", ("page_out",)),
}
"""Counters of the whole machine: what a rise means, and the steps of a case that raise it themselves."""

_YOUNG = ("scan",)
"""Steps that ask what is young, which no look shows: what was done to it at any time before shows here."""

_VMSTAT = Path("/proc/vmstat")
_PROC = Path("/proc")


class InterferenceWatch:
    """Watch counters and threads of the kernel from step to step."""

    def __init__(self, vmstat: Path = _VMSTAT, proc: Path = _PROC) -> None:
        self._vmstat = vmstat
        self._kdamonds = [comm.parent for comm in proc.glob("[0-9]*/comm") if _text(comm).startswith("kdamond")]
        self._counts, self._ran = self._read(), self._damon()
        self._seen: set[str] = set()
        self._idle = False

    def after(self, verb: str, idle: bool = False) -> None:
        """Note what has happened since the last time, during one step of a case (nothing of its own: "").

        idle: whether a page of the case is marked idle now.
        """
        self._idle |= idle
        counts, ran = self._read(), self._damon()
        for name, (what, raised_by) in _COUNTERS.items():
            if counts.get(name) != self._counts.get(name) and verb not in raised_by:
                self._seen.add(what)
        if ran != self._ran:
            self._seen.add(DAMON)
        self._counts, self._ran = counts, ran

    def take(self, verb: str) -> list[str]:
        """Give what was seen since the last call, and begin anew for the next step."""
        seen, self._seen = self._seen, set()
        return sorted(seen | {IDLE} if self._idle and verb in _YOUNG else seen)

    def _read(self) -> dict[str, int]:
        pairs = re.findall(r"^(\w+) (\d+)$", self._vmstat.read_text(), re.MULTILINE)
        return {name: int(value) for name, value in pairs if name in _COUNTERS}

    def _damon(self) -> list[str]:
        """Read how long each thread of DAMON has run: a thread that waits for a lock, with a reference, has run before."""
        return [_text(home / "schedstat").partition(" ")[0] for home in self._kdamonds]


def _text(path: Path) -> str:
    """Read a file of a process that may have ended, or that this kernel does not have."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
