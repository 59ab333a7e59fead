"""Make the kernel migrate pages of a live family: dense memory low, holes high, and a compaction of all memory.

Compaction takes pages from low frames up and free ones from high frames down, until both meet: others' pages go first where
they are lower than ours, and others' holes fill first where they are higher. So all memory is compacted before, which
leaves whole blocks free below nearly everything; huge pages take such blocks, and the lowest and the highest of them are
split into the small pages that are wanted. Large free blocks are no targets.
Source: mm/compaction.c compact_zone(), suitable_migration_target(); mm/huge_memory.c deferred_split_scan() (v6.18).
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from thpsweep.errors import DisturbedError, LiveError
from thpsweep.linux.live.actor import Actor, Advice, LiveMemory
from thpsweep.linux.live.bench import Bench
from thpsweep.linux.live.cgroup import MemoryCgroup
from thpsweep.linux.live.settings import Settings
from thpsweep.linux.live.tracing import Event
from thpsweep.linux.proc.memory import memory_state, pages_in_use
from thpsweep.units import HPAGE_PMD_NR

_DENSE, _LEFT_OUT, _KEPT = 0.2, 0.2, 4
"""Of the blocks by frame number: the part that stays full, the part given back; above it one page in four stays."""
_MIN_BLOCKS, _SHRINKS = 16, 20
_PERCPU = Path("/proc/sys/vm/percpu_pagelist_high_fraction")
_DROP = Path("/proc/sys/vm/drop_caches")
_COMPACT = Path("/proc/sys/vm/compact_memory")
_NS_PER_S = 1e9
_EVENTS = ("migrate/mm_migrate_pages_start", "migrate/mm_migrate_pages", "sched/sched_switch")
_ENTRY_EVENTS = ("migrate/set_migration_pte", "migrate/remove_migration_pte")
_LARGEST_FRACTION = 1_000_000

Pages = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Moves:
    """What one compaction did: pages of the memory that moved, others that did, and the CPU time of moving all of them.

    Shapes: pages (n,) their numbers.
    """

    pages: Pages
    foreign_pages: int
    ns: float


@contextmanager
def many_free_pages(settings: Settings) -> Iterator[None]:
    """Keep freed pages out of the CPUs' own lists, where compaction does not see them. Raises: LiveError."""
    with settings.section():
        settings.set(_PERCPU, _LARGEST_FRACTION)
        yield


def fill(bench: Bench, actor: Actor, memory: LiveMemory) -> None:
    """Fill a memory with huge pages, after a compaction that makes room for them. Raises: LiveError.

    A large folio of the page cache for which no free block of its size is at hand ends a compaction: then caches are
    dropped, and it is done again. The process and its children stay on the first CPU from now on, which
    compact() leaves to them.
    """
    for drops in (True, False):
        with bench.recording("compaction/mm_compaction_end") as events:
            _compact()
        if not drops or not any(event.fields.get("status") == "contended" for event in events):
            break
        os.sync()
        _DROP.write_text("1")
    actor.do("stay", min(os.sched_getaffinity(0)))
    actor.advise(memory, Advice.HUGEPAGE)
    actor.write(memory, range(memory.n_pages))
    actor.advise(memory, Advice.NOHUGEPAGE)  # nobody is to collapse them again


def punch(group: MemoryCgroup, actor: Actor, memory: LiveMemory) -> tuple[Pages, Pages]:
    """Leave small pages only: dense in low frames, few in high ones. List the pages that went, and those in low frames.

    What is mapped in part is split when the cgroup is reclaimed from.
    Raises: LiveError where it is not split; DisturbedError where there were too few huge pages.
    """
    seen = memory_state(actor.pid, memory)
    if seen.huge is None:
        raise LiveError("there is no pagemap, which shows where memory is huge")
    regions = np.flatnonzero(seen.huge)
    if len(regions) < _MIN_BLOCKS:
        raise DisturbedError(
            f"{len(regions)} huge pages to be had, fewer than {_MIN_BLOCKS}: too little memory is free"
        )
    regions = regions[np.argsort(_frames(actor.pid, memory)[regions * HPAGE_PMD_NR])]
    low, high = regions[: int(len(regions) * _DENSE)], regions[int(len(regions) * (_DENSE + _LEFT_OUT)) :]
    goes = np.ones((memory.n_regions, HPAGE_PMD_NR), np.bool_)
    goes[low, 1:] = False  # one page has to go, or the folio would stay whole
    goes[high, 1::_KEPT] = False
    _drop(actor, memory, goes.reshape(-1))
    _split(group, actor, memory, int(np.count_nonzero(~goes)))
    dense = np.zeros_like(goes)
    dense[low] = ~goes[low]
    return np.flatnonzero(goes), np.flatnonzero(dense)


