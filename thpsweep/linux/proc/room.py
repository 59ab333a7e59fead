"""How much memory a process may still get: what the machine has available, or what its memory cgroup leaves."""

import re
from pathlib import Path

from thpsweep.linux.proc.cgroups import LIMITS, UNLIMITED_BYTES, hierarchies

_USAGE = {"cgroup2": "memory.current", "cgroup": "memory.usage_in_bytes"}


def available(pid: int) -> tuple[int, str]:
    """Give the memory that a process may still get, and what bounds it."""
    text = Path("/proc/meminfo").read_text()
    matched = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    rooms = [(int(matched[1]) * 1024 if matched else 0, "this machine has available")]
    for hierarchy in hierarchies("memory", Path(f"/proc/{pid}")):
        for directory in hierarchy.upwards():
            limit, used = (_number(directory / names[hierarchy.kind]) for names in (LIMITS, _USAGE))
            if limit is not None and used is not None and limit < UNLIMITED_BYTES:
                rooms.append((max(0, limit - used), f"its memory cgroup leaves ({directory})"))
    return min(rooms)


def _number(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
