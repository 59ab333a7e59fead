"""Which choices make no sense for a tree, and why: they are left out, with a word."""

from collections.abc import Mapping, Sequence

from thpsweep.answers.advise.choices import AS_SET, DEFAULTS, NamedPolicy, lacks_collapse

REDIS = ("redis-server", "valkey-server", "keydb-server")
"""Programs that call prctl(PR_SET_THP_DISABLE) as they start under enabled=always, unless told `disable-thp no`.

Source: redis.conf disable-thp, src/syscheck.c and server.c (Redis 7.2).
"""

FOR_WORKERS = ("MADV_COLLAPSE by parent", "MADV_COLLAPSE before fork", "THP off in workers")

FOR_POOLS = ("MADV_COLLAPSE before fork", "THP off in workers")
"""What concerns workers that the parent forks as it starts, and that live on."""

Left = dict[str, list[str]]


def sorted_out(
    found: Sequence[NamedPolicy], provenance: Mapping[str, str | int], n_processes: int
) -> tuple[list[NamedPolicy], list[str]]:
    """Keep the choices that can do something for a tree; say of the others why they are left out."""
    left: Left = {}
    kept = [each for each in found if not _left_out(each, provenance, n_processes, left)]
    return kept, [f"left out: {', '.join(names)}: {why}" for why, names in left.items()]


def _left_out(each: NamedPolicy, provenance: Mapping[str, str | int], n_processes: int, left: Left) -> bool:
    why = (_today if each.possible else _later)(each, provenance, n_processes)
    if why:
        left.setdefault(why, []).append(each.name)
    return bool(why)


def _today(each: NamedPolicy, provenance: Mapping[str, str | int], n_processes: int) -> str:
    """Say why a choice of today does nothing here; nothing where it does something."""
    program = str(provenance.get("program", ""))
    if provenance.get("thp_enabled") == "absent":
        return "the kernel of the capture has no transparent huge pages"
    if provenance.get("thp_disabled_processes", 0) == n_processes:
        return (
            "all processes have THP off (PR_SET_THP_DISABLE), so that the kernel makes nothing of theirs huge"
            + (": set `disable-thp no` and restart, then ask again" if program in REDIS else "")
        )  # fmt: skip
    if n_processes == 1 and each.name in FOR_WORKERS:
        return "there are no workers"
    if program in REDIS and each.name in FOR_POOLS:
        return f"{program}'s child writes a snapshot and ends: it is no worker"
    if each.name.startswith("MADV_COLLAPSE") and lacks_collapse(str(provenance.get("kernel_release", ""))):
        return "MADV_COLLAPSE takes Linux 6.1"
    if each.name == "THP from the start" and program in REDIS:
        return f"{program} turns THP off for itself as it starts with enabled=always (`disable-thp yes` is its default)"
    return _knob(each, provenance)


def _knob(each: NamedPolicy, provenance: Mapping[str, str | int]) -> str:
    """Say why a setting of khugepaged cannot be set, or changes nothing."""
    if each.policy["trigger"]["kind"] != "khugepaged" or "khugepaged_pages_to_scan" not in provenance:
        return ""
    for name in DEFAULTS:
        if f"/{name}" in "".join(each.commands.apply) and f"khugepaged_{name}" not in provenance:
            return f"this kernel has no khugepaged/{name}"
    if each.name in (AS_SET, "enabled=always") or "/enabled" in "".join(each.commands.apply):
        return ""
    changes = {line.rpartition("/")[2]: line.split()[1] for line in each.commands.apply if line.startswith("echo ")}
    if changes and all(str(provenance.get(f"khugepaged_{name}")) == value for name, value in changes.items()):
        return "it is set so already"
    return ""


def _later(each: NamedPolicy, provenance: Mapping[str, str | int], n_processes: int) -> str:
    del each, provenance
    return "one process shares nothing" if n_processes == 1 else ""


def known_advice(provenance: Mapping[str, str | int]) -> list[str]:
    """Say where the usual advice for a program is another one, and why."""
    if str(provenance.get("program", "")) not in REDIS:
        return []
    return [
        "Redis' own advice is against THP, because a write after the fork of BGSAVE copied 2 MiB; since Linux 5.8 it copies "
        "4 KiB and leaves the rest shared (the huge page's PMD is split), which is what is predicted here."
    ]
