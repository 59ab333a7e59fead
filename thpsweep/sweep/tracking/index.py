"""Know where the records of a journal begin, without holding them; read on from where one was."""

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from thpsweep.errors import SweepError
from thpsweep.sweep.records import journal
from thpsweep.sweep.records.schema import PointRecord, Record, ResultRecord


class LatestResult(NamedTuple):
    """Where a point's latest result begins in the journal, when it came in, and whether it is a success."""

    start: int
    finished: str
    done: bool


class JournalIndex:
    """The byte at which each record of a sweep's journal begins, as far as it was read."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.file = directory, directory / journal.FILE_NAME
        self.header: Record = {}
        self.is_open = False
        """Whether it is a search that may ask more points."""
        self.points: dict[str, int] = {}
        self.results: dict[str, LatestResult] = {}
        self._offset = 0

    def read_on(self) -> set[str]:
        """Read what is new; give the points that have a new result. Raises: SweepError where it is no journal."""
        new = set()
        for after, record in journal.heads(self.file, self._offset):
            if record["type"] == "sweep":
                self.header = self.header or record
            elif record["type"] == journal.CONCLUDED:
                self.is_open = False
            elif record["type"] == "point":
                self.is_open = self.is_search
                self.points[sys.intern(record["id"])] = self._offset
            elif record["type"] == "result" and record["id"] in self.points:
                key = sys.intern(record["id"])
                self.results[key] = LatestResult(self._offset, record["finished"], record["state"] == "done")
                new.add(key)
            self._offset = after
        if not self.header:
            raise SweepError(f"{self.file}: {journal.NO_HEADER}")
        return new

    @property
    def is_search(self) -> bool:
        """Whether its points are asked one after the other."""
        return "search" in self.header

    def point(self, key: str) -> PointRecord:
        """Read the record of a point."""
        record: PointRecord = journal.at(self.file, self.points[key])
        return record

    def result(self, start: int) -> ResultRecord:
        """Read the record of the result that begins at a byte."""
        record: ResultRecord = journal.at(self.file, start)
        return record

    def some_results(self, most: int) -> list[ResultRecord]:
        """Read a few of the latest results of points, spread over all of them."""
        starts = [result.start for result in self.results.values() if result.done]
        return [self.result(start) for start in starts[:: max(1, math.ceil(len(starts) / most))]]

    def every_result(self) -> Iterator[tuple[str, int]]:
        """Give the points of all results, earlier ones too, and the bytes at which these begin."""
        start = 0
        for after, record in journal.heads(self.file, 0):
            if record["type"] == "result" and record["id"] in self.points:
                yield record["id"], start
            start = after
