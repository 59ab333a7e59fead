"""What a driver and the process that talks to MLflow for it say to each other, a line each; no MLflow here.

The driver says an Order, then ENDED when all results are in the journal, then OVER or FINAL; when it is gone, its lines
end. It is told of each step by an empty line, and in words what the user has to know.
"""

import dataclasses
import json
import os
import select
from pathlib import Path
from typing import Self

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

    def written(self) -> str:
        """Write it as one line."""
        return json.dumps([str(self.directory), self.target.uri, str(self.target.artefacts)])

    @classmethod
    def read(cls, line: str) -> Self:
        """Read what `written` wrote."""
        directory, uri, artefacts = json.loads(line)
        return cls(Path(directory), Target(uri, Path(artefacts)))


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
