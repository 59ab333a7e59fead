"""What every kind of program has in common: memory at the start, and what its processes do."""

import abc
import dataclasses
import math
from typing import Any, ClassVar

import numpy as np

from thpsweep.errors import OptionError
from thpsweep.model import bits, checks
from thpsweep.model.capture.start import Start
from thpsweep.units import HPAGE_PMD_NR

MAX_REGIONS = 1 << 20
"""2 TiB of memory."""

RECLAIM = ("none", "classic", "mglru")
"""none: no swap, so that anonymous memory is not scanned; classic: LRU lists, a folio at a time; mglru: page tables."""

LIFE_LAWS = ("exponential", "fixed", "together")
"""exponential: memoryless; fixed: always the mean, each worker in a phase of its own; together: the mean, all in step."""


@dataclasses.dataclass
class Workload(abc.ABC):
    """Give the memory at the start and the rates at which processes act; drawn blind to any policy.

    Pages are hot in the first `hot_regions` share of the regions, cold in the others. A rate is a mean number of events
    a page and hour, Poisson in time. The root (sharer 0) has rates of its own, and is the one that forks.
    """

    hot_regions: float
    root_hot_writes_per_page_hour: float
    root_cold_writes_per_page_hour: float
    worker_hot_writes_per_page_hour: float
    worker_cold_writes_per_page_hour: float
    write_zipf_exponent: float
    """Within the hot and within the cold pages, the k-th most written one is written as k ** -exponent; 0 = all alike."""
    write_clustering: float = dataclasses.field(default=0.0, kw_only=True)
    """Share of the cold regions that take none of these writes, whoever writes; the others take as many in all. Regions are
    what it counts by, since a PMD is split by the first write to any of its 512 pages. Hot regions have a share already."""
    burst_pages_share: float
    """Share of all pages that a worker writes in the first burst_s of its life, on top of its rates."""
    burst_s: float
    reads_per_page_hour: float
    """How often a process touches a page: decides whether khugepaged finds a young pte."""
    root_cpu_share: float
    worker_cpu_share: float
    """CPUs that the root, and each worker, keeps busy; together at most what the machine has."""
    page_walk_share: float
    """Share of their cycles in page walks, with small pages alone, in the family as it is at the start."""
    reach_exponent: float
    """TLB misses go with the reach of an entry to the power of minus this."""
    worker_life_s: float
    """Mean time from a worker's fork to its exit; 0 = lives on."""
    worker_gap_s: float
    """Mean time from a worker's exit to the fork of its successor; 0 = in the same tick."""
    worker_life_law: str
    """How lives and gaps are distributed: one of LIFE_LAWS."""
    extra_references_per_page: float
    """Mean number of short extra references (gup, per-CPU LRU batches) on a page at any moment."""
    late_references_per_page: float
    """Mean number that arrive at a page while one attempt is under way."""
    mmap_write_locked_share: float
    """Share of the time for which a process's mmap_lock is held for writing: khugepaged then passes its mm over."""
    reclaim: str
    """How anonymous memory is reclaimed: one of RECLAIM."""
    aging_passes_per_hour: float
    """Rounds of LRU aging: memory pressure. Young bits are cleared by it. Without reclaim there are none."""
    pins_per_process_hour: float
    """Rate at which a process pins a run of pages for long (FOLL_PIN: registered buffers, RDMA, VFIO)."""
    vmsplices_per_process_hour: float
    """Rate at which it takes long references on a run of pages, shared or not (FOLL_GET: vmsplice)."""
    pages_per_request: int
    """Pages that one such request takes, in a row within one region."""
    request_life_s: float
    """Mean time for which it keeps them."""
    swap_outs_per_page_hour: float
    """Rate at which reclaim comes to a cold page, to write it to swap unless it is young or referred to."""

    RANGES: ClassVar[dict[str, tuple[float, float]]] = {
        "hot_regions": (0, 1),
        "mmap_write_locked_share": (0, 1),
        "page_walk_share": (0, 1),
        "reach_exponent": (0, 2),
        "burst_pages_share": (0, 0.999),
        "write_zipf_exponent": (0, 4),
        "write_clustering": (0, 0.999),
    }
    NOT_NEGATIVE: ClassVar[tuple[str, ...]] = (
        "root_hot_writes_per_page_hour",
        "root_cold_writes_per_page_hour",
        "worker_hot_writes_per_page_hour",
        "worker_cold_writes_per_page_hour",
        "burst_s",
        "reads_per_page_hour",
        "root_cpu_share",
        "worker_cpu_share",
        "worker_life_s",
        "worker_gap_s",
        "extra_references_per_page",
        "late_references_per_page",
        "aging_passes_per_hour",
        "pins_per_process_hour",
        "vmsplices_per_process_hour",
        "request_life_s",
        "swap_outs_per_page_hour",
    )

    def __post_init__(self) -> None:
        for name, (low, high) in self.RANGES.items():
            checks.in_range(f"workload.{name}", getattr(self, name), low, high)
        for name in self.NOT_NEGATIVE:
            checks.not_negative(f"workload.{name}", getattr(self, name))
        checks.one_of("workload.worker_life_law", self.worker_life_law, LIFE_LAWS)
        checks.one_of("workload.reclaim", self.reclaim, RECLAIM)
        if self.reclaim == "none" and self.swap_outs_per_page_hour:
            raise OptionError(
                "workload.reclaim", "none", "classic or mglru, as workload.swap_outs_per_page_hour is not 0"
            )
        checks.whole("workload.pages_per_request", self.pages_per_request, 1, HPAGE_PMD_NR)

    @property
    def aging_rounds_per_hour(self) -> float:
        """Rounds of LRU aging that anonymous memory sees."""
        return 0.0 if self.reclaim == "none" else self.aging_passes_per_hour

    @abc.abstractmethod
    def start(self, n_sharers: int) -> Start:
        """Give the memory of a family with so many sharers before its first tick."""

    def writes_per_page_hour(self, root: bool, hot: bool) -> float:
        """Give the mean rate at which the root, or a worker, writes a hot, or cold, page."""
        return float(getattr(self, f"{'root' if root else 'worker'}_{'hot' if hot else 'cold'}_writes_per_page_hour"))

    def burst_share(self) -> float:
        """Give the share of all pages that a worker writes in the first burst_s of its life."""
        return self.burst_pages_share

    def contiguous(self, size: int) -> float:
        """Give the share of the ptes that are in whole aligned groups of so many contiguous pages at the start."""
        del size
        return 0.0

    def absent(self, n_sharers: int) -> int:
        """Count the workers, the last of the sharers, that do not live yet when the run begins."""
        del n_sharers
        return 0

    def describe(self, n_sharers: int) -> dict[str, Any]:
        """Say in plain facts what a reader of the result must know about this scene."""
        del n_sharers
        return {}

    def identity(self) -> dict[str, str]:
        """Name content outside the config that the result depends on (the hash of a captured file)."""
        return {}


