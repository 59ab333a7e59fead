"""What the processes do, drawn from seed, workload and sharing alone: the same for every policy.

One generator a replicate and kind of event, so that adding one kind moves no other. Writes are drawn per page and life:
only the first write after a page became write-protected can fault, and a page is protected anew when its process forks
or is forked; drawing a page again, or one written already, is harmless. Drawn by windows, so that memory is bounded.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from thpsweep.model.bits import Ints
from thpsweep.model.events.lifetimes import Lives, draw_lives
from thpsweep.model.events.rates import Spans
from thpsweep.model.events.requests import KINDS, NOTHING, Requests, draw, expected
from thpsweep.model.events.scene import Scene, Writers
from thpsweep.units import HPAGE_PMD_NR

WINDOW_WRITES = 1 << 20
"""Writes that a window should hold on average: part of the meaning of a seed, as are the order and sizes of the draws."""

MOST_WRITES = 1 << 23
"""Writes that it may hold where a longer window spares draws: a page that is written often is drawn once a window."""

SPARED = 1.25
"""How many times fewer draws make a longer window worth it."""

WRITE_BYTES = 32
"""Bytes that a write of the window takes at the peak, while it is drawn and sorted."""

_KINDS = {"lives": 0, "root_hot": 1, "root_cold": 2, "worker_hot": 3, "worker_cold": 4, "bursts": 5} | KINDS
"""Number of each kind's generator: part of the meaning of a seed."""

_NARROW_BITS = 32
"""A write is sorted as tick << shift | key, in as many bits if that is enough: it takes half the time."""


@dataclasses.dataclass(frozen=True)
class Tick:
    """Events of one tick of one replicate, in the order in which they happen; the references of `requests` come before
    the writes, its reclaims after them.

    Shapes: absent (k,) sharers that do not live yet when the run begins, only in its first tick; exits (k,) sharers that
    exit; forks (k,) sharers that the root forks, after the exits; writes (n,) keys
    (region * n_sharers + sharer) * 512 + slot, of living sharers; each ascending and distinct.
    """

    absent: Ints
    exits: Ints
    forks: Ints
    writes: Ints
    requests: Requests


def generator(seed: int, scene_key: str, replicate: int, kind: str) -> np.random.Generator:
    """Make the stream of one kind of event of one replicate."""
    scene = int(scene_key[:16], 16)
    sequence = np.random.SeedSequence((seed, scene, replicate, _KINDS[kind]))
    return np.random.Generator(np.random.PCG64(sequence))


def ticks(scene: Scene, seed: int, scene_key: str, replicate: int) -> Iterator[Tick]:
    """Yield the events of each tick of one replicate."""
    load, writers = scene.workload, scene.sources
    asks = expected(scene, scene.n_ticks) > 0
    kinds = ("lives", *(each.kind for each in writers), *(KINDS if asks else ()))
    rngs = {kind: generator(seed, scene_key, replicate, kind) for kind in kinds}
    lives = draw_lives(load, scene.n_sharers, scene.n_ticks, scene.tick_s, rngs["lives"])
    exits = _by_tick(lives.sharer, lives.end, scene.n_ticks)
    forks = _by_tick(lives.sharer[lives.forked], lives.begin[lives.forked], scene.n_ticks)
    absent = np.arange(scene.n_sharers - load.absent(scene.n_sharers), scene.n_sharers)
    window = window_ticks(scene)
    for first in range(0, scene.n_ticks, window):
        last = min(first + window, scene.n_ticks)
        keys, bounds = _window(scene, writers, rngs, lives, first, last)
        for tick in range(first, last):
            mine = keys[bounds[tick - first] : bounds[tick - first + 1]].astype(np.int64)
            requests = draw(scene, rngs, tick) if asks else NOTHING
            yield Tick(absent if tick == 0 else absent[:0], exits[tick], forks[tick], mine, requests)


