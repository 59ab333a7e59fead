"""Say how a sweep stands, running or dead, from its journal; a result is looked at once and let go."""

import collections
import dataclasses
import fcntl
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from thpsweep.errors import SweepError
from thpsweep.sweep.records import journal, reuse, run_record
from thpsweep.sweep.records.crash_log import suspects
from thpsweep.sweep.records.journal import FILE_NAME
from thpsweep.sweep.records.pace import Pace, duration
from thpsweep.sweep.records.schema import Record, ResultRecord
from thpsweep.sweep.records.writer import LOCK_NAME
from thpsweep.units import MS_PER_S

MOST_FAILURES = 5
"""Failures that are listed; all stand in the journal."""

DONE = "done"


@dataclasses.dataclass(frozen=True)
class Status:
    """How a sweep stands: the state and finishing time of each result, the last of a point counting."""

    directory: Path
    id: str
    n_points: int
    results: dict[str, tuple[str, str]]
    failures: dict[str, str]
    driver: str | None
    pace: Pace
    last_s: float | None
    searches: bool = False
    """Whether it is a search that has not concluded: it will ask more points than it has so far."""
    ended_within: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Points within which drivers ended that had no time to say why, and how many did."""
    is_of_other_code: bool = False

    def lines(self, now_s: float) -> Iterator[str]:
        """Put it in words, the first line being the sum of it."""
        counts = collections.Counter(state for state, _ in self.results.values())
        failed = len(self.results) - counts[DONE]
        kinds = ", ".join(f"{n} {state}" for state, n in sorted(counts.items()) if state not in (DONE, "failed"))
        whose = f"{failed} failed" + (f" ({kinds})" if kinds else "")
        running = f"; running: {self.driver}" if self.driver else ""
        so_far = " so far" if self.searches else ""
        yield f"{self.directory}: {counts[DONE]} of {self.n_points} points{so_far} done, {whose}{running}"
        left = self.n_points - len(self.results)
        pace = self.pace.words(now_s, left) if self.driver and left else ""
        if self.searches:
            pace = "the search goes on" if self.driver else "the search is not over"
        age = f"last result {duration(max(now_s - self.last_s, 0))} ago" if self.last_s is not None else "no result yet"
        yield "  " + "; ".join(text for text in (pace, age) if text)
        if self.is_of_other_code:
            yield f"  {reuse.OTHER_CODE}: the same command makes a sweep of its own, and uses none of these results"
        yield from (f"  failed: {text}" for text in list(self.failures.values())[:MOST_FAILURES])
        if len(self.failures) > MOST_FAILURES:
            yield f"  and {len(self.failures) - MOST_FAILURES} more"
        for name, n in list(self.ended_within.items())[:MOST_FAILURES]:
            times = "the last driver" if n == 1 else f"{n} drivers"
            yield f"  {times} ended within {name}, killed or by the point: the same command runs it in a process of its own"


def status(directory: Path) -> Status:
    """Read a sweep's journal from end to end. Raises: SweepError where it is none."""
    driver, since_s = holder(directory), 0.0
    if driver:
        since_s = (directory / LOCK_NAME).stat().st_mtime  # when the driver wrote its name there
    header: Record = {}
    named: dict[str, str] = {}
    results: dict[str, tuple[str, str]] = {}
    failures: dict[str, str] = {}
    pace, last_s, searches = Pace(), None, False
    for _, record in journal.records(directory / FILE_NAME):
        if record["type"] == "sweep":
            header = record
        elif record["type"] == journal.CONCLUDED:
            searches = False
        elif record["type"] == "point":
            searches = "search" in header
            named[record["id"]] = " ".join(f"{key}={value}" for key, value in record["params"].items())
        elif record["type"] == "result" and record["id"] in named:
            key, state = record["id"], record["state"]
            results[key] = (state, record["finished"])
            failures.pop(key, None)
            if state != DONE:
                failures[key] = f"{named[key]}: {run_record.error_line(cast(ResultRecord, record))}"
            last_s = run_record.epoch_ms(record["finished"]) / MS_PER_S
            if last_s >= since_s:
                pace.add(last_s)
    if not header:
        raise SweepError(f"{directory / FILE_NAME}: {journal.NO_HEADER}")
    # A driver that was killed while it wrote the plan, or a disk, may have left fewer points than there are.
    n_points = len(named) if "search" in header else max(len(named), header["n_points"])
    within = {} if driver else {named[key]: n for key, n in suspects(directory).items() if key in named}
    known = header["sweep"], n_points, results, failures, driver, pace, last_s, searches, within
    return Status(directory, *known, is_of_other_code=reuse.is_of_other_code(header))


def holder(directory: Path) -> str | None:
    """Name the process that runs the sweep; None where none does: the lock tells, whatever is written in it."""
    try:
        with (directory / LOCK_NAME).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return (directory / LOCK_NAME).read_text().strip() or "unknown"
    return None


def found(directories: Sequence[Path], root: Path) -> list[Path]:
    """List the directories of sweeps: those given, else all below `root`. Raises: SweepError where one is none."""
    every = list(directories) or sorted(path.parent for path in root.glob(f"*/{FILE_NAME}"))
    if not every:
        raise SweepError(f"{root}: no sweeps there")
    for directory in directories:
        if not (directory / FILE_NAME).is_file():
            raise SweepError(f"{directory}: no sweep there; expected a folder with a {FILE_NAME}")
    return every
