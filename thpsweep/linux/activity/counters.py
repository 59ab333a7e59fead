"""Hardware counters of page walks: whether this machine has any, and what to run where it has."""

from pathlib import Path

DEVICES = Path("/sys/bus/event_source/devices")
_CORE_PMUS = ("cpu", "armv8_")
"""How the kernel names the counters of a core: cpu, cpu_core and cpu_atom on x86, armv8_* on arm64."""

_INTEL = "dtlb_load_misses.walk_active,dtlb_store_misses.walk_active,cycles"


def page_walks(devices: Path = DEVICES, cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Say how to learn the share of cycles in page walks, or that this machine has no counter for it.

    Intel counts cycles in which a walk is active; AMD and arm64 count walks alone, of which no share of cycles follows.
    Source: perf-list(1); Intel SDM volume 3, "Performance monitoring events".
    """
    names = [entry.name for entry in devices.iterdir()] if devices.is_dir() else []
    if not any(name.startswith(_CORE_PMUS) for name in names):
        return "no hardware counters here, as in most VMs"
    if "GenuineIntel" not in cpuinfo.read_text(errors="replace"):
        return "this CPU counts page walks, but not the cycles that they take"
    return f"`perf stat -e {_INTEL} -p PID` tells it, the first two over the third: give it as workload.page_walk_share"
