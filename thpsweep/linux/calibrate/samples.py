"""Typical values of noisy samples."""

import statistics
from collections.abc import Mapping

import numpy as np

from thpsweep.linux.live.actor import Reply

Raw = dict[str, float]
"""Name of what a probe measured -> ns, unless the name says otherwise."""

SHARERS = (1, 4, 16)
"""Sharer counts that slopes are fitted over."""
USED = frozenset((*SHARERS, 2))
"""All sharer counts of priced probes, a parent with its child among them; predictions are checked on others."""

_PREEMPTED = 1.5
_PREEMPTED_NS = 10_000


def typical_ns(reply: Reply, parts: int = 1, wall: bool = False) -> float:
    """Take the median piece of a reply, divided into so many parts.

    Pieces that waited for a CPU are left out, unless most did: their caches are cold. CPU time by default; `wall` for
    pieces of a few us, which the slower clock of CPU time would swamp.
    """
    pairs = list(zip(reply.cpu_ns, reply.wall_ns, strict=True))
    calm = [pair for pair in pairs if pair[1] <= _PREEMPTED * pair[0] + _PREEMPTED_NS]
    chosen = calm if 2 * len(calm) >= len(pairs) else pairs
    return statistics.median(pair[int(wall)] for pair in chosen) / parts


def line(points: Mapping[float, float]) -> tuple[float, float]:
    """Fit y = a + b x with errors relative to y; give (a, b)."""
    x, y = (np.array(values, float) for values in (list(points), list(points.values())))
    design = np.stack((np.ones_like(x), x), axis=1) / y[:, None]
    (a, b), *_ = np.linalg.lstsq(design, np.ones_like(y), rcond=None)
    return float(a), float(b)
