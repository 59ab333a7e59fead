"""`thpsweep collapse`: give a running tree huge pages from outside, as nobody patches a service to call madvise()."""

import dataclasses
import math
from collections.abc import Iterable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from thpsweep.errors import CaptureError, OptionError
from thpsweep.linux.capture.capture import hidden_frames, require_kernel
from thpsweep.linux.collapse import limits, show
from thpsweep.linux.collapse.apply import CollapseDone, apply
from thpsweep.linux.collapse.call import require_permission
from thpsweep.linux.collapse.plan import CollapsePlan, huge_now, planned
from thpsweep.linux.collapse.sums import sharers, sums
from thpsweep.linux.proc.room import available
from thpsweep.linux.proc.tree import VanishedError, family
from thpsweep.units import size

ALL_DONE, NOTHING_DONE, INTERRUPTED = 0, 1, 130
_WIDE_COLUMNS = 130


@dataclasses.dataclass(frozen=True)
class CollapseRequest:
    """What to collapse, within which limits; nothing is done unless `does`. max_bytes None: a quarter of what is free."""

    pid: int
    children: bool
    max_bytes: int | None
    max_seconds: float
    does: bool

    def check(self) -> None:
        """Refuse what cannot be. Raises: OptionError."""
        if not 0 < self.max_seconds < math.inf:
            raise OptionError("--max-seconds", self.max_seconds, "a number above 0")


def run(request: CollapseRequest) -> int:
    """Plan, show, and do it if asked to. Raises: ThpsweepError."""
    request.check()
    require_kernel()
    console = _console()
    try:
        plan, limit = _planned(request)
    except VanishedError as error:
        raise CaptureError(f"pid {error.pid}: ended while it was looked at: try again") from error
    console.print(show.plan_table(plan))
    _print(console, show.plan_lines(plan, limit))
    if not plan.wanted:
        print("There is nothing to collapse.")
        return ALL_DONE
    if not request.does:
        print("Nothing has been done so far: the same command with --apply does it.")
        return ALL_DONE
    return _applied(console, plan, request)


def _planned(request: CollapseRequest) -> tuple[CollapsePlan, str]:
    """Plan within the limit; say which one that is."""
    tree = family(request.pid, request.children)
    require_permission(request.pid)
    room, whose = available(request.pid)
    max_bytes, limit = room // limits.SHARE, f"a quarter of what {whose}: {size(room // limits.SHARE)} (--max-bytes)"
    if request.max_bytes is not None:
        max_bytes, limit = request.max_bytes, f"--max-bytes ({size(request.max_bytes)})"
        if max_bytes > room:
            raise OptionError("--max-bytes", size(max_bytes), f"at most the {size(room)} that {whose}")
    return planned(tree, max_bytes, hidden_frames()), limit


def _applied(console: Console, plan: CollapsePlan, request: CollapseRequest) -> int:
    """Do it with a bar, look again, and show both sides."""
    everyone = sharers(request.pid)
    before = sums(everyone)
    done = _with_a_bar(plan, request.max_seconds)
    after, n_huge = sums(everyone), huge_now(plan.tree, done.collapsed)
    console.print(show.done_table(plan, done, n_huge, before, after))
    _print(console, show.done_lines(plan, done))
    if done.is_interrupted:
        return INTERRUPTED
    return ALL_DONE if done.collapsed else NOTHING_DONE


def _with_a_bar(plan: CollapsePlan, max_seconds: float) -> CollapseDone:
    columns = TextColumn("collapsing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, transient=True, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=len(plan.wanted))
        return apply(plan.tree, plan.wanted, max_seconds, lambda n: bar.update(task, completed=n))


def _print(console: Console, lines: Iterable[str]) -> None:
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _console() -> Console:
    console = Console()
    return Console(width=console.width if console.is_terminal else _WIDE_COLUMNS)
