"""How much memory a collapse may take: what was asked for, or a share of what is free here and in the process's cgroup."""

import re
from pathlib import Path

from thpsweep.errors import OptionError
from thpsweep.linux.proc.cgroups import LIMITS, UNLIMITED_BYTES, hierarchies

SHARE = 4
"""A quarter of what is available is taken at most, unless more is asked for."""

_USAGE = {"cgroup2": "memory.current", "cgroup": "memory.usage_in_bytes"}
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_bytes(key: str, text: str) -> int:
    """Read a size as 512M or 2GiB. Raises: OptionError."""
    matched = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if matched is None:
        raise OptionError(key, text, "a size such as 0, 512M or 2G")
    return int(float(matched[1]) * _UNITS[matched[2].upper()])


def available(pid: int) -> tuple[int, str]:
    """Give the memory that a process may still get, and what bounds it: the machine, or a memory cgroup."""
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
