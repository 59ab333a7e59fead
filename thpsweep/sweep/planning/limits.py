"""How long a point may take, and how much memory: a fair share of what this process's cgroup or machine allows."""

import dataclasses
from collections.abc import Iterable

from thpsweep.linux.proc.cgroups import MemoryLimit, memory_limit
from thpsweep.sweep.records.schema import CheckedPoint

MEMORY_SHARE = 0.8
"""Of all memory, what all points that run at once may take together."""

IDLE_BYTES = 150 << 20
"""A process that simulates nothing yet was measured at 100 to 150 MiB."""

MLFLOW_BYTES = 130 << 20
"""What the process that talks to MLflow takes."""

RAY_BYTES = 650 << 20
"""Ray's own processes, the one that holds it, the driver and MLflow: their proportional set sizes on 2 cores."""

LEAST_BYTES = 64 << 20
"""A process is allowed so much even where all of it together is more than there is."""


ADVICE = "expected fewer replicates, regions or sharers, or more memory"


@dataclasses.dataclass(frozen=True)
class PointLimits:
    """What a point may take. None: no deadline; of memory a fair share."""

    deadline_s: float | None = None
    memory_bytes: int | None = None

    def shared_by(self, n_processes: int, at_least_bytes: int = 0, reserved_bytes: int = 0) -> "PointLimits":
        """Say in bytes what one of so many processes may take beyond what it takes idle; others have reserved some."""
        share_bytes = usable_bytes(reserved_bytes) // n_processes - IDLE_BYTES
        return dataclasses.replace(
            self, memory_bytes=self.memory_bytes or max(share_bytes, at_least_bytes, LEAST_BYTES)
        )


def usable_bytes(reserved_bytes: int, limit: MemoryLimit | None = None) -> int:
    """Say how much memory there is for processes that simulate, where others take `reserved_bytes`."""
    limit = limit or memory_limit()
    return max(min(int(MEMORY_SHARE * limit.limit_bytes), limit.limit_bytes - reserved_bytes), 0)


def need_bytes(point: CheckedPoint) -> int:
    """Predict what a process takes with this point, all its replicates at once."""
    return IDLE_BYTES + int(point["state_bytes"] * point["point"]["run"]["replicates"])


@dataclasses.dataclass(frozen=True)
class Room:
    """The memory that there is for points, and the file that says so."""

    usable_bytes: int
    limit: MemoryLimit

    @classmethod
    def beside(cls, reserved_bytes: int) -> "Room":
        """Find out what is left beside others."""
        limit = memory_limit()
        return cls(usable_bytes(reserved_bytes, limit), limit)

    def holds(self, point: CheckedPoint) -> bool:
        """Tell whether a point fits, with no other at its side."""
        return need_bytes(point) <= self.usable_bytes

    def holds_all(self, points: Iterable[CheckedPoint]) -> bool:
        """Tell whether each of them fits."""
        return all(map(self.holds, points))

    def refusal(self, point: CheckedPoint) -> str:
        """Say what a point needs, what there is, and what can be done."""
        return f"it needs about {need_bytes(point) / 2**30:.2f} GiB and {self}; {ADVICE}"

    def __str__(self) -> str:
        usable, limit = self.usable_bytes / 2**30, self.limit.limit_bytes / 2**30
        return f"{usable:.2f} GiB are there for points ({self.limit.source}: {limit:.2f} GiB)"
