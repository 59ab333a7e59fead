"""Write a journal: append-only, one writer, repaired at start, and on the disk before anything else learns of a record."""

import contextlib
import fcntl
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from thpsweep.errors import SweepError
from thpsweep.sweep.records.journal import (
    FILE_NAME,
    Sweep,
    contents,
    lines,
    read,
    refuse_old_format,
    sealed,
    unsealed,
)
from thpsweep.sweep.records.schema import PointRecord, Record, SweepRecord

FORKED = 70
"""Exit code of a forked copy of the writer. Source: sysexits.h, EX_SOFTWARE."""

LOCK_NAME = "journal.lock"
DAMAGED_NAME = "journal.damaged"
"""Where lines go that are not as they were written."""


class Journal:
    """Append records, all of them on the disk before `append` returns; from the process that opened it and no other."""

    def __init__(self, handle: int) -> None:
        self._handle, self._writer = handle, os.getpid()

    def append(self, *records: Record) -> None:
        """Write records, or none; a forked copy of the writer ends here. Raises: OSError, such as for a full disk."""
        if os.getpid() != self._writer:
            os._exit(FORKED)  # an exception would have it clean up after the writer: its lock, its children
        size_bytes = os.fstat(self._handle).st_size
        left = memoryview(b"".join(map(sealed, records)))
        try:
            while left:
                left = left[os.write(self._handle, left) :]
            os.fsync(self._handle)
        except OSError:
            with contextlib.suppress(OSError):  # if not now, then the next start cuts it off
                os.ftruncate(self._handle, size_bytes)
            raise


@contextlib.contextmanager
def writing(directory: Path, header: SweepRecord, points: Sequence[PointRecord]) -> Iterator[tuple[Journal, Sweep]]:
    """Open the journal of `directory` for the only writer there may be, with `header` and `points` in it.

    Yields the journal and what it holds already. Raises: SweepError where another process writes it, where it is the
    journal of another sweep, or where nothing can be written.
    """
    _make(directory)
    file = directory / FILE_NAME
    with _locked(directory), _opened(file) as handle:
        refuse_old_format(file)
        repair(file)
        recorded = contents(file)
        if recorded.header and recorded.header.get("sweep") != header["sweep"]:
            raise SweepError(f"{file}: holds another sweep ({recorded.header.get('sweep')}); move it away")
        journal = Journal(handle)
        # Whoever was killed while writing the plan left a part of it; damage took another.
        missing = [
            *([] if recorded.header else [header]),
            *(point for point in points if point["id"] not in recorded.points),
        ]
        if missing:
            journal.append(*missing)
            _sync_directory(directory)
        yield journal, read(file)


def repair(file: Path) -> None:
    """Move what is not a whole record aside, say so, and leave blanks in its place, so that places stay what they are."""
    damaged = [(number, line, end) for number, (line, end) in enumerate(lines(file), start=1) if unsealed(line) is None]
    if not damaged:
        return
    aside = file.with_name(DAMAGED_NAME)
    with aside.open("ab") as kept:
        kept.write(b"".join(line.rstrip(b"\n") + b"\n" for _, line, _ in damaged))
        kept.flush()
        os.fsync(kept.fileno())
    with file.open("r+b") as journal:
        for _, line, end in damaged:
            _blank(journal.fileno(), line, end)
        os.fsync(journal.fileno())
    where = ", ".join(str(number) for number, _, _ in damaged[:10]) + (", ..." if len(damaged) > 10 else "")
    message = (
        f"{len(damaged)} damaged or unfinished, record {where}; moved to {aside.name}, what they held is done again"
    )
    print(f"thpsweep: {file}: {message}", file=sys.stderr)


def _blank(handle: int, line: bytes, end: int) -> None:
    """Blank a damaged line out; one without an end, which only the last can be, is cut off."""
    if line.endswith(b"\n"):
        os.pwrite(handle, b" " * (len(line) - 1), end - len(line))
    else:
        os.ftruncate(handle, end - len(line))


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as problem:
        allowed = "a folder that can be written to"
        raise SweepError(f"sweep.dir={str(directory.parent)!r}: expected {allowed} ({problem.strerror})") from problem


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


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[int]:
    handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        yield handle
    finally:
        os.close(handle)


def _sync_directory(directory: Path) -> None:
    """Make the journal's name as durable as its content."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
