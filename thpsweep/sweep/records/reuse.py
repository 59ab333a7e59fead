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

OTHER_CODE = "of other code than this"


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
    places: dict[str, RecordPlace] = {}
    for file in sorted(root.glob(f"*/{journal.FILE_NAME}")) if wanted else ():
        if file.parent != own and not is_of_other_code(_header(file)):
            places = {**_successes(file, wanted), **places}
    return places


def other_code(root: Path, own: Path, name: str | None, overrides: Collection[str]) -> str:
    """Say which sweeps below `root`, of the same name or made by the same command, are of other code; nothing if none.

    `name` is one that the user gave: names that nobody gave are those of many sweeps.
    """
    headers = {file.parent: _header(file) for file in root.glob(f"*/{journal.FILE_NAME}") if file.parent != own}
    alike = {
        path: header
        for path, header in headers.items()
        if header and (header.get("overrides") == list(overrides) or header.get("name") == name)
    }
    outdated = [path for path, header in alike.items() if is_of_other_code(header)]
    if not outdated:
        return ""
    newest = max(outdated, key=lambda path: (path / journal.FILE_NAME).stat().st_mtime)
    if len(outdated) == 1:
        return f"{newest} is {OTHER_CODE}: its results are not used"
    return f"{newest} and {len(outdated) - 1} more are {OTHER_CODE}: their results are not used"


def is_of_other_code(header: Record) -> bool:
    """Tell whether a journal's results are none that this code would compute."""
    return bool(header.get("code") != code_id())


def take_over(log: Journal, places: Mapping[str, RecordPlace]) -> list[str]:
    """Copy results into a journal; give the names of the sweeps that they come from."""
    waiting = list(places.values())
    while waiting:
        log.append(*(place.result() for place in waiting[:AT_ONCE]))
        del waiting[:AT_ONCE]
    return sorted({place.sweep for place in places.values()})


def _successes(file: Path, wanted: Collection[str]) -> dict[str, RecordPlace]:
    places: dict[str, RecordPlace] = {}
    for start, record in _starts(file):
        if record["type"] == "result" and record["id"] in wanted:
            places.pop(record["id"], None)
            if record["state"] == "done":
                places[record["id"]] = RecordPlace(file, start)
    return places


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
