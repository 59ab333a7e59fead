"""From what was seen in a window to rates: pages act as Poisson processes, of which only the first event shows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import gammaincinv, gammaln

from thpsweep.model.capture.activity import Rate
from thpsweep.units import S_PER_HOUR

_LEVEL = 0.95
_SEEN_NEVER_ALL = 0.5
"""Where all pages acted a rate is only bounded from below: it is given as if half a page had not."""

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Exposed:
    """So many pages could have shown an event within so many seconds, and so many did."""

    pages: int
    acted: int
    seconds: float


def per_page_hour(groups: Sequence[Exposed], how: str) -> Rate | None:
    """Estimate a rate by maximum likelihood; None where nothing could have been seen.

    A page that acted did so at least once within its window: with rate r, sum(acted * t / (exp(r t) - 1)) equals
    sum((pages - acted) * t). The interval is the exact one of the number of events, its relative width kept.
    Source: Garwood, doi:10.1093/biomet/28.3-4.437.
    """
    groups = [group for group in groups if group.pages and group.seconds > 0]
    if not groups:
        return None
    acted = sum(group.acted for group in groups)
    exposure_s = math.fsum(group.pages * group.seconds for group in groups)
    if not acted:
        return Rate(0.0, 0.0, float(gammaincinv(1, (1 + _LEVEL) / 2)) / exposure_s * S_PER_HOUR, how)
    all_acted = acted == sum(group.pages for group in groups)
    rate = _most_likely(groups, _SEEN_NEVER_ALL if all_acted else 0.0) * S_PER_HOUR
    low, high = _limits(acted)
    how = f"{how}; all acted, so that this is a lower bound" if all_acted else how
    return Rate(rate, rate * low, None if all_acted else rate * high, how)


def _most_likely(groups: Sequence[Exposed], missing: float) -> float:
    """Solve for the rate. Units: per page and s."""
    acted = np.array([group.acted for group in groups], np.float64)
    pages = np.array([group.pages for group in groups], np.float64)
    seconds = np.array([group.seconds for group in groups])
    acted = acted * (1 - missing / acted.sum())
    left_s = float(((pages - acted) * seconds).sum())

    def excess(log_rate: float) -> float:
        return float((acted * seconds / np.expm1(np.minimum(math.exp(log_rate) * seconds, 500.0))).sum()) - left_s

    start = math.log(acted.sum() / float((pages * seconds).sum()))
    return math.exp(float(brentq(excess, start - 1, start + 20)))


def _limits(events: int) -> tuple[float, float]:
    """Give the exact limits of a Poisson mean as factors of the number that was seen."""
    low, high = gammaincinv([events, events + 1], [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low) / events, float(high) / events


def mean_span(total_s: float, ends: int, how: str) -> Rate:
    """Estimate the mean of exponential spans of which so many ended in so many seconds of exposure."""
    low, high = _limits(ends)
    return Rate(total_s / ends, total_s / ends / high, total_s / ends / low, how)


_MOST_CLUSTERED = 0.999
_DEVIATIONS = 1.96
"""Standard deviations on both sides of a mean that hold 95 % of a normal law."""


def clustering(pages: Counts, acted: Counts, how: str) -> Rate | None:
    """Estimate which share of the regions takes none of the events, from how many pages of each acted, by process.

    Where a region is acted on with chance w, and then each of its a pages with chance q, k of them act: E k = a w q and
    E k (k - 1) = a (a - 1) w q^2, so that w = (sum k / sum a)^2 / (sum k (k - 1) / sum a (a - 1)), processes weighted by
    their sum of a (a - 1). 0 says that pages act independently of each other. The interval is the jackknife's, over
    regions. None where no two pages of a region acted. Shapes: each (n_processes, n_regions).
    Source: Efron and Stein, doi:10.1214/aos/1176345462.
    """
    a, k = pages.astype(np.float64), acted.astype(np.float64)
    terms = np.array([a, k, a * (a - 1), k * (k - 1)])
    totals = terms.sum(axis=2, keepdims=True)
    if not totals[3].any():
        return None
    share, without = _share_acted_on(totals)[0], _share_acted_on(totals - terms)
    n = without.size
    half = _DEVIATIONS * math.sqrt((n - 1) / n * float(((without - without.mean()) ** 2).sum()))
    value, low, high = (float(np.clip(1 - share + way * half, 0.0, _MOST_CLUSTERED)) for way in (0, -1, 1))
    return Rate(value, low, high, how)


def _share_acted_on(totals: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Solve for w. Shapes: (4, n_processes, n) -> (n,)."""
    a, k, pairs, both = totals
    mean = np.divide(k, a, out=np.zeros_like(a), where=a > 0)
    return np.asarray((pairs * mean**2).sum(axis=0) / np.maximum(both.sum(axis=0), 1.0))


def hottest(acted: Counts, exposure_s: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Pick the regions that act at another rate than the rest, if two rates explain what was seen better than one.

    Of all cuts of the regions, ordered by their rate, the one with the shortest description: what its log-likelihood gains
    must exceed what it takes to say how many regions are hot, which ones, and at what rate. Shapes: (n,), (n,) -> (k,)
    ascending. Source: Rissanen, doi:10.1016/0005-1098(78)90005-5.
    """
    n, total = len(acted), int(acted.sum())
    if n < 2 or not total:
        return np.zeros(0, np.intp)
    order = np.argsort(-acted / exposure_s, kind="stable")
    hot, hot_s = np.cumsum(acted[order])[:-1], np.cumsum(exposure_s[order])[:-1]
    gain = _log_likelihood(hot, hot_s) + _log_likelihood(total - hot, exposure_s.sum() - hot_s)
    gain -= _log_likelihood(np.array([total]), exposure_s.sum(keepdims=True))
    n_hot = np.arange(1, n)
    gain -= gammaln(n + 1) - gammaln(n_hot + 1) - gammaln(n - n_hot + 1)
    best = int(np.argmax(gain))
    if gain[best] <= math.log(n) + math.log(total) / 2:
        return np.zeros(0, np.intp)
    return np.sort(order[: best + 1])


def _log_likelihood(events: Counts, exposure_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Give the largest log-likelihood of Poisson counts, constants left out."""
    return np.where(events > 0, events * np.log(np.maximum(events, 1) / exposure_s), 0.0)
