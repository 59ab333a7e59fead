"""When which worker lives: spans of life and of absence, one after the other, drawn for all workers together."""

import dataclasses
import math

import numpy as np

from thpsweep.model.bits import Bools, Floats, Ints
from thpsweep.model.workloads.base import Workload


@dataclasses.dataclass(frozen=True)
class Lives:
    """Lives of the workers, in the order in which they were drawn.

    A life goes from tick `begin`, in which the root forks it unless it was there at the start, to before tick `end`, in
    which it exits; `end` is the number of ticks for one that outlives the run. It lasts at least one tick.
    Shapes: each (n,).
    """

    sharer: Ints
    begin: Ints
    end: Ints
    forked: Bools

    def where(self, chosen: Bools) -> "Lives":
        """Keep some lives."""
        return Lives(self.sharer[chosen], self.begin[chosen], self.end[chosen], self.forked[chosen])

    def within(self, first: int, last: int) -> "Lives":
        """Cut the lives to ticks [first, last), and drop those that have no tick there."""
        begin, end = np.maximum(self.begin, first), np.minimum(self.end, last)
        return Lives(self.sharer, begin, end, self.forked).where(begin < end)


def draw_lives(load: Workload, n_sharers: int, n_ticks: int, tick_s: float, rng: np.random.Generator) -> Lives:
    """Draw the lives of all workers. What is left of the first span follows from its law in the steady state.

    Of a life shorter than a tick the model can show nothing: it is made to last until the next one.
    """
    if not load.worker_life_s and not load.absent(n_sharers):
        sharer = np.arange(1, n_sharers)
        return Lives(sharer, np.zeros_like(sharer), np.full_like(sharer, n_ticks), np.zeros(sharer.size, bool))
    law, gap_ticks = load.worker_life_law, load.worker_gap_s / tick_s
    life_ticks = load.worker_life_s / tick_s if load.worker_life_s else math.inf
    sharer = np.arange(1, n_sharers)
    forked = sharer >= n_sharers - load.absent(n_sharers)
    birth = np.where(forked, _rest(rng, law, gap_ticks, sharer.size), 0.0)
    life = np.where(forked, _span(rng, law, life_ticks, sharer.size), _rest(rng, law, life_ticks, sharer.size))
    begin, parts = _tick(birth, n_ticks), []
    while True:
        death = birth + life
        end = np.minimum(np.maximum(_tick(death, n_ticks), begin + 1), n_ticks)
        parts.append(Lives(sharer, begin, end, forked).where(begin < n_ticks))
        going = end < n_ticks
        sharer, end = sharer[going], end[going]
        if not sharer.size:
            return _joined(parts)
        birth = death[going] + _span(rng, law, gap_ticks, sharer.size)
        begin, life = np.maximum(_tick(birth, n_ticks), end), _span(rng, law, life_ticks, sharer.size)
        forked = np.ones(sharer.size, bool)


def _joined(parts: list[Lives]) -> Lives:
    columns = zip(*((part.sharer, part.begin, part.end, part.forked) for part in parts), strict=True)
    sharer, begin, end, forked = (np.concatenate(column) for column in columns)
    return Lives(sharer, begin, end, forked)


def _tick(time: Floats, n_ticks: int) -> Ints:
    return np.minimum(time, n_ticks).astype(np.int64)


def _span(rng: np.random.Generator, law: str, mean: float, n: int) -> Floats:
    """Draw whole spans. Units: ticks."""
    if law == "exponential" and math.isfinite(mean):
        return rng.standard_exponential(n) * mean
    return np.full(n, mean)


def _rest(rng: np.random.Generator, law: str, mean: float, n: int) -> Floats:
    """Draw what is left of spans that began before the run. Units: ticks."""
    if law == "fixed" and math.isfinite(mean):
        return rng.random(n) * mean
    return _span(rng, law, mean, n)
