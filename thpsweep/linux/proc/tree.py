"""A process and its descendants, as /proc shows them."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from thpsweep.errors import CaptureError
from thpsweep.linux.proc.kcmp import first_with_mm


class VanishedError(Exception):
    """A process of the tree ended while it was read."""

    def __init__(self, pid: int) -> None:
        super().__init__(pid)
        self.pid = pid


@dataclass(frozen=True)
class TreeProcess:
    """Name a process for good: the start time tells it from a later one with the same pid."""

    pid: int
    start_ticks: int
    parent_pid: int = field(compare=False)
    vsize_bytes: int = field(compare=False)
    state: str = field(compare=False)
    image: tuple[int, int] = field(default=(0, 0), compare=False)
    """Where code and stack begin: the same in all forks of one program start, another after an exec() as a rule."""


@dataclass(frozen=True)
class Tree:
    """List a family, root first, parents before children; `parents` are positions in the list."""

    processes: tuple[TreeProcess, ...]
    parents: tuple[int, ...]


def family(pid: int, children: bool) -> Tree:
    """List a process and, if asked, its descendants that have a memory of their own, but never the calling process.

    Of processes that have one mm between them (CLONE_VM) only the first is listed.

    Raises: CaptureError if there is no such process, or it has no memory of its own.
    """
    root = look_up(pid)
    if root is None:
        raise CaptureError(f"pid {pid}: no such process")
    if root.state in "ZX":
        raise CaptureError(f"pid {pid}: has ended already (zombie)")
    if root.vsize_bytes == 0:
        raise CaptureError(f"pid {pid}: a kernel thread has no memory of its own")
    if not children:
        return Tree((root,), (0,))
    offspring: dict[int, list[TreeProcess]] = {}
    for name in os.listdir("/proc"):
        process = look_up(int(name)) if name.isdecimal() else None
        # A zombie has no memory left, and no children either: init has taken them.
        if process is not None and process.vsize_bytes > 0 and process.pid != os.getpid():
            offspring.setdefault(process.parent_pid, []).append(process)
    processes, parents = [root], [0]
    for position, parent in enumerate(processes):  # grows while it is walked: a queue
        born = sorted(offspring.get(parent.pid, []), key=lambda child: (child.start_ticks, child.pid))
        processes += born
        parents += [position] * len(born)
    return _one_per_mm(processes, parents)


def _one_per_mm(processes: list[TreeProcess], parents: list[int]) -> Tree:
    """Keep the first process of each mm; the children of the others become its children.

    A process that has ended meanwhile leaves all as they are: it is met again when it is read.
    """
    try:
        first = first_with_mm([process.pid for process in processes])
    except ProcessLookupError:
        first = list(range(len(processes)))
    kept = [position for position, owner in enumerate(first) if position == owner]
    number = {position: index for index, position in enumerate(kept)}
    return Tree(tuple(processes[at] for at in kept), tuple(number[first[parents[at]]] for at in kept))


def keep(tree: Tree, known: Iterable[TreeProcess]) -> Tree:
    """Keep the root and those known processes whose ancestors are all kept."""
    wanted = set(known)
    renumbered = {0: 0}
    for position, process in enumerate(tree.processes):
        if position and process in wanted and tree.parents[position] in renumbered:
            renumbered[position] = len(renumbered)
    processes = tuple(tree.processes[position] for position in renumbered)
    return Tree(processes, tuple(renumbered[tree.parents[position]] for position in renumbered))


def look_up(pid: int) -> TreeProcess | None:
    """Parse /proc/PID/stat, or give None if there is no such process.

    Source: Documentation/filesystems/proc.rst, table 1-4.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    values = text.rpartition(")")[2].split()  # the name before it may hold spaces and brackets
    image = int(values[23]), int(values[25])
    return TreeProcess(pid, int(values[19]), int(values[1]), int(values[20]), values[0], image)
