"""A preforking server: a master loads code and data, forks its workers, and they mostly read what it loaded."""

import dataclasses
from typing import Any

import numpy as np

from thpsweep.model import bits, options
from thpsweep.model.start import Start
from thpsweep.model.workloads.base import Workload, hot_count, whole
from thpsweep.units import HPAGE_PMD_NR

MAX_REGIONS = 1 << 20
"""2 TiB of memory."""


@dataclasses.dataclass
class Prefork(Workload):
    """Stand for gunicorn --preload, php-fpm, Apache prefork, a postmaster: one master, workers that share its heap.

    The master has touched the first `present_ptes` slots of each region before it forks. Hot regions are the allocator's
    arenas, which workers write soon after the fork; cold ones hold what was loaded once.
    """

    regions: int
    present_ptes: int

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("workload.regions", self.regions, 1, MAX_REGIONS)
        whole("workload.present_ptes", self.present_ptes, 1, HPAGE_PMD_NR)

    def start(self, n_sharers: int) -> Start:
        """Let every sharer map the same frames."""
        n = self.regions
        return Start(
            n_regions=n,
            class_of=np.zeros(n_sharers, np.int64),
            cell_region=np.arange(n),
            cell_slots=bits.below(np.full(n, self.present_ptes)),
            cell_folio=np.zeros(n, np.int64),
            cell_classes=np.ones((n, 1), bool),
            swapped=np.zeros((1, n, 8), np.uint64),
            pmd=np.zeros((1, n), bool),
        )

    def describe(self, n_sharers: int) -> dict[str, Any]:
        """Say how much of the memory is written at all."""
        options.in_range("sharing.degree", n_sharers, 1, 1e9)
        return {"regions": self.regions, "hot_regions": hot_count(self.regions, self.hot_regions)}
