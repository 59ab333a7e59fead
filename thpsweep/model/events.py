"""What the processes do, drawn from seed, workload and sharing alone: the same for every policy.

One generator a replicate and kind of event, so that adding one kind moves no other. Writes are drawn per page and life:
only the first write after a page became write-protected can fault, and a page is protected anew when its process forks
or is forked; drawing a page again, or one written already, is harmless. Drawn by windows, so that memory is bounded.
"""

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np

from thpsweep.model.bits import Ints
from thpsweep.model.workloads.base import Workload, hot_count
from thpsweep.units import HPAGE_PMD_NR, S_PER_HOUR

WINDOW_TICKS = 64
"""Ticks whose writes are drawn together: part of the meaning of a seed, as are the order and the sizes of the draws."""

_KINDS = {"lives": 0, "writes": 1}


@dataclasses.dataclass(frozen=True)
class Scene:
    """Sizes and rates that events are drawn from; no policy, no machine."""

    workload: Workload
    n_regions: int
    n_sharers: int
    n_ticks: int
    tick_s: float


@dataclasses.dataclass(frozen=True)
class Tick:
    """Events of one tick of one replicate.

    Shapes: reborn (k,) sharers that exit and are forked anew by the root, ascending; writes (n,) keys
    (region * n_sharers + sharer) * 512 + slot, ascending and distinct.
    """

    reborn: Ints
    writes: Ints


def generator(seed: int, scene_key: str, replicate: int, kind: str) -> np.random.Generator:
    """Make the stream of one kind of event of one replicate."""
    scene = int(scene_key[:16], 16)
    sequence = np.random.SeedSequence((seed, scene, replicate, _KINDS[kind]))
    return np.random.Generator(np.random.PCG64(sequence))


def births(scene: Scene, rng: np.random.Generator) -> list[Ints]:
    """Give for each tick the workers whose life ends in it (and who are forked anew at once)."""
    ends: list[list[int]] = [[] for _ in range(scene.n_ticks)]
    life_ticks = scene.workload.worker_life_s / scene.tick_s
    for sharer in range(1, scene.n_sharers):
        time = 0.0
        while life_ticks > 0:
            time += float(rng.standard_exponential()) * life_ticks
            if time >= scene.n_ticks:
                break
            if sharer not in ends[int(time)][-1:]:
                ends[int(time)].append(sharer)
    return [np.array(sharers, np.int64) for sharers in ends]


def ticks(scene: Scene, seed: int, scene_key: str, replicate: int) -> Iterator[Tick]:
    """Yield the events of each tick of one replicate."""
    reborn = births(scene, generator(seed, scene_key, replicate, "lives"))
    rng = generator(seed, scene_key, replicate, "writes")
    for first in range(0, scene.n_ticks, WINDOW_TICKS):
        last = min(first + WINDOW_TICKS, scene.n_ticks)
        keys, when = _window(scene, rng, reborn, first, last)
        order = np.argsort(when, kind="stable")
        keys = keys[order]
        bounds = np.searchsorted(when[order], np.arange(first, last + 1))
        for tick in range(first, last):
            mine = np.sort(keys[bounds[tick - first] : bounds[tick - first + 1]])
            distinct = np.ones(mine.size, bool)
            distinct[1:] = mine[1:] != mine[:-1]
            yield Tick(reborn[tick], mine[distinct])


def _window(
    scene: Scene, rng: np.random.Generator, reborn: list[Ints], first: int, last: int
) -> tuple[Ints, np.ndarray]:
    """Draw all writes of ticks [first, last): (keys, tick of each)."""
    keys, when = [np.zeros(0, np.int64)], [np.zeros(0, np.uint16)]
    load, hot = scene.workload, hot_count(scene.n_regions, scene.workload.hot_regions)
    per_tick = scene.tick_s / S_PER_HOUR
    classes = [
        (0, hot, load.root_hot_writes_per_page_hour, load.worker_hot_writes_per_page_hour),
        (hot, scene.n_regions - hot, load.root_cold_writes_per_page_hour, load.worker_cold_writes_per_page_hour),
    ]
    for low, n_regions, root_rate, worker_rate in classes:
        for segment in segments(scene, reborn, first, last):
            rate = (root_rate if segment.root else worker_rate) * per_tick
            drawn = _first_writes(rng, segment, low, n_regions, rate, scene.n_sharers)
            keys.append(drawn[0])
            when.append(drawn[1])
    return np.concatenate(keys), np.concatenate(when)


@dataclasses.dataclass(frozen=True)
class Segment:
    """Sharers that are protected anew at tick `begin` and live undisturbed until tick `end` (of the window).

    Shapes: sharers (n,).
    """

    root: bool
    sharers: Ints
    begin: int
    end: int


def segments(scene: Scene, reborn: list[Ints], first: int, last: int) -> Iterator[Segment]:
    """Cut a window into lives: the root's between its forks; the undisturbed workers' together, the others' one by one."""
    forks = [tick for tick in range(first, last) if reborn[tick].size]
    edges = sorted({first, *forks, last})
    for begin, end in itertools.pairwise(edges):
        yield Segment(True, np.zeros(1, np.int64), begin, end)
    starts: dict[int, list[int]] = {}
    for tick in forks:
        for sharer in reborn[tick]:
            starts.setdefault(int(sharer), [first]).append(tick)
    quiet = np.setdiff1d(np.arange(1, scene.n_sharers), np.array(sorted(starts), np.int64))
    if quiet.size:
        yield Segment(False, quiet, first, last)
    for sharer in sorted(starts):
        edges = [*starts[sharer], last]
        for begin, end in itertools.pairwise(edges):
            if begin < end:
                yield Segment(False, np.array([sharer]), begin, end)


def _first_writes(
    rng: np.random.Generator, segment: Segment, low: int, n_regions: int, rate: float, n_sharers: int
) -> tuple[Ints, np.ndarray]:
    """Draw who writes which page when, at `rate` a page and tick. Rare writes by their number, frequent ones by page."""
    ticks_long = segment.end - segment.begin
    n_pages = n_regions * segment.sharers.size * HPAGE_PMD_NR
    if rate <= 0 or n_pages == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.uint16)
    if rate * ticks_long < 0.5:
        n = int(rng.poisson(rate * ticks_long * n_pages))
        page = rng.integers(0, n_pages, size=n)
        tick = rng.integers(segment.begin, segment.end, size=n).astype(np.uint16)
    else:
        waits = rng.standard_exponential(n_pages)
        page = np.flatnonzero(waits < rate * ticks_long)
        tick = np.minimum((waits[page] / rate).astype(np.int64) + segment.begin, segment.end - 1).astype(np.uint16)
    slot, rest = page % HPAGE_PMD_NR, page // HPAGE_PMD_NR
    region = low + rest // segment.sharers.size
    sharer = segment.sharers[rest % segment.sharers.size]
    return (region * n_sharers + sharer) * HPAGE_PMD_NR + slot, tick
