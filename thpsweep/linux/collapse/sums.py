"""What the kernel says of all processes of a tree together, and who else shares their memory."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from thpsweep.linux.proc.tree import Tree, family, look_up


@dataclass(frozen=True)
class TreeSums:
    """Sums over a tree. Units: KiB."""

    huge_kib: int
    pss_kib: int
    tables_kib: int


def sums(tree: Tree) -> TreeSums:
    """Add up what smaps_rollup and status say."""
    totals = Counter[str]()
    for each in tree.processes:
        for name in ("smaps_rollup", "status"):
            try:
                text = Path(f"/proc/{each.pid}/{name}").read_text(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            totals.update({key: int(n) for key, n in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)})
    return TreeSums(totals["AnonHugePages"], totals["Pss_Anon"] or totals["Pss"], totals["VmPTE"])


def sharers(pid: int) -> Tree:
    """List all forks of one program start that a process is one of: Pss of these adds up to the memory of them all.

    Raises: CaptureError where it has ended.
    """
    top = look_up(pid)
    while top is not None:
        parent = look_up(top.parent_pid)
        if parent is None or parent.image != top.image or not any(top.image):
            return family(top.pid, True)
        top = parent
    return family(pid, True)
