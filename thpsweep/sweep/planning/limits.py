"""How long a point may take, and how much memory: a fair share of the machine's, where nothing is asked for."""

import dataclasses
import os
from pathlib import Path

MEMORY_SHARE = 0.8
"""Of the machine's memory, what all points that run at once may take together."""

CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a point may take. None: no deadline; of memory a fair share of the machine's."""

    deadline_s: float | None = None
    memory_bytes: int | None = None

    def shared_by(self, n_processes: int, at_least_bytes: int = 0) -> "Limits":
        """Say in bytes what a fair share of this machine is for one of so many processes."""
        share_bytes = max(_share_bytes(n_processes), at_least_bytes)
        return dataclasses.replace(self, memory_bytes=self.memory_bytes or share_bytes)


def _share_bytes(n_processes: int) -> int:
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    said = [Path(path).read_text().strip() for path in CGROUP_LIMITS if Path(path).is_file()]
    total_bytes = min([machine, *(int(text) for text in said if text.isdigit())])
    return int(total_bytes * MEMORY_SHARE / n_processes)
