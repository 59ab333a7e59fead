"""Show how far a sweep is: a bar on a terminal, a plain line every few seconds anywhere else."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, SpinnerColumn, Task
from rich.text import Text

from thpsweep.sweep.driver.memory import family_bytes
from thpsweep.sweep.records.pace import Pace

LINE_EVERY_S = 5.0
MEMORY_EVERY_S = 2.0


class Meter(Protocol):
    """Is told of every outcome."""

    def __call__(self, state: str) -> None:
        """Count one more point that ended in `state`."""


class _Tally:
    """Points that ended, how fast they do, and the memory that it takes."""

    def __init__(self, total: Callable[[], int]) -> None:
        self._total, self.failed, self.pace = total, 0, Pace()
        self._memory_bytes, self._measured_s = 0, -MEMORY_EVERY_S

    def __call__(self, state: str) -> None:
        self.pace.add(time.monotonic())
        self.failed += state != "done"

    @property
    def total(self) -> int:
        """Count all points; those of a search are a prediction, which rises and falls."""
        return max(self._total(), self.pace.ended)

    def line(self) -> str:
        """Say it all without a terminal's help."""
        return f"{self.pace.ended}/{self.total} points{self.words()}"

    def words(self) -> str:
        """Say what a bar cannot show: failures, pace and time left, memory."""
        now_s = time.monotonic()
        if now_s - self._measured_s >= MEMORY_EVERY_S:
            self._memory_bytes, self._measured_s = family_bytes(), now_s
        failed = f"{self.failed} failed" if self.failed else ""
        pace = self.pace.words(now_s, self.total - self.pace.ended)
        parts = [failed, pace, f"{self._memory_bytes / 2**20:,.0f} MiB"]
        return "".join(f", {text}" for text in parts if text)


class _Words(ProgressColumn):
    """The tally's words, as they are now and not as of the last result: the time left runs on."""

    def __init__(self, tally: _Tally) -> None:
        super().__init__()
        self._tally = tally

    def render(self, task: Task) -> Text:
        """Give the text right of the bar."""
        return Text(f"points{self._tally.words()}", style="red" if self._tally.failed else "")


@contextlib.contextmanager
def progress(total: Callable[[], int]) -> Iterator[Meter]:
    """Show `total()` points going by on stderr."""
    console = Console(stderr=True)
    with _bar(total, console) if console.is_terminal else _lines(total) as meter:
        yield meter


@contextlib.contextmanager
def _bar(total: Callable[[], int], console: Console) -> Iterator[Meter]:
    tally = _Tally(total)
    columns = (SpinnerColumn(), BarColumn(), MofNCompleteColumn(), _Words(tally))
    with Progress(*columns, console=console, refresh_per_second=4) as bar:
        task = bar.add_task("points", total=tally.total)

        def meter(state: str) -> None:
            tally(state)
            bar.update(task, advance=1, total=tally.total)

        yield meter


@contextlib.contextmanager
def _lines(total: Callable[[], int]) -> Iterator[Meter]:
    tally = _Tally(total)
    said_s = time.monotonic()

    def meter(state: str) -> None:
        nonlocal said_s
        tally(state)
        if time.monotonic() - said_s >= LINE_EVERY_S:
            said_s = time.monotonic()
            print(tally.line(), file=sys.stderr, flush=True)

    yield meter
