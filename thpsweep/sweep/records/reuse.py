"""Find results that other sweeps of the same folder have: a point has the same id wherever it stands, if code is equal."""

import dataclasses
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from thpsweep.sweep.records import journal
from thpsweep.sweep.records.identity import code_id
from thpsweep.sweep.records.schema import Record, ResultRecord
from thpsweep.sweep.records.writer import Journal

AT_ONCE = 50
"""Results that are copied in one write: each may be 50 KB."""


@dataclasses.dataclass(frozen=True)
class RecordPlace:
    """Where a result stands: a journal, and a byte at or before the record's first."""

    file: Path
    start: int

    @property
    def sweep(self) -> str:
        """Name the sweep."""
        return self.file.parent.name

    def result(self) -> ResultRecord:
        """Read it; it says where it comes from."""
        record: ResultRecord = journal.at(self.file, self.start)
        return {**record, "source": record.get("source", self.sweep)}


def elsewhere(root: Path, own: Path, wanted: Collection[str]) -> dict[str, RecordPlace]:
    """Find the successes of points by id, in journals below `root` but that of the sweep in `own`."""
    found: dict[str, RecordPlace] = {}
    for file in sorted(root.glob(f"*/{journal.FILE_NAME}")) if wanted else ():
        if file.parent != own and _header(file).get("code") == code_id():
            found = {**_successes(file, wanted), **found}
    return found


def other_code(root: Path, own: Path, overrides: Collection[str]) -> list[str]:
    """Name the sweeps below `root` that the same command made with other code: their results are none of this code's."""
    headers = {file.parent: _header(file) for file in sorted(root.glob(f"*/{journal.FILE_NAME}"))}
    same = {path: header for path, header in headers.items() if header.get("overrides") == list(overrides)}
    return [path.name for path, header in same.items() if path != own and header.get("code") != code_id()]


def take_over(log: Journal, places: Mapping[str, RecordPlace]) -> list[str]:
    """Copy results into a journal; give the names of the sweeps that they come from."""
    waiting = list(places.values())
    while waiting:
        log.append(*(place.result() for place in waiting[:AT_ONCE]))
        del waiting[:AT_ONCE]
    return sorted({place.sweep for place in places.values()})


def _successes(file: Path, wanted: Collection[str]) -> dict[str, RecordPlace]:
    found: dict[str, RecordPlace] = {}
    for start, record in _starts(file):
        if record["type"] == "result" and record["id"] in wanted:
            found.pop(record["id"], None)
            if record["state"] == "done":
                found[record["id"]] = RecordPlace(file, start)
    return found


def _starts(file: Path) -> Iterator[tuple[int, Record]]:
    start = 0
    for end, record in journal.heads(file):
        yield start, record
        start = end


def _header(file: Path) -> Record:
    """Read the first line alone; nothing where it is no header of this format."""
    line, _ = next(journal.lines(file), (b"", 0))
    body = journal.unsealed(line)
    record: Record = json.loads(body) if body else {}
    return record if record.get("type") == "sweep" and record.get("format") == journal.FORMAT else {}
