"""What events are drawn from: sizes, rates, and who writes which class of pages how often; no policy, no machine."""

import dataclasses
import functools
import math

from thpsweep.model.events.rates import Law
from thpsweep.model.workloads.base import Workload, hot_count
from thpsweep.units import HPAGE_PMD_NR, S_PER_HOUR


@dataclasses.dataclass(frozen=True)
class Writers:
    """A class of pages (regions from `low` on), who writes them, and how often."""

    kind: str
    low: int
    law: Law


@dataclasses.dataclass(frozen=True)
class Scene:
    """Sizes and rates that events are drawn from; no policy, no machine."""

    workload: Workload
    n_regions: int
    n_sharers: int
    n_ticks: int
    tick_s: float

    @functools.cached_property
    def sources(self) -> "list[Writers]":
        """What is written at all."""
        return sources(self)

    @property
    def forks_per_tick(self) -> float:
        """Mean number of forks in a tick, once the family is in its steady state."""
        span_s = self.workload.worker_life_s + self.workload.worker_gap_s
        return (self.n_sharers - 1) * self.tick_s / max(span_s, self.tick_s) if self.workload.worker_life_s else 0.0

    @property
    def burst_ticks(self) -> float:
        """Length of a burst; one of no length at all falls into the first tick. Units: ticks."""
        return max(self.workload.burst_s / self.tick_s, 1e-6)


def sources(scene: Scene) -> list[Writers]:
    """List what is written at all: hot and cold pages by the root and by the workers, and the workers' bursts."""
    load, hot = scene.workload, hot_count(scene.n_regions, scene.workload.hot_regions)
    classes = {"hot": (0, hot), "cold": (hot, scene.n_regions - hot)}
    written = []
    for writer in ("root", "worker") if scene.n_sharers > 1 else ("root",):
        for name, (low, n_regions) in classes.items():
            mean = load.writes_per_page_hour(writer == "root", name == "hot") * scene.tick_s / S_PER_HOUR
            clustering = load.write_clustering if name == "cold" else 0.0
            law = Law.clustered(n_regions, mean, load.write_zipf_exponent, clustering)
            written.append(Writers(f"{writer}_{name}", low, law))
    if scene.n_sharers > 1:
        mean = -math.log1p(-load.burst_share()) / scene.burst_ticks
        written.append(Writers("bursts", 0, Law(scene.n_regions * HPAGE_PMD_NR, mean)))
    return [source for source in written if source.law.mean > 0 and source.law.n_pages]
