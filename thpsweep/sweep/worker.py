"""What runs in a worker process; it knows neither Ray nor Hydra nor MLflow."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from thpsweep.sweep.attempt import Limits, Outcome, attempt
from thpsweep.sweep.point import Point

MOST_S = 2.0
"""After so long a call ends where it is; the driver sends the rest of the chunk again."""

MARGIN = 2
"""What a point may take of what it was expected to, where its share of the machine is less."""


class Worker:
    """Run points in a process of its own, one of so many on its machine."""

    def __init__(
        self, function: Callable[[Point], Any], limits: Limits, n_workers: int, declared_bytes: int = 0
    ) -> None:
        self._function = function
        self._limits = limits.shared_by(n_workers, at_least_bytes=MARGIN * declared_bytes)

    def run(self, points: Sequence[Point]) -> list[Outcome]:
        """Give the outcomes of the first points, in order: of all of them where none takes long."""
        outcomes: list[Outcome] = []
        began_s = time.monotonic()
        for point in points:
            outcomes.append(attempt(self._function, point, self._limits))
            if time.monotonic() - began_s > MOST_S:
                break
        return outcomes
