"""What runs in a worker process; it knows neither Ray nor Hydra nor MLflow."""

import collections
import time
from collections.abc import Sequence

from thpsweep.model.plugins import prepare
from thpsweep.sweep.local.attempt import Function, attempt
from thpsweep.sweep.planning.batches import batches
from thpsweep.sweep.planning.limits import PointLimits
from thpsweep.sweep.records.schema import CheckedPoint, Outcome

MOST_S = 2.0
"""After so long a call ends where it is; the driver sends the rest of the chunk again."""

MARGIN = 2
"""What a point may take of what it was expected to, where its share of the machine is less."""


class Worker:
    """Run points in a process of its own, one of so many on its machine, where others take `reserved_bytes`."""

    def __init__(
        self, function: Function, limits: PointLimits, reserved_bytes: int, n_workers: int, declared_bytes: int = 0
    ) -> None:
        self._function = function
        self._limits = limits.shared_by(n_workers, MARGIN * declared_bytes, reserved_bytes)

    def run(self, points: Sequence[CheckedPoint]) -> list[Outcome | None]:
        """Give the outcomes of points, in their order; of some at least, and of all of them where none takes long."""
        prepare(self._function)  # points are looked at before they run
        outcomes: list[Outcome | None] = [None] * len(points)
        waiting = collections.deque(batches(list(enumerate(points))))
        began_s = time.monotonic()
        while waiting and not (any(outcomes) and time.monotonic() - began_s > MOST_S):
            batch = waiting.popleft()
            ended = attempt(self._function, [point["point"] for _, point in batch], self._limits)
            if not ended:
                waiting.extendleft([task] for task in reversed(batch))
            for (number, _), mine in zip(batch, ended, strict=False):
                outcomes[number] = mine
        return outcomes
