"""Where a capture comes from, without anything that could be a value, a user or a host."""

import os
import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from thpsweep.linux.proc import lru_gen
from thpsweep.linux.proc.tree import Tree
from thpsweep.units import HPAGE_PMD_SIZE_BYTES, PAGE_SIZE_BYTES

_THP = Path("/sys/kernel/mm/transparent_hugepage")
_PMD_SIZE = f"hugepages-{HPAGE_PMD_SIZE_BYTES // 1024}kB"
_KHUGEPAGED_COUNTERS = ("full_scans", "pages_collapsed")
_LONG_OPTION = re.compile(r"--[A-Za-z][A-Za-z-]{1,31}(?![^=])")
_SHORT_OPTION = re.compile(r"-[A-Za-z]")


def describe(tree: Tree) -> dict[str, str | int]:
    """Describe the program, the kernel and its THP settings."""
    pid = tree.processes[0].pid
    program = _read(Path(f"/proc/{pid}/comm"))
    arguments = _read(Path(f"/proc/{pid}/cmdline"), strip=False).split("\0")
    khugepaged = [path for path in sorted((_THP / "khugepaged").glob("*")) if path.name not in _KHUGEPAGED_COUNTERS]
    return {
        "program": program,
        "command": command(program, arguments),
        "kernel_release": platform.release(),
        "machine": platform.machine(),
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "page_size": PAGE_SIZE_BYTES,
        "processes": len(tree.processes),
        "thp_enabled": _setting(_THP / "enabled"),
        "thp_pmd_setting": _setting(_THP / _PMD_SIZE / "enabled"),
        "thp_pmd_enabled": enabled_for_pmds(),
        "thp_defrag": _setting(_THP / "defrag"),
        "min_free_kbytes": _setting(Path("/proc/sys/vm/min_free_kbytes")),
        "reclaim": reclaim(),
        "thp_disabled_processes": sum(is_thp_off(process.pid) for process in tree.processes),
        **{f"khugepaged_{path.name}": _setting(path) for path in khugepaged},
    }


def reclaim(home: Path = Path("/")) -> str:
    """Say how this machine reclaims anonymous memory: `none` without swap, else `mglru` or `classic`.

    Source: mm/vmscan.c can_reclaim_anon_pages() (v6.18).
    """
    if len(_read(home / "proc/swaps").splitlines()) < 2:  # a title, then a line for each
        return "none"
    return "mglru" if lru_gen.is_enabled(home) else "classic"


def command(program: str, arguments: Sequence[str]) -> str:
    """Keep the name of the program and of its options: no value, no positional argument, nothing glued to an option.

    A process may have written a title over its arguments, so that the first one holds several words.
    """
    first, *rest = arguments
    name = (os.path.basename(first).split() or [program])[0]
    kept = [name if name.startswith(program) else program]
    for argument in [*first.split()[1:], *rest]:
        if argument == "--":
            break
        option = _LONG_OPTION.match(argument) or (_SHORT_OPTION.match(argument) if argument[1:2] != "-" else None)
        kept += [option.group()] if option else []
    return " ".join(kept)


def enabled_for_pmds(home: Path = _THP) -> str:
    """Give what counts for huge pages of 2 MiB: their own setting (Linux 6.8), which may inherit the one for all sizes.

    Source: include/linux/huge_mm.h hugepage_pmd_enabled(), __thp_vma_allowable_orders() (v6.18).
    """
    own = _setting(home / _PMD_SIZE / "enabled")
    return str(_setting(home / "enabled") if own in ("inherit", "absent") else own)


def _setting(path: Path) -> str | int:
    """Read a setting of sysfs: the chosen word of a list, or the number."""
    text = _read(path)
    chosen = re.search(r"\[(.+)\]", text)
    if chosen:
        return chosen.group(1)
    return int(text) if text.isdecimal() else text or "absent"


def is_thp_off(pid: int) -> bool:
    """Tell whether a process has THP off for all of its memory (prctl PR_SET_THP_DISABLE)."""
    return re.search(r"^THP_enabled:\s+0$", _read(Path(f"/proc/{pid}/status")), re.MULTILINE) is not None


def _read(path: Path, strip: bool = True) -> str:
    """Read a small file of the kernel; one that is not there, as on a kernel without THP, is empty."""
    try:
        text = path.read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return text.strip() if strip else text
