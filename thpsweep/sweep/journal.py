"""Record what is done: one JSON object a line, append-only, one writer; everything else can be rebuilt from it."""

import contextlib
import dataclasses
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from thpsweep.errors import SweepError

FORMAT = 1
"""Version of the records; another one is refused, not guessed at."""

FILE_NAME = "journal.jsonl"
LOCK_NAME = "journal.lock"

Record = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Sweep:
    """What a journal holds: the points in their order, and the latest result of each that has one."""

    directory: Path
    header: Record
    points: dict[str, Record]
    results: dict[str, Record]

    @property
    def done(self) -> set[str]:
        """Ids of the points that need not run again."""
        return {point for point, result in self.results.items() if result["state"] == "done"}


class Journal:
    """Append records, each of them on the disk before `append` returns."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def append(self, *records: Record) -> None:
        """Write records; a crash in between leaves whole lines and at most one torn one. inf and nan stay as they are."""
        self._file.write(b"".join(json.dumps(record).encode() + b"\n" for record in records))
        self._file.flush()
        os.fsync(self._file.fileno())


def read(path: Path) -> Sweep:
    """Read a sweep from its directory or its journal, also while it is being written.

    Raises: SweepError where there is no journal, or where it is damaged in other ways than a torn last line.
    """
    file = path / FILE_NAME if path.is_dir() else path
    if not file.is_file():
        raise SweepError(f"{file}: no such journal")
    return _sweep(file, _lines(file.read_bytes()))


def records(path: Path, start: int = 0) -> Iterator[tuple[int, Record]]:
    """Read record by record from the byte `start` on, also while the journal is being written.

    Yields the byte after each record, and the record; skips lines that are damaged, ends before an unfinished one.
    """
    file = path / FILE_NAME if path.is_dir() else path
    with file.open("rb") as lines:
        lines.seek(start)
        for line in lines:
            start += len(line)
            if not line.endswith(b"\n"):
                return
            with contextlib.suppress(ValueError):
                record = json.loads(line)
                if isinstance(record, dict) and "type" in record:
                    yield start, record


def at(path: Path, start: int) -> Record:
    """Read the first record from the byte `start` on: one that `records` gave this byte to, or that follows it."""
    return next(records(path, start))[1]


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as problem:
        allowed = "a folder that can be written to"
        raise SweepError(f"sweep.dir={str(directory.parent)!r}: allowed is {allowed} ({problem.strerror})") from problem


@contextlib.contextmanager
def writing(directory: Path, header: Record, points: Sequence[Record]) -> Iterator[tuple[Journal, Sweep]]:
    """Open the journal of `directory` for the only writer there may be, with `header` and `points` in it.

    Yields the journal and what it holds already. Raises: SweepError where another process writes it, where it is the
    journal of another sweep, or where nothing can be written.
    """
    _make(directory)
    file = directory / FILE_NAME
    with _locked(directory), file.open("ab") as raw:
        _cut_torn_line(file)
        records = _lines(file.read_bytes())
        journal = Journal(raw)
        if records and records[0].get("sweep") != header["sweep"]:
            raise SweepError(f"{file}: holds another sweep ({records[0].get('sweep')}); move it away")
        # Whoever was killed while writing the plan left a part of it.
        known = {record["id"] for record in records if record["type"] == "point"}
        missing = [*([] if records else [header]), *(point for point in points if point["id"] not in known)]
        if missing:
            journal.append(*missing)
            _sync_directory(directory)
        yield journal, read(file)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the sweep for this process; the kernel lets go of it however the process ends."""
    with (directory / LOCK_NAME).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise SweepError(f"{directory}: this sweep is already being run by {holder}") from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {os.uname().nodename}\n")
        lock.flush()
        yield


def _cut_torn_line(file: Path) -> None:
    """Drop what follows the last newline: a record that a crash left unfinished."""
    content = file.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(file, whole)


def _lines(content: bytes) -> list[Record]:
    """Read all whole lines; the rest is a record still being written, or torn."""
    records = []
    for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            record = json.loads(line)
            record["type"]
        except (ValueError, KeyError, TypeError) as error:
            raise SweepError(f"journal: line {number} is damaged ({error}); remove that line to go on") from error
        records.append(record)
    return records


def _sweep(file: Path, records: list[Record]) -> Sweep:
    if not records or records[0]["type"] != "sweep":
        raise SweepError(f"{file}: does not begin with the record of a sweep")
    if records[0].get("format") != FORMAT:
        raise SweepError(f"{file}: format {records[0].get('format')!r}; this version reads {FORMAT}")
    points = {record["id"]: record for record in records if record["type"] == "point"}
    results = {record["id"]: record for record in records if record["type"] == "result" and record["id"] in points}
    return Sweep(file.parent, records[0], points, results)


def _sync_directory(directory: Path) -> None:
    """Make the journal's name as durable as its content."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
