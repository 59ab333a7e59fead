"""What `thpsweep collapse` prints: the plan, and what came of it."""

from collections.abc import Iterator
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from thpsweep.linux.collapse.apply import CollapseDone
from thpsweep.linux.collapse.call import MEANINGS
from thpsweep.linux.collapse.plan import CollapsePlan, bytes_of
from thpsweep.linux.collapse.sums import TreeSums
from thpsweep.units import NS_PER_MS, PAGE_SIZE_BYTES, size

_SLOW_NS = 2 * NS_PER_MS
"""A collapse takes 0.5 to 0.8 ms where memory is at hand, and 6 to 9 where a host has to give it first (Zen 3, 6.18)."""

MOST_PROCESSES = 20
"""Processes that get a line of their own."""


def plan_table(plan: CollapsePlan) -> Table:
    """Lay the plan out, process by process."""
    laid = Table(box=box.SIMPLE, pad_edge=False)
    laid.add_column("process")
    for heading in ("in use", "huge already", "THP forbidden", "to collapse", "memory more", "sharing lost"):
        laid.add_column(heading, justify="right")
    most = "at most " if plan.is_bound else ""
    for position, process in enumerate(plan.tree.processes[:MOST_PROCESSES]):
        mine = plan.of(position)
        extra, lost = (
            sum(pages) * PAGE_SIZE_BYTES for pages in ([e.extra_pages for e in mine], [e.unshared_pages for e in mine])
        )
        n_bytes = map(bytes_of, (plan.n_used[position], plan.n_huge[position], plan.n_forbidden[position], len(mine)))
        laid.add_row(
            *map(Text, (f"{process.pid} {_name(process.pid)}", *map(size, n_bytes), most + size(extra), size(lost)))
        )
    return laid


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return "(ended)"


def plan_lines(plan: CollapsePlan, limit: str) -> Iterator[str]:
    """Say what it would do in whole, and what keeps the rest from it."""
    if len(plan.tree.processes) > MOST_PROCESSES:
        yield f"... and {len(plan.tree.processes) - MOST_PROCESSES} more processes"
    most = "at most " if plan.is_bound else ""
    if plan.wanted:
        n, more = len(plan.wanted), f"{most}{size(plan.extra_bytes)} more memory"
        yield f"{size(bytes_of(n))} would become huge pages ({n} of 2 MiB), and take {more}."
    if plan.unshared_bytes:
        yield (
            f"{size(plan.unshared_bytes)} are shared with other processes: each huge page is a private copy of its own, and "
            "the sharing does not come back."
        )
    if plan.is_bound:
        yield "Frame numbers are hidden (no CAP_SYS_ADMIN): what is shared is taken to stay with others."
    if any(plan.n_forbidden):
        yield (
            f"{size(bytes_of(sum(plan.n_forbidden)))} may not be huge: the program forbids it (MADV_NOHUGEPAGE, or "
            "PR_SET_THP_DISABLE as redis-server does by its default `disable-thp yes`)."
        )
    if plan.n_beyond:
        yield f"{size(bytes_of(plan.n_beyond))} more would not fit {limit}: those that cost least memory come first."


def done_table(plan: CollapsePlan, done: CollapseDone, n_huge: int, before: TreeSums, after: TreeSums) -> Table:
    """Put what was planned for the regions that were collapsed beside what the kernel shows now."""
    laid = Table(box=box.SIMPLE, pad_edge=False)
    laid.add_column("")
    for heading in ("planned", "found"):
        laid.add_column(heading, justify="right")
    extra = sum(each.extra_pages for each in done.collapsed) * PAGE_SIZE_BYTES
    n_asked, n_done = len(plan.wanted), len(done.collapsed)
    rows = [
        ("huge pages made", str(n_asked), f"{n_huge} (mapped by a PMD now)"),
        ("AnonHugePages", f"{size(before.huge_kib * 1024)} + {size(bytes_of(n_done))}", size(after.huge_kib * 1024)),
        ("memory more", ("at most " if plan.is_bound else "") + size(extra), size((after.pss_kib - before.pss_kib) * 1024)),
        ("CPU time of collapsing", "", f"{done.cpu_ns / NS_PER_MS:,.1f} ms" + _each(done)),
    ]  # fmt: skip
    for row in rows:
        laid.add_row(*map(Text, row))
    return laid


def _each(done: CollapseDone) -> str:
    return f" ({done.cpu_ns / NS_PER_MS / done.n_asked:.2f} ms a huge page)" if done.n_asked else ""


def done_lines(plan: CollapsePlan, done: CollapseDone) -> Iterator[str]:
    """Say what was refused, what was left, and how it is undone."""
    for name, n in done.refused.most_common():
        yield f"refused by the kernel: {n} regions, {name}: {MEANINGS.get(name, 'see madvise(2)')}"
    if left := len(plan.wanted) - done.n_asked:
        yield f"{done.stopped}: {left} regions were not asked for; the same command goes on with them"
    if done.n_asked and done.cpu_ns > _SLOW_NS * done.n_asked:
        yield (
            "A huge page took far longer than copying 2 MiB does: in a virtual machine whose host gives memory at its first "
            "touch that is the host's part."
        )
    if done.collapsed:
        yield (
            "To undo it, restart the processes: no call gives small pages back, and what was shared stays apart. Where a "
            "process forks later, its children share its huge pages."
        )
