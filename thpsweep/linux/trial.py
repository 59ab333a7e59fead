"""Start a process tree, collapse its memory from outside, and see what the kernel makes of it; the tree ends with us.

Nothing of the machine is changed: process_madvise() asks for the tree's own memory only.
Source: mm/madvise.c process_madvise_remote_valid(), madvise_vma_behavior() (v6.18).
"""

import contextlib
import mmap
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from thpsweep.errors import CaptureError, LiveError
from thpsweep.linux.activity import snapshot
from thpsweep.linux.activity.watch import orderly_end
from thpsweep.linux.capture.capture import capture
from thpsweep.linux.collapse.call import collapse as collapse_region
from thpsweep.linux.collapse.call import opened
from thpsweep.linux.collapse.sums import TreeSums, sums
from thpsweep.linux.live.settings import uninterrupted
from thpsweep.linux.proc import pagemap
from thpsweep.linux.proc.tree import TreeProcess, VanishedError, family, look_up
from thpsweep.model.capture.layout import Layout
from thpsweep.units import HPAGE_PMD_SIZE_BYTES, PAGE_SIZE_BYTES

_POLL_S, _CALM_S, _PATIENCE_S, _GRACE_S = 0.25, 2.0, 60.0, 3.0


@dataclass(frozen=True)
class TrialState:
    """A tree at one moment: its layout, and the sums of smaps."""

    layout: Layout
    sums: TreeSums

    @property
    def pages(self) -> int:
        """Count the frames that it maps, each once."""
        return int(np.bitwise_count(self.layout.cell_slots).sum(dtype=np.int64))

    @property
    def lru_entries(self) -> int:
        """Count its folios; where frame numbers are hidden, as a layout has them: small pages, and folios of PMD order."""
        if "lru_entries" in self.layout.provenance:
            return int(self.layout.provenance["lru_entries"])
        small = np.bitwise_count(self.layout.cell_slots[self.layout.cell_folio == 0]).sum(dtype=np.int64)
        return int(small) + len(np.unique(self.layout.cell_folio[self.layout.cell_folio > 0]))


@dataclass
class Collapsed:
    """What collapsing took: calls by how they ended (0 or an errno's name), CPU and wall time of the calls."""

    outcomes: Counter[str] = field(default_factory=Counter)
    cpu_ns: int = 0
    wall_ns: int = 0


@contextmanager
def started(command: Sequence[str]) -> Iterator[int]:
    """Start a command in a session of its own; give its pid. Its tree is ended, whatever happens.

    Raises: LiveError where it cannot be started.
    """
    with orderly_end():
        try:
            process = subprocess.Popen(
                list(command), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
            )
        except OSError as error:
            raise LiveError(f"--try {command[0]}: cannot be started ({error.strerror})") from error
        try:
            yield process.pid
        finally:
            with uninterrupted():
                _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a session and all descendants of its leader: first by asking."""
    members = _members(process.pid)
    for number, patience_s in ((signal.SIGTERM, _GRACE_S), (signal.SIGKILL, _GRACE_S)):
        for each in members:
            _send(each, number)
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            process.poll()
            if not (members := _members(process.pid, members)):
                return
            time.sleep(0.05)


def _members(root: int, known: Sequence[TreeProcess] = ()) -> list[TreeProcess]:
    """List the living members of a session, and of those known before."""
    members = {each.pid: each for each in known if _lives(each)}
    for name in os.listdir("/proc"):
        each = look_up(int(name)) if name.isdecimal() else None
        if each is None or each.state in "ZX" or each.pid in members:
            continue
        if _session(each.pid) == root or each.parent_pid in members:
            members[each.pid] = each
    return list(members.values())


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


def _lives(each: TreeProcess) -> bool:
    process = look_up(each.pid)
    return process == each and process.state not in "ZX"


def _send(each: TreeProcess, number: int) -> None:
    try:
        os.kill(each.pid, number)
    except ProcessLookupError:
        return


def settle(pid: int) -> None:
    """Wait until a tree neither grows nor shrinks any more. Raises: LiveError where it ends, or never comes to rest."""
    until, calm_since, last = time.monotonic() + _PATIENCE_S, time.monotonic(), (0, 0)
    while time.monotonic() - calm_since < _CALM_S:
        now = _size(pid)
        if now[0] != last[0] or abs(now[1] - last[1]) > last[1] // 50:
            calm_since, last = time.monotonic(), now
        if time.monotonic() > until:
            return  # it is restless by nature: what is measured then says how much
        time.sleep(_POLL_S)


def _size(pid: int) -> tuple[int, int]:
    """Count the processes of a tree and the pages that they have resident."""
    try:
        processes = family(pid, True).processes
    except CaptureError as error:
        raise LiveError(f"--try: the command has ended ({error})") from error
    return len(processes), sum(_resident(each.pid) for each in processes)


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def state(pid: int) -> TrialState:
    """Look at a tree. Raises: CaptureError."""
    return TrialState(capture(pid), sums(family(pid, True)))


def collapse(pid: int, only_root: bool) -> Collapsed:
    """Let the kernel collapse each region of a tree that holds a page, process by process. Raises: LiveError."""
    done = Collapsed()
    scans = pagemap.scan_works()
    processes = family(pid, not only_root).processes
    warm(sum(_resident(each.pid) for each in processes) * PAGE_SIZE_BYTES)
    for each in processes:
        try:
            regions = snapshot.take(each.pid, 0, scans).region
            with opened(each.pid) as handle:
                for region in regions.tolist():
                    _collapse_region(handle, region, done)
        except VanishedError:
            continue
    return done


def warm(n_bytes: int) -> None:
    """Touch as much memory as will be needed and give it back: a host backs a guest's memory at its first touch only."""
    free_bytes = os.sysconf("SC_AVPHYS_PAGES") * PAGE_SIZE_BYTES
    n_bytes = min(n_bytes + (64 << 20), free_bytes // 4) // HPAGE_PMD_SIZE_BYTES * HPAGE_PMD_SIZE_BYTES
    with mmap.mmap(-1, max(n_bytes, HPAGE_PMD_SIZE_BYTES), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        with contextlib.suppress(OSError):  # a kernel without THP
            memory.madvise(mmap.MADV_HUGEPAGE)
        for at in range(0, len(memory), PAGE_SIZE_BYTES):
            memory[at] = 1


def _collapse_region(handle: int, region: int, done: Collapsed) -> None:
    """Ask for one region; what has ended meanwhile is no error."""
    wall_ns, cpu_ns = time.monotonic_ns(), time.thread_time_ns()
    refusal = collapse_region(handle, region)
    done.cpu_ns += time.thread_time_ns() - cpu_ns
    done.wall_ns += time.monotonic_ns() - wall_ns
    done.outcomes[refusal or "collapsed"] += 1