def compact(bench: Bench, actor: Actor, memory: LiveMemory) -> Moves:
    """Compact all memory once, on another CPU than the family's. Raises: LiveError where that is refused.

    An mm that has run on this CPU only is flushed at once for each pte, any other one in batches: it is the latter that
    happens on a machine of many CPUs. Source: mm/rmap.c should_defer_flush() (v6.18).
    """
    before = _frames(actor.pid, memory)
    with (
        bench.recording(*_EVENTS, pid=os.getpid()) as events,
        _not_on_the_first_cpu(),
    ):
        _compact()
    ours = np.flatnonzero(_frames(actor.pid, memory) != before)
    pages, ns = _batches(events, os.getpid())
    return Moves(ours, max(0, int(pages.sum()) - ours.size), float(ns.sum()))


def trace_entries(bench: Bench) -> list[Event]:
    """Compact all memory once, as compact() does, and give an event for each migration entry set and restored."""
    with bench.recording(*_ENTRY_EVENTS, pid=os.getpid()) as events, _not_on_the_first_cpu():
        _compact()
    with bench.recording():
        pass  # so many events are not left on: what is timed next would be traced, too
    return events


@contextmanager
def _not_on_the_first_cpu() -> Iterator[None]:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, allowed - {min(allowed)} or allowed)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _compact() -> None:
    try:
        _COMPACT.write_text("1")
    except OSError as error:
        raise LiveError(f"{_COMPACT}: {error.strerror}: run as root") from error


def _split(group: MemoryCgroup, actor: Actor, memory: LiveMemory, n_pages: int) -> None:
    """Reclaim until no more than the pages that are left is in use: no folio is whole any more."""
    for _ in range(_SHRINKS):
        group.shrink()
        used = pages_in_use([memory_state(actor.pid, memory)])
        if used == n_pages:
            return
    raise LiveError(
        f"reclaim of a memory cgroup does not split its huge pages: {used} pages in use instead of {n_pages}"
    )


def _drop(actor: Actor, memory: LiveMemory, goes: npt.NDArray[np.bool_]) -> None:
    with tempfile.NamedTemporaryFile(prefix="thpsweep-") as file:
        file.write(goes.astype(np.uint8).tobytes())
        file.flush()
        actor.do("drop", memory.address, memory.n_pages, file.name)


def _frames(pid: int, memory: LiveMemory) -> Pages:
    frames = memory_state(pid, memory).frames
    if frames is None:
        raise LiveError("frame numbers, or what they are, are hidden: run as root of the machine")
    return frames


def _batches(events: list[Event], pid: int) -> tuple[Pages, npt.NDArray[np.float64]]:
    """List the pages that each batch moved, and its time on a CPU. Units: ns."""
    batches: list[tuple[int, float]] = []
    begun = gone = away = 0.0
    for event in events:
        if event.name == "sched_switch" and event.fields["prev_pid"] == str(pid):
            gone = event.time_s
        elif event.name == "sched_switch":
            away += event.time_s - gone
        elif event.name == "mm_migrate_pages_start":
            begun, away = event.time_s, 0.0
        else:
            batches.append((int(event.fields["nr_succeeded"]), (event.time_s - begun - away) * _NS_PER_S))
    moved = [batch for batch in batches if batch[0]]
    return np.array([pages for pages, _ in moved], np.int64), np.array([ns for _, ns in moved])
