"""Show how far a sweep is: a bar on a terminal, a plain line every few seconds anywhere else."""

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

LINE_EVERY_S = 5.0


class Meter(Protocol):
    """Is told of every outcome."""

    def __call__(self, state: str) -> None:
        """Count one more point that ended in `state`."""


class _Tally:
    """Points that ended, and how fast they do, from the first one on: workers take their time to start."""

    def __init__(self, total: int) -> None:
        self.total, self.failed, self.ended = total, 0, 0
        self._first_s = 0.0

    def __call__(self, state: str) -> None:
        self._first_s = self._first_s or time.monotonic()
        self.ended += 1
        self.failed += state != "done"

    @property
    def pace(self) -> str:
        """Say how many points end a second, once that is known."""
        took_s = time.monotonic() - self._first_s
        if self.ended < 2 or took_s <= 0:
            return ""
        per_s = (self.ended - 1) / took_s
        return f", {per_s:.2g} a second, {(self.total - self.ended) / per_s:.0f} s left"

    def line(self) -> str:
        """Say it all without a terminal's help."""
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.ended}/{self.total} points{failed}{self.pace}"


@contextlib.contextmanager
def progress(total: int) -> Iterator[Meter]:
    """Show `total` points going by on stderr."""
    console = Console(stderr=True)
    with _bar(total, console) if console.is_terminal else _lines(total) as meter:
        yield meter


@contextlib.contextmanager
def _bar(total: int, console: Console) -> Iterator[Meter]:
    columns = (SpinnerColumn(), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    tally = _Tally(total)
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("points", total=total)

        def meter(state: str) -> None:
            tally(state)
            failed = f", [red]{tally.failed} failed[/red]" if tally.failed else ""
            bar.update(task, advance=1, description=f"points{failed}{tally.pace}")

        yield meter


@contextlib.contextmanager
def _lines(total: int) -> Iterator[Meter]:
    tally = _Tally(total)
    said_s = time.monotonic()

    def meter(state: str) -> None:
        nonlocal said_s
        tally(state)
        if time.monotonic() - said_s >= LINE_EVERY_S:
            said_s = time.monotonic()
            print(tally.line(), file=sys.stderr, flush=True)

    yield meter
