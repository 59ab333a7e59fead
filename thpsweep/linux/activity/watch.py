"""Watch a living family for some seconds: who writes, reads, forks, exits and pins, and how fast."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import NoReturn

from thpsweep.errors import CaptureError
from thpsweep.linux.activity import checks, reads, task_clock, walks
from thpsweep.linux.activity.faults import Faults, tracing
from thpsweep.linux.activity.lives import Life, LifeWatch
from thpsweep.linux.activity.pins import Pinned, pinned
from thpsweep.linux.activity.rates import Exposed
from thpsweep.linux.activity.snapshot import PageTableSnapshot, snapshots
from thpsweep.linux.proc import pagemap
from thpsweep.linux.proc.maps import anonymous_spans
from thpsweep.linux.proc.pagemap import readable
from thpsweep.linux.proc.tree import TreeProcess, VanishedError, family

_TERMINATED = 143


@dataclass(frozen=True)
class WatchRequest:
    """What is watched, for how long; young bits are cleared only if `young`. `progress` is told how much has passed.

    hidden: why the kernel hides frame numbers, by which copied pages are known; nothing where it shows them.
    """

    pid: int
    children: bool
    seconds: float
    young: bool = True
    progress: Callable[[float], None] = lambda passed_s: None
    hidden: str = ""


@dataclass
class WindowSeen:
    """Hold what a window showed. Units: s on the monotonic clock; looked_s is how long it was looked who lives.

    `without` has, for each interface that is missing or does nothing, the reason.
    """

    root: int
    begin_s: float
    end_s: float = 0.0
    looked_s: float = 0.0
    before: dict[int, PageTableSnapshot] = field(default_factory=dict)
    after: dict[int, PageTableSnapshot] = field(default_factory=dict)
    lives: list[Life] = field(default_factory=list)
    touched: list[Exposed] = field(default_factory=list)
    walked: list[walks.Walked] = field(default_factory=list)
    tlb_entries: int = walks.USUAL_REACH
    pins: list[Pinned] = field(default_factory=list)
    faults: Faults | None = None
    soft_dirty: bool = False
    without: dict[str, str] = field(default_factory=dict)

    @property
    def complete_faults(self) -> Faults | None:
        """Give the write faults of the processes, where none of them was lost."""
        return self.faults if self.faults is not None and not self.faults.lost else None


def watch(request: WatchRequest) -> WindowSeen:
    """Watch a family. Raises: CaptureError saying what is missing, or that the root has ended."""
    tree = family(request.pid, request.children)
    if request.hidden:
        tree, _ = readable(tree)
    zero, scans = 0 if request.hidden else checks.zero_frame(), pagemap.scan_works()
    with ExitStack() as stack:
        stack.enter_context(orderly_end())
        seen = WindowSeen(request.pid, time.monotonic(), without={"frames": request.hidden} if request.hidden else {})
        seen.faults = _tracer(stack, seen.without)
        seen.soft_dirty = _checked(seen.without, "soft-dirty", checks.soft_dirty())
        young = request.young and _checked(seen.without, "young bits", checks.young())
        if not request.young:
            seen.without["young bits"] = "not asked for"
        pids = [process.pid for process in tree.processes]
        if seen.faults:
            seen.faults.follow(pids)
        seen.before = snapshots(pids, zero, scans)
        cleared = _clear(seen.before, seen.soft_dirty, young)
        seen.lives, seen.looked_s = _wait(request, tree.processes, seen.faults)
        seen.after = snapshots(list(seen.before), zero, scans, seen.soft_dirty)
        seen.end_s = time.monotonic()
        seen.touched = list(_touched(cleared))
        if young and _checked(seen.without, "CPU time", task_clock.refused()):
            seen.tlb_entries = walks.reach()
            seen.walked = list(_walked(list(seen.after)[: reads.WALKED_PROCESSES], seen.tlb_entries))
        seen.pins = [pinned(pid, _spans(pid)) for pid in seen.after]
    if request.pid not in seen.after:
        raise CaptureError(f"pid {request.pid}: ended while it was watched")
    return seen


def _checked(without: dict[str, str], name: str, why: str) -> bool:
    """Note why an interface is not used."""
    if why:
        without[name] = why
    return not why


def _tracer(stack: ExitStack, without: dict[str, str]) -> Faults | None:
    """Begin to trace, where a write fault of our own is told of."""
    try:
        tracer = stack.enter_context(tracing())
    except CaptureError as error:
        without["write faults"] = str(error)
        return None
    return tracer if _checked(without, "write faults", checks.faults(tracer)) else None


def _clear(before: dict[int, PageTableSnapshot], soft_dirty: bool, young: bool) -> dict[int, float]:
    """Clear the bits of those that are watched; give when the young ones of each were."""
    cleared = {}
    for number, pid in enumerate(before):
        with contextlib.suppress(VanishedError):
            if soft_dirty:
                reads.clear(pid, reads.CLEAR_SOFT_DIRTY)
            if young and number < reads.MOST_PROCESSES:
                reads.clear(pid, reads.CLEAR_ANONYMOUS)
                cleared[pid] = time.monotonic()
    return cleared


def _wait(request: WatchRequest, processes: Sequence[TreeProcess], faults: Faults | None) -> tuple[list[Life], float]:
    """Let the time pass, looking who lives; give the workers that were seen."""
    begin_s = time.monotonic()
    lives = LifeWatch.of(processes, begin_s)
    while (passed_s := time.monotonic() - begin_s) < request.seconds:
        request.progress(passed_s)
        pause_s = lives.look() if request.children else 0.1
        if faults:
            faults.drain()
        time.sleep(min(pause_s, max(0.0, begin_s + request.seconds - time.monotonic())))
    request.progress(request.seconds)
    if faults:
        faults.drain()
    return lives.every(), passed_s


def _touched(cleared: dict[int, float]) -> Iterator[Exposed]:
    for pid, at_s in cleared.items():
        with contextlib.suppress(VanishedError):
            pages = reads.touched(pid)
            yield Exposed(pages.resident, pages.touched, time.monotonic() - at_s)


def _walked(pids: Sequence[int], entries: int) -> Iterator[walks.Walked]:
    for pid in pids:
        begin_s = time.monotonic()
        with contextlib.suppress(VanishedError):
            yield walks.Walked(reads.intervals(pid, entries), time.monotonic() - begin_s)


def _spans(pid: int) -> list[tuple[int, int]]:
    try:
        return anonymous_spans(pid)
    except VanishedError:
        return []


@contextmanager
def orderly_end() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind as Ctrl-C does, so that nothing of ours stays behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(_TERMINATED)

    kept = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
