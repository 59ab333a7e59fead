"""Make the kernel migrate pages of a live family: leave holes in its memory, and compact all memory.

Source: mm/compaction.c: one scanner takes pages from low frames up, the other free ones from high frames down (v6.18).
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from thpsweep.errors import LiveError
from thpsweep.linux.live.actor import Actor, Memory
from thpsweep.linux.live.bench import Bench
from thpsweep.linux.live.family import Family
from thpsweep.linux.live.look import look
from thpsweep.linux.live.settings import Settings
from thpsweep.linux.live.tracing import Event

_DENSE, _KEPT, _PLUG_REGIONS = 0.25, 4, 448
_PERCPU = Path("/proc/sys/vm/percpu_pagelist_high_fraction")
_COMPACT = Path("/proc/sys/vm/compact_memory")
_NS_PER_S = 1e9
_LARGEST_FRACTION = 1_000_000
_PREEMPTED = 4.0


@dataclass(frozen=True)
class Moves:
    """What one compaction did: pages of the memory that moved, others that did, and the time of all batches.

    A batch that took far longer than others of its size was preempted, and counts as long as the longest that were not.
    Shapes: pages (n,) their numbers.
    """

    pages: npt.NDArray[np.int64]
    foreign_pages: int
    ns: float


@contextmanager
def many_free_pages(settings: Settings) -> Iterator[None]:
    """Keep freed pages out of the CPUs' own lists, where compaction does not see them. Raises: LiveError."""
    with settings.section():
        settings.set(_PERCPU, _LARGEST_FRACTION)
        yield


@contextmanager
def low_memory(family: Family) -> Iterator[None]:
    """Occupy scattered free pages meanwhile, so that what is mapped now gets low frames, and finds room higher up later."""
    plug = family.start()
    memory = plug.map(_PLUG_REGIONS)
    plug.write(memory, range(memory.n_pages))
    try:
        yield
    finally:
        family.end(plug)


def punch(actor: Actor, memory: Memory) -> npt.NDArray[np.int64]:
    """Give back pages so that much is free: of the upper part of the frames one in four stays. List what went."""
    frames = _frames(actor.pid, memory)
    border = np.quantile(frames, _DENSE)
    goes = (frames > border) & (frames % _KEPT != 1)
    with tempfile.NamedTemporaryFile(prefix="thpsweep-") as file:
        file.write(goes.astype(np.uint8).tobytes())
        file.flush()
        actor.do("drop", memory.address, memory.n_pages, file.name)
    return np.flatnonzero(goes)


def compact(bench: Bench, actor: Actor, memory: Memory) -> Moves | None:
    """Compact all memory once; give nothing where nothing moved. Raises: LiveError where that is refused."""
    before = _frames(actor.pid, memory)
    with bench.recording("migrate/mm_migrate_pages_start", "migrate/mm_migrate_pages") as events:
        try:
            _COMPACT.write_text("1")
        except OSError as error:
            raise LiveError(f"{_COMPACT}: {error.strerror}: run as root") from error
    if not any(event.fields.get("nr_succeeded", "0") != "0" for event in events):
        return None
    ours = np.flatnonzero(_frames(actor.pid, memory) != before)
    pages, ns = _batches(events)
    typical = _weighted_median(ns / pages, pages)
    return Moves(ours, max(0, int(pages.sum()) - ours.size), float(np.minimum(ns, _PREEMPTED * typical * pages).sum()))


def _frames(pid: int, memory: Memory) -> npt.NDArray[np.int64]:
    frames = look(pid, memory).frames
    if frames is None:
        raise LiveError("the kernel hides frame numbers: run as root of the machine")
    return frames


def _batches(events: list[Event]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """List the pages that each batch moved, and the time from its beginning to its end."""
    found, begun = [], {}
    for event in events:
        if event.name == "mm_migrate_pages_start":
            begun[event.pid] = event.time_s
        elif event.pid in begun:
            found.append((int(event.fields["nr_succeeded"]), (event.time_s - begun.pop(event.pid)) * _NS_PER_S))
    moved = [batch for batch in found if batch[0]]
    return np.array([pages for pages, _ in moved], np.int64), np.array([ns for _, ns in moved])


def _weighted_median(values: npt.NDArray[np.float64], weights: npt.NDArray[np.int64]) -> float:
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, reached[-1] / 2)])