def window_ticks(scene: Scene) -> int:
    """Give how many ticks are drawn together: one at least, otherwise as WINDOW_WRITES and MOST_WRITES allow."""
    windows = [scene.n_ticks]
    while windows[-1] > 1:
        windows.append(-(-windows[-1] // 2))
    held = {window: expected_writes(scene, window) for window in windows}
    allowed = [window for window in windows if held[window] <= MOST_WRITES] or [1]
    longest = allowed[0]
    for window in allowed:
        if held[window] <= WINDOW_WRITES and held[window] / window <= SPARED * held[longest] / longest:
            return window
    return longest


def expected_writes(scene: Scene, n_ticks: int) -> float:
    """Bound the mean number of writes that are drawn in so many ticks of one replicate."""
    workers, forks = scene.n_sharers - 1, scene.forks_per_tick * n_ticks
    total = 0.0
    for source in scene.sources:
        if source.kind == "bursts":
            total += (workers + forks) * source.law.expected(scene.burst_ticks)
        elif source.kind.startswith("root"):
            total += source.law.expected(n_ticks, 1 + min(forks, n_ticks))
        else:
            total += workers * source.law.expected(n_ticks, 1 + forks / workers)
    return total


def expected_rows(scene: Scene) -> float:
    """Bound the mean number of rows (region, sharer) that are ever written."""
    total = 0.0
    for source in scene.sources:
        writers = 1 if source.kind.startswith("root") else scene.n_sharers - 1
        ticks_long = scene.burst_ticks if source.kind == "bursts" else scene.n_ticks
        written = -math.expm1(-source.law.mean * HPAGE_PMD_NR * ticks_long)
        total += writers * source.law.n_pages / HPAGE_PMD_NR * written
    return min(total, float(scene.n_regions * scene.n_sharers))


def _by_tick(sharer: Ints, tick: Ints, n_ticks: int) -> list[Ints]:
    """List for each tick its sharers, ascending."""
    order = np.lexsort((sharer, tick))
    return np.split(sharer[order], np.searchsorted(tick[order], np.arange(1, n_ticks + 1)))[:n_ticks]


def _window(
    scene: Scene, writers: list[Writers], rngs: dict[str, np.random.Generator], lives: Lives, first: int, last: int
) -> tuple[npt.NDArray[np.integer[Any]], Ints]:
    """Draw all writes of ticks [first, last): their keys, ascending and distinct tick by tick, and where a tick begins."""
    shift = (scene.n_regions * scene.n_sharers * HPAGE_PMD_NR - 1).bit_length()
    narrow = shift + (last - first - 1).bit_length() <= _NARROW_BITS
    kind = np.uint32 if narrow else np.int64
    parts: list[npt.NDArray[np.integer[Any]]] = [np.zeros(0, kind)]
    for source in writers:
        spans = _spans(scene, source.kind, lives, first, last)
        for drawn in source.law.draw(rngs[source.kind], spans):
            row = (source.low + (drawn.page >> 9)) * scene.n_sharers + spans.sharer[drawn.span]
            keys = row * HPAGE_PMD_NR + (drawn.page & (HPAGE_PMD_NR - 1))
            parts.append(((drawn.tick - first << shift) + keys).astype(kind))
    marked: npt.NDArray[np.integer[Any]] = np.concatenate(parts)
    marked.sort()
    distinct = np.ones(marked.size, bool)
    distinct[1:] = marked[1:] != marked[:-1]
    marked = marked[distinct]
    bounds = np.append(np.searchsorted(marked, (np.arange(last - first) << shift).astype(kind)), marked.size)
    marked &= kind((1 << shift) - 1)
    return marked, bounds


def _spans(scene: Scene, kind: str, lives: Lives, first: int, last: int) -> Spans:
    """Cut the window into what writes undisturbed: the root between its forks, workers while they live, or burst."""
    if kind.startswith("root"):
        forked = lives.begin[lives.forked]
        edges = np.unique(np.concatenate(([first, last], forked[(forked > first) & (forked < last)])))
        return Spans(np.zeros(edges.size - 1, np.int64), edges[:-1], np.diff(edges).astype(np.float64))
    if kind == "bursts":
        begin, length = lives.begin, np.minimum(scene.burst_ticks, lives.end - lives.begin)
        inside = np.minimum(begin + length, last) - np.maximum(begin, first)
        some = inside > 0
        return Spans(lives.sharer[some], np.maximum(begin, first)[some], inside[some])
    cut = lives.within(first, last)
    return Spans(cut.sharer, cut.begin, (cut.end - cut.begin).astype(np.float64))
