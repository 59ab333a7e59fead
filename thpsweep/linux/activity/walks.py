"""How often processes walk their page tables, from young bits over short intervals, and what share of cycles that takes.

A page whose young bit was cleared, without a flush, is marked by the next page walk to it; an access that the TLB serves
marks nothing. As long as fewer pages were marked than the TLB has entries, none of them was walked to twice: so many others
would have had to come between. Marked pages are then page walks, and pages over CPU time is the miss rate: the slope of the
working-set function where that equals the TLB's reach. Over longer intervals it is a lower bound.
Source: Denning, CACM 11(5), 1968; Denning and Schwartz, CACM 15(3), 1972; fs/proc/task_mmu.c clear_refs_pte_range() (v6.18).
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from thpsweep.linux.activity.reads import Interval
from thpsweep.model.accounting.translation import PTE_BYTES, uncached
from thpsweep.model.capture.activity import Rate
from thpsweep.model.machines.profile import Profile
from thpsweep.units import NS_PER_S

LEAST_REACH, USUAL_REACH = 1_024, 2_048
"""Entries for 4 KiB in a second-level TLB: Haswell's, the smallest of the servers in use; Ice Lake's and Zen 3's."""

LEAST_CPU_S = 1e-3
"""A process that ran for less in all intervals says nothing."""

MARGIN = 4
"""A part of the entries is counted with where that is possible: a TLB has sets, and others use it, too."""

SHARP, LEAST_REPETITIONS = 2.0, 3
"""How far apart the ends may be between which the length of an interval lies; how many such are enough."""

_LEVEL = 0.95

_TLB_SIZE = re.compile(r"^TLB size\s*:\s*(\d+) 4K pages", re.MULTILINE)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Walked:
    """The intervals of one process, in the order in which they were planned: repetitions of a length stand together.

    wall_s: how long all of them took.
    """

    lengths: tuple[tuple[Interval, ...], ...]
    wall_s: float

    @property
    def cpu_share(self) -> float:
        """CPUs that it kept busy meanwhile."""
        return math.fsum(one.high_s for length in self.lengths for one in length) / self.wall_s


def reach(cpuinfo: Path = Path("/proc/cpuinfo")) -> int:
    """Give the entries that this machine's TLB has for 4 KiB pages, as AMD's CPUs tell; else what is usual."""
    told = _TLB_SIZE.search(cpuinfo.read_text(errors="replace"))
    return int(told.group(1)) if told else USUAL_REACH


def per_cpu_s(every: Sequence[Walked], entries: int) -> Rate | None:
    """Estimate the page walks of a second of CPU time, processes weighted by theirs; None where none of them ran.

    The interval is Student's over repetitions, by the delete-one jackknife of a ratio, and from the longest that an interval
    can have been to the shortest; it has no upper end where more pages than LEAST_REACH were marked even in the shortest
    interval, since pages may have been walked to again.
    """
    ran = [one for one in every if one.cpu_share * one.wall_s >= LEAST_CPU_S]
    if not ran:
        return None
    weights = np.array([one.cpu_share for one in ran])
    chosen = [_short_enough(one, entries) for one in ran]
    estimates = [_estimate(one) for one in chosen]
    value = _mean([each for each, _, _ in estimates], weights)
    low = _mean([each for _, each, _ in estimates], weights)
    highs = [each for _, _, each in estimates if each is not None]
    high = _mean(highs, weights) if len(highs) == len(estimates) else None
    seen = [interval for one in chosen for interval in one]
    ms = 1e3 * float(np.mean([_mid_s(one) for one in seen]))
    pages = float(np.mean([one.pages for one in seen]))
    bound = "" if high is not None else "; some may have been walked to more than once, so that there is no upper bound"
    how = f"young bits: {pages:.0f} pages were walked to in {ms:.2g} ms of CPU, mean of {len(seen)} intervals{bound}"
    return Rate(value, min(low, value), None if high is None else max(high, value), how)


def share(walks: Rate, machine: Profile, n_ptes: int) -> Rate:
    """Price walks: the share of cycles in them. n_ptes: of the tree, which decide how far page tables fit the cache.

    The interval is that of the walks at the prices of a machine where all page tables are in the cache, and where none is.
    """
    cached_ns, uncached_ns = machine.page_walk_ns, machine.page_walk_uncached_ns
    lost = float(uncached(np.array([n_ptes * float(PTE_BYTES)]), machine)[0])
    price_ns = cached_ns + (uncached_ns - cached_ns) * lost
    value, low = (min(1.0, rate * ns / NS_PER_S) for rate, ns in ((walks.value, price_ns), (walks.low, cached_ns)))
    high = None if walks.high is None else min(1.0, walks.high * uncached_ns / NS_PER_S)
    how = f"{walks.value:.3g} page walks a second of CPU, {price_ns:.3g} ns each ({machine.name}); {walks.how}"
    return Rate(value, min(low, value), high if high is None else max(high, value), how)


def _short_enough(one: Walked, entries: int) -> list[Interval]:
    """Choose the intervals in which no page can have been walked to twice: those with few pages, or else the shortest.

    Where the watcher had to wait for a CPU meanwhile, it is not known how long an interval was: others are preferred.
    """
    ran = [length for length in one.lengths if math.fsum(each.high_s for each in length) > 0]
    for most in (entries / MARGIN, entries):
        short = [each for length in ran if np.mean([each.pages for each in length]) <= most for each in length]
        sharp = [each for each in short if 0 < each.high_s <= SHARP * each.low_s]
        if len(sharp) >= LEAST_REPETITIONS:
            return sharp
    return list(ran[0])


def _estimate(chosen: Sequence[Interval]) -> tuple[float, float, float | None]:
    """Give the rate of one process, the least and the most that it may be. Units: walks a second of CPU."""
    pages = np.array([one.pages for one in chosen], np.float64)
    least_s, most_s = (np.array([getattr(one, name) for one in chosen]) for name in ("low_s", "high_s"))
    value = float(pages.sum() / np.mean([least_s.sum(), most_s.sum()]))
    low = max(0.0, float(pages.sum() / most_s.sum()) - _half(pages, most_s))
    half = _half(pages, least_s)
    if math.isinf(half) or pages.mean() > LEAST_REACH:
        return value, low, None
    none_seen = 0.0 if pages.any() else -math.log((1 - _LEVEL) / 2) / least_s.sum()
    return value, low, max(none_seen, float(pages.sum() / least_s.sum()) + half)


def _half(pages: Floats, seconds: Floats) -> float:
    """Give half the width of the interval of a ratio of sums. Source: Efron and Stein, doi:10.1214/aos/1176345462."""
    n, left_s = pages.size, seconds.sum() - seconds
    if n < 2 or not (left_s > 0).all():
        return math.inf
    without = (pages.sum() - pages) / left_s
    deviation = math.sqrt((n - 1) / n * float(((without - without.mean()) ** 2).sum()))
    return float(student.ppf((1 + _LEVEL) / 2, n - 1)) * deviation


def _mid_s(one: Interval) -> float:
    return (one.low_s + one.high_s) / 2


def _mean(values: Sequence[float], weights: Floats) -> float:
    return float(np.average(np.array(values), weights=weights))
