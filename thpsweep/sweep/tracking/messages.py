"""Messages between a driver and the process that writes to MLflow for it, one per line; no MLflow here.

The driver sends an Order, then ENDED when all results are in the journal, then OVER or FINAL; when it is gone, its lines
end. It receives an empty line for each step that was done, and text that is for the user.
"""

import dataclasses
import json
import os
import select
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from thpsweep.sweep.tracking.labels import Labels
from thpsweep.sweep.tracking.target import Target

ENDED = "ended"
OVER = "over"
"""Add what is left, and end."""

FINAL = "final"
"""Add what is left, the files of the sweep's directory, too, and end."""

GONE = ""
"""Stands for the end of lines."""


@dataclasses.dataclass(frozen=True)
class Order:
    """Which sweep to record, and where. It is not in the command line, as the target may hold a password."""

    directory: Path
    target: Target
    labels: Labels = Labels()  # noqa: RUF009 it is immutable

    def encode(self) -> str:
        """Encode as one line."""
        where = [str(self.directory), self.target.uri, str(self.target.artefacts)]
        return json.dumps([*where, dataclasses.asdict(self.labels)])

    @classmethod
    def decode(cls, line: str) -> Self:
        """Decode what `encode` gave."""
        directory, uri, artefacts, labels = json.loads(line)
        return cls(Path(directory), Target(uri, Path(artefacts)), Labels(**labels))


class Lines:
    """Read lines from a file descriptor, waiting no longer than asked to."""

    def __init__(self, handle: int) -> None:
        self._handle, self._rest = handle, b""

    def next(self, timeout_s: float | None = None) -> str | None:
        """Give the next line, GONE where there will be none, None where none came in time; None waits for ever."""
        while b"\n" not in self._rest:
            if not select.select([self._handle], [], [], timeout_s)[0]:
                return None
            more = os.read(self._handle, 65536)
            if not more:
                return GONE
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()


def command(module: str) -> Sequence[str]:
    """Give the command of a process that runs a module's main(), and finds modules where this process does."""
    program = f"import sys; sys.path[:] = sys.argv[1:]; from {module} import main; main()"
    return [sys.executable, "-c", program, *sys.path]
