"""Read the limits of the cgroup that this process runs in: memory, CPU, and how often the kernel killed for want of memory.

Batch systems, systemd, docker and Kubernetes bound a job there. Limits of the cgroups above it hold, too.
Source: cgroups(7); Documentation/admin-guide/cgroup-v2.rst (memory.max, memory.events, cpu.max);
Documentation/admin-guide/cgroup-v1/memory.rst (memory.limit_in_bytes, memory.oom_control);
Documentation/scheduler/sched-bwc.rst (cpu.cfs_quota_us).
"""

import contextlib
import dataclasses
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

UNLIMITED_BYTES = 1 << 60
"""v1 has no word for no limit: it gives the largest number of pages."""

LIMITS = {"cgroup2": "memory.max", "cgroup": "memory.limit_in_bytes"}
EVENTS = {"cgroup2": "memory.events", "cgroup": "memory.oom_control"}


@dataclasses.dataclass(frozen=True)
class Hierarchy:
    """A mounted hierarchy: its file system's type, where it is mounted, and where this process is in it."""

    kind: str
    mount: Path
    directory: Path

    def upwards(self) -> Iterator[Path]:
        """Give the cgroup of this process and those above it, as far as they can be seen from here."""
        yield self.directory
        if self.directory != self.mount:
            yield from (path for path in self.directory.parents if path.is_relative_to(self.mount))


@dataclasses.dataclass(frozen=True)
class MemoryLimit:
    """So much memory may all processes of this cgroup have together. `source` is the file that says so, for people."""

    limit_bytes: int
    source: str


def memory_limit(proc: Path = Path("/proc/self")) -> MemoryLimit:
    """Give the least of this machine's memory and the limits of all cgroups that this process is in."""
    limits = [MemoryLimit(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), "this machine's memory")]
    for hierarchy in hierarchies("memory", proc):
        for directory in hierarchy.upwards():
            file = directory / LIMITS[hierarchy.kind]
            text = _read(file)
            if text.isdigit() and int(text) < UNLIMITED_BYTES:
                limits.append(MemoryLimit(int(text), str(file)))
    return min(limits, key=lambda limit: limit.limit_bytes)


def usable_cpus(proc: Path = Path("/proc/self")) -> int:
    """Count the CPUs that are worth a process each: those of the affinity mask, bounded by the quota of the cgroup."""
    quotas = [len(os.sched_getaffinity(0)), *_quotas(proc)]
    return max(math.ceil(min(quotas)), 1)


def cpu_share(proc: Path = Path("/proc/self")) -> float | None:
    """Give the CPUs' worth of time that the quota grants; nothing where there is no quota. Units: CPUs."""
    return min(_quotas(proc), default=None)


def oom_kills(proc: Path = Path("/proc/self")) -> int:
    """Count the processes of this cgroup that the kernel has killed for want of memory; 0 where it does not say."""
    counts = [0]
    for hierarchy in hierarchies("memory", proc):
        match = re.search(r"^oom_kill (\d+)$", _read(hierarchy.directory / EVENTS[hierarchy.kind]), re.MULTILINE)
        counts += [int(match[1])] if match else []
    return max(counts)


def hierarchies(controller: str, proc: Path = Path("/proc/self")) -> list[Hierarchy]:
    """List the mounted hierarchies that may bound a resource: that of v1 which has the controller, and v2's."""
    places = _places(_read(proc / "cgroup"))
    mounts = [_mount(line) for line in _read(proc / "mountinfo").splitlines() if " - cgroup" in line]
    return [
        Hierarchy(kind, mount, _directory(mount, root, places["" if kind == "cgroup2" else controller]))
        for kind, root, mount, options in mounts
        if ("" in places and kind == "cgroup2") or (kind == "cgroup" and controller in options and controller in places)
    ]


def _quotas(proc: Path) -> list[float]:
    quotas = []
    for hierarchy in hierarchies("cpu", proc):
        for directory in hierarchy.upwards():
            if hierarchy.kind == "cgroup2":
                quota, _, period = _read(directory / "cpu.max").partition(" ")
            else:
                quota, period = _read(directory / "cpu.cfs_quota_us"), _read(directory / "cpu.cfs_period_us")
            if quota.isdigit() and period.isdigit() and int(period):  # "max" and "-1" are none
                quotas.append(int(quota) / int(period))
    return quotas


def _places(text: str) -> dict[str, str]:
    """Give the path of this process by controller; that of v2 by none. Source: fs/proc, cgroups(7), /proc/PID/cgroup."""
    lines = [line.split(":", 2) for line in text.splitlines() if line.count(":") >= 2]
    return {name: path for _, names, path in lines for name in names.split(",")}


def _mount(line: str) -> tuple[str, str, Path, list[str]]:
    """Give type, root, mount point and super block options of a line of mountinfo. Source: proc_pid_mountinfo(5)."""
    before, _, after = line.partition(" - ")
    root, point = before.split()[3:5]
    kind, _, options = after.split()[:3]
    return kind, _unescaped(root), Path(_unescaped(point)), options.split(",")


def _directory(mount: Path, root: str, place: str) -> Path:
    """Find a cgroup below a mount that may show a part of the hierarchy only, as in a container."""
    if root != "/" and (place == root or place.startswith(f"{root}/")):
        place = place[len(root) :]
    directory = mount / place.lstrip("/")
    return mount if ".." in place or not directory.is_dir() else directory


def _unescaped(text: str) -> str:
    return re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), text)


def _read(file: Path) -> str:
    with contextlib.suppress(OSError):
        return file.read_text().strip()
    return ""
