"""Record what is done: one JSON object a line, sealed with its checksum; everything else can be rebuilt from it.

A line that is not as it was written is damaged: readers pass over it, and `writer.py` moves it aside at the next start.
"""

import dataclasses
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from thpsweep.errors import SweepError
from thpsweep.sweep.records.schema import PointRecord, Record, ResultRecord

FORMAT = 2
"""Version of the records; another one is refused, not guessed at."""

FILE_NAME = "journal.jsonl"

CONCLUDED = "concluded"
"""Type of the record that a search proposes no more points; one that proposes again later has another at its end."""

NO_HEADER = "the record of the sweep is missing or damaged; the sweep's own command writes it anew"

RESULT_HEAD = re.compile(rb'\{"type": "result", "id": "(\w+)", "state": "(\w+)", "finished": "([\w:.+-]+)"')
"""How a result begins, which has thousands of numbers; one that begins otherwise is read to its end."""


class Stored(Mapping[str, Any]):
    """Records by their point's id, read from the journal one at a time: a sweep may have more than memory holds."""

    def __init__(self, file: Path, places: Mapping[str, int]) -> None:
        self._file, self._places = file, places

    def __getitem__(self, key: str) -> Any:
        with self._file.open("rb") as file:
            file.seek(self._places[key])
            body = unsealed(file.readline())
        if body is None:
            raise SweepError(f"{self._file}: a record was damaged while it was being read; start again")
        return json.loads(body)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


@dataclasses.dataclass(frozen=True, eq=False)
class Sweep:
    """What a journal held when it was read: the points in their order, the latest result of each that has one, its state."""

    directory: Path
    header: Record
    points: Mapping[str, PointRecord]
    results: Mapping[str, ResultRecord]
    states: Mapping[str, str]
    concluded: bool = False
    """Whether it is a search that is over."""

    @property
    def done(self) -> set[str]:
        """Ids of the points that need not run again."""
        return {point for point, state in self.states.items() if state == "done"}


def sealed(record: Record) -> bytes:
    """Write a record as a line with the CRC-32 of its JSON as last key. inf and nan stay as they are."""
    return _seal(json.dumps(record).encode())


def unsealed(line: bytes) -> bytes | None:
    """Give the JSON of a line; nothing where a single bit of it is not as it was written."""
    body = line[: -len(_seal(b""))] + b"}"
    return body if _seal(body) == line else None


def _seal(body: bytes) -> bytes:
    return body[:-1] + b', "crc32": "%08x"}\n' % zlib.crc32(body)


def records(path: Path, start: int = 0) -> Iterator[tuple[int, Record]]:
    """Give each record from byte `start` of a journal on, and where the next one begins: the `start` to go on from.

    Passes over what is damaged, and ends before a line that is still being written.
    """
    for line, end in lines(file_in(path), start):
        body = unsealed(line)
        if body is not None:
            yield end, json.loads(body)


def heads(path: Path, start: int = 0) -> Iterator[tuple[int, Record]]:
    """Give what `records` gives, but of a result no more than id, state and when it came in, which is ten times as fast."""
    for line, end in lines(file_in(path), start):
        body = unsealed(line)
        if body is not None:
            yield end, _head(body)


def _head(body: bytes) -> Record:
    match = RESULT_HEAD.match(body)
    if match is None:
        record: Record = json.loads(body)
        return record
    key, state, finished = map(bytes.decode, match.groups())
    return {"type": "result", "id": key, "state": state, "finished": finished}


def at(path: Path, start: int) -> Any:
    """Give the first record from byte `start` on: one that `records` gave this byte to, or that follows it."""
    return next(records(path, start))[1]


def lines(file: Path, start: int = 0) -> Iterator[tuple[bytes, int]]:
    """Give each line from byte `start` on, and the byte after it; what was moved aside has left a blank one."""
    end = start
    with file.open("rb") as content:
        content.seek(start)
        for line in content:
            end += len(line)
            if line.strip(b" \n"):
                yield line, end


def read(path: Path) -> Sweep:
    """Read a sweep from its directory or its journal, also while it is being written.

    Raises: SweepError where there is no journal, or one that does not say of which sweep.
    """
    file = file_in(path)
    if not file.is_file():
        raise SweepError(f"{file}: no such journal")
    sweep = contents(file)
    if not sweep.header:
        raise SweepError(f"{file}: {NO_HEADER}")
    return sweep


def contents(file: Path) -> Sweep:
    """Read whatever a journal holds, be it nothing. Raises: SweepError where it is of another format."""
    header: Record = {}
    points: dict[str, tuple[int, int]] = {}
    results: dict[str, tuple[int, str]] = {}
    concluded = False
    refuse_old_format(file)
    for line, end in lines(file):
        body = unsealed(line)
        record: Record = {"type": "damaged"} if body is None else _head(body)
        if record["type"] == "sweep":
            header = record
        elif record["type"] == "point":
            concluded = False
            points[record["id"]] = (record["index"], end - len(line))
        elif record["type"] == "result":
            results[record["id"]] = (end - len(line), record["state"])
        elif record["type"] == CONCLUDED:
            concluded = True
    if header and header.get("format") != FORMAT:
        raise SweepError(f"{file}: format {header.get('format')!r}; this version reads {FORMAT}")
    ordered = sorted(points, key=points.__getitem__)
    known = {key: found for key, found in results.items() if key in points}
    return Sweep(
        directory=file.parent,
        header=header,
        points=Stored(file, {key: points[key][1] for key in ordered}),
        results=Stored(file, {key: place for key, (place, _) in known.items()}),
        states={key: state for key, (_, state) in known.items()},
        concluded=concluded,
    )


def refuse_old_format(file: Path) -> None:
    """Tell a journal of format 1, whose lines have no checksum, from one whose every line is damaged."""
    first = next((line for line, _ in lines(file)), b"")
    if first.startswith(b'{"type": "sweep", "format": 1,') and b'"crc32"' not in first:
        raise SweepError(f"{file}: format 1; this version reads {FORMAT}; move it away, and the sweep starts anew")


def file_in(path: Path) -> Path:
    """Find the journal in a sweep's directory; a path that is no directory is the journal's own."""
    return path / FILE_NAME if path.is_dir() else path
