"""Ask the kernel for one region after another, within a limit of time, and keep what became of it."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from thpsweep.linux.collapse.call import collapse, opened
from thpsweep.linux.collapse.plan import PlannedRegion
from thpsweep.linux.proc.tree import Tree, VanishedError, look_up


@dataclass
class CollapseDone:
    """What was collapsed, what the kernel refused with which errno, and why it ended before its end.

    Units: ns of CPU time of the calls, which is ours: the kernel collapses in the caller's name.
    """

    collapsed: list[PlannedRegion] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    cpu_ns: int = 0
    stopped: str = ""
    is_interrupted: bool = False

    @property
    def n_asked(self) -> int:
        """Count the regions that the kernel was asked for."""
        return len(self.collapsed) + self.refused.total()


def apply(
    tree: Tree, wanted: Sequence[PlannedRegion], max_seconds: float, progress: Callable[[int], None]
) -> CollapseDone:
    """Collapse regions in their order; Ctrl-C ends it between two of them. Raises: LiveError where it is not permitted."""
    done = CollapseDone()
    until = time.monotonic() + max_seconds
    try:
        for process in dict.fromkeys(each.process for each in wanted):
            _one_process(tree, [each for each in wanted if each.process == process], until, done, progress)
    except KeyboardInterrupt:
        done.stopped, done.is_interrupted = "interrupted", True
    return done


def _one_process(
    tree: Tree, wanted: Sequence[PlannedRegion], until: float, done: CollapseDone, progress: Callable[[int], None]
) -> None:
    """Collapse the regions of one process, if it is still the one that was looked at."""
    process = tree.processes[wanted[0].process]
    try:
        with opened(process.pid) as handle:
            if look_up(process.pid) != process:
                raise VanishedError(process.pid)
            for each in wanted:
                if time.monotonic() > until:
                    done.stopped = "--max-seconds reached"
                    return
                began_ns = time.thread_time_ns()
                refusal = collapse(handle, each.region)
                done.cpu_ns += time.thread_time_ns() - began_ns
                if refusal:
                    done.refused[refusal] += 1
                else:
                    done.collapsed.append(each)
                progress(done.n_asked)
    except VanishedError:
        done.refused["ESRCH"] += len(wanted)
