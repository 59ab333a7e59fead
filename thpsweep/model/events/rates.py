"""How often which page of a class is written, and the draws that follow from it.

A page is written in a Poisson process of its own, so that only the first write after it became protected matters and
nothing has to be remembered from one window to the next. Pages that are written about once a span or more often get one
exponential each; the rare rest is drawn by its number. Both are exact for any rate.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator

import numpy as np

from thpsweep.model.bits import Floats, Ints
from thpsweep.units import HPAGE_PMD_NR

BLOCK = 1 << 16
"""Numbers drawn together, few enough for a core's cache: part of the meaning of a seed."""

FREQUENT = 0.5
"""Writes a page and span from which a page gets an exponential of its own: about where that becomes cheaper."""


@dataclasses.dataclass(frozen=True)
class Spans:
    """Sharers that each write in a stretch of ticks. A length need not be whole. Shapes: each (n,)."""

    sharer: Ints
    begin: Ints
    length: Floats


@dataclasses.dataclass(frozen=True)
class Draws:
    """Writes: which span's sharer writes which page in which tick. Shapes: each (n,)."""

    span: Ints
    page: Ints
    tick: Ints


@dataclasses.dataclass(frozen=True)
class Law:
    """Rates of the pages of a class: by Zipf's law, rank k (from 0) proportional to (k + 1) ** -exponent.

    Ranks are scattered over the class by a fixed stride, as hashing scatters keys; with exponent 0 all pages are alike.
    of_regions: regions of the class, where only n_pages / 512 of them are written at all; these are scattered over it, too.
    0 = all are. Units: mean is in writes a page and tick.
    """

    n_pages: int
    mean: float
    exponent: float = 0.0
    of_regions: int = 0

    @classmethod
    def clustered(cls, n_regions: int, mean: float, exponent: float, clustering: float) -> "Law":
        """Let a share of the regions, one at least, take none of the writes; the others take as many in all.

        With the share w of regions written, w 512 (1 - exp(-mean t / w)) pages of a region are written within t, on
        average over all regions and with exponent 0; an even law writes 512 (1 - exp(-mean t)), which is never less.
        """
        if not clustering or not n_regions:
            return cls(n_regions * HPAGE_PMD_NR, mean, exponent)
        written = max(1, round((1 - clustering) * n_regions))
        return cls(written * HPAGE_PMD_NR, mean * n_regions / written, exponent, n_regions)

    @functools.cached_property
    def top(self) -> float:
        """Rate of the page of rank 0."""
        return self.mean * self.n_pages / harmonic(self.n_pages, self.exponent)

    def rates(self, first: int, last: int) -> Floats:
        """Give the rates of ranks [first, last)."""
        if self.exponent == 0:
            return np.full(last - first, self.mean)
        return np.asarray(self.top * np.arange(first + 1, last + 1, dtype=np.float64) ** -self.exponent)

    def frequent(self, ticks: float) -> int:
        """Count the pages that are written at least FREQUENT times in so many ticks, on average."""
        if self.top * ticks < FREQUENT:
            return 0
        if self.exponent == 0:
            return self.n_pages
        log_rank = math.log(self.top * ticks / FREQUENT) / self.exponent
        return self.n_pages if log_rank >= math.log(self.n_pages) else int(math.exp(log_rank))

    def pages(self, ranks: Ints) -> Ints:
        """Give the pages of ranks."""
        pages = ranks if self.exponent == 0 else ranks * stride(self.n_pages) % self.n_pages
        if not self.of_regions:
            return pages
        region = (pages // HPAGE_PMD_NR) * stride(self.of_regions) % self.of_regions
        return region * HPAGE_PMD_NR + pages % HPAGE_PMD_NR

    def expected(self, ticks: float, spans: float = 1.0) -> float:
        """Bound the mean number of writes that are drawn for a sharer in so many ticks, cut into so many spans."""
        return self.n_pages * min(self.mean * ticks, spans)

    def draw(self, rng: np.random.Generator, spans: Spans) -> Iterator[Draws]:
        """Draw, part by part, each page's first write in each span, and perhaps further ones."""
        if self.n_pages and self.mean > 0 and spans.length.size:
            head = self.frequent(float(spans.length.max()))
            yield from self._frequent_writes(rng, spans, head)
            yield from self._rare_writes(rng, spans, head)

    def _frequent_writes(self, rng: np.random.Generator, spans: Spans, head: int) -> Iterator[Draws]:
        """Let each page wait for its write; keep those that come while the span lasts."""
        for low in range(0, head, BLOCK):
            rates = self.rates(low, min(low + BLOCK, head))
            together = max(1, BLOCK // rates.size)
            for first in range(0, spans.length.size, together):
                length = spans.length[first : first + together]
                limits = (length * self.mean)[:, None] if self.exponent == 0 else length[:, None] * rates[None, :]
                waits = rng.standard_exponential((length.size, rates.size))
                hit = np.flatnonzero(waits < limits)
                span = hit // rates.size
                rank = hit - span * rates.size
                wait = np.minimum(waits.reshape(-1)[hit] / rates[rank], _below(length)[span])
                yield Draws(first + span, self.pages(low + rank), spans.begin[first + span] + wait.astype(np.int64))

    def _rare_writes(self, rng: np.random.Generator, spans: Spans, head: int) -> Iterator[Draws]:
        """Draw the number of writes of each span, then where and when.

        Ranks whose rates differ by up to a factor of about 2 ** exponent are drawn alike at the first one's rate, then
        thinned.
        """
        last = head
        while last < self.n_pages:
            first, last = last, self.n_pages if self.exponent == 0 else min(2 * last + 1, self.n_pages)
            rate = self.top * (first + 1) ** -self.exponent
            for span in _repeated(rng.poisson(rate * (last - first) * spans.length)):
                rank = rng.integers(first, last, size=span.size)
                if self.exponent:
                    kept = rng.random(span.size) < ((rank + 1) / (first + 1)) ** -self.exponent
                    span, rank = span[kept], rank[kept]
                wait = rng.random(span.size) * _below(spans.length)[span]
                yield Draws(span, self.pages(rank), spans.begin[span] + wait.astype(np.int64))


def _repeated(counts: Ints) -> Iterator[Ints]:
    """Yield each index as often as its count says, in pieces of BLOCK."""
    ends = np.cumsum(counts)
    total = int(ends[-1])
    for low in range(0, total, BLOCK):
        high = min(low + BLOCK, total)
        first, last = int(np.searchsorted(ends, low, "right")), int(np.searchsorted(ends, high, "left")) + 1
        inside = np.clip(ends[first:last], low, high)
        yield np.repeat(np.arange(first, last), np.diff(inside, prepend=low))


def _below(length: Floats) -> Floats:
    """Give the next smaller numbers, so that begin plus a share of the length stays before the end."""
    return np.nextafter(length, 0.0)


@functools.lru_cache(maxsize=64)
def harmonic(n: int, exponent: float) -> float:
    """Sum k ** -exponent for k = 1..n.

    Source: Euler-Maclaurin from k = 1000 on; the first term left out is below 1e-15 of the sum for exponents up to 4.
    """
    exact = min(n, 1000)
    total: float = math.fsum(k**-exponent for k in range(1, exact + 1))
    if n == exact:
        return total
    low, high = float(exact), float(n)
    whole = math.log(high / low) if exponent == 1 else (high ** (1 - exponent) - low ** (1 - exponent)) / (1 - exponent)
    edges = (high**-exponent - low**-exponent) / 2
    slopes = exponent / 12 * (low ** (-exponent - 1) - high ** (-exponent - 1))
    return float(total + whole + edges + slopes)


@functools.lru_cache(maxsize=64)
def stride(n: int) -> int:
    """Give a step that visits each of n places once and leaves near ranks far apart: near n over the golden ratio."""
    step = max(1, round(n * 0.6180339887498949))
    while math.gcd(step, n) != 1:
        step += 1
    return step