@dataclasses.dataclass
class Loaded(Workload):
    """Share what a root touched before it forked: the first `present_ptes` slots of each of `regions` regions."""

    regions: int
    present_ptes: int

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.whole("workload.regions", self.regions, 1, MAX_REGIONS)
        checks.whole("workload.present_ptes", self.present_ptes, 1, HPAGE_PMD_NR)

    def start(self, n_sharers: int) -> Start:
        """Let the root and every worker that lives already map the same frames."""
        n, absent = self.regions, np.arange(n_sharers) >= n_sharers - self.absent(n_sharers)
        return Start(
            n_regions=n,
            class_of=absent.astype(np.int64),
            cell_region=np.arange(n),
            cell_slots=bits.below(np.full(n, self.present_ptes)),
            cell_folio=np.zeros(n, np.int64),
            cell_classes=np.repeat([[True, False]], n, axis=0),
            swapped=np.zeros((2, n, 8), np.uint64),
            pmd=np.zeros((2, n), bool),
        )

    def describe(self, n_sharers: int) -> dict[str, Any]:
        """Say how much of the memory is written at all, and who is still to come."""
        facts: dict[str, Any] = {"regions": self.regions, "hot_regions": hot_count(self.regions, self.hot_regions)}
        if self.absent(n_sharers):
            facts["absent_at_start"] = self.absent(n_sharers)
        return facts


def hot_count(n_regions: int, share: float) -> int:
    """Give how many of the regions are hot, rounded up."""
    return math.ceil(n_regions * share - 1e-9)
