"""What a sweep holds in memory: the driver and all processes below it, Ray's workers included."""

import os
from pathlib import Path


def family_bytes(pid: int | None = None) -> int:
    """Sum up what each process has for itself; what they share, Ray's object store above all, counts nowhere."""
    total, waiting = 0, [pid or os.getpid()]
    while waiting:
        process = Path("/proc") / str(waiting.pop())
        try:
            _, resident, shared, *_ = (process / "statm").read_text().split()
            total += (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
            for task in (process / "task").iterdir():
                waiting += [int(child) for child in (task / "children").read_text().split()]
        except (OSError, ValueError):  # it has ended since
            continue
    return total
