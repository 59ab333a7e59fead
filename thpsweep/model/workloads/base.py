"""What every kind of program has in common: memory at the start, and what its processes do."""

import abc
import dataclasses
import math
from typing import Any, ClassVar

from thpsweep.errors import OptionError
from thpsweep.model import options
from thpsweep.model.start import Start


@dataclasses.dataclass
class Workload(abc.ABC):
    """Give the memory at the start and the rates at which processes act; drawn blind to any policy.

    Pages are hot in the first `hot_regions` share of the regions, cold in the others. A rate is a mean number of events
    a page and hour, Poisson in time. The root (sharer 0) has rates of its own. Every worker lives for a time drawn from
    an exponential law with mean worker_life_s and is replaced by a fork of the root in the same tick; 0 = lives on.
    """

    hot_regions: float
    root_hot_writes_per_page_hour: float
    root_cold_writes_per_page_hour: float
    worker_hot_writes_per_page_hour: float
    worker_cold_writes_per_page_hour: float
    reads_per_page_hour: float
    """How often a process touches a page: decides whether khugepaged finds a young pte."""
    random_accesses_per_s: float
    """Accesses of all processes together that may miss the TLB, spread evenly over what they map."""
    worker_life_s: float
    extra_references_per_page: float
    """Mean number of short extra references (gup, per-CPU LRU batches) on a page at any moment."""
    late_references_per_page: float
    """Mean number that arrive at a page while one attempt is under way."""
    aging_passes_per_hour: float
    """Rounds of LRU aging: memory pressure. Young bits are cleared by it."""

    NOT_NEGATIVE: ClassVar[tuple[str, ...]] = (
        "root_hot_writes_per_page_hour",
        "root_cold_writes_per_page_hour",
        "worker_hot_writes_per_page_hour",
        "worker_cold_writes_per_page_hour",
        "reads_per_page_hour",
        "random_accesses_per_s",
        "worker_life_s",
        "extra_references_per_page",
        "late_references_per_page",
        "aging_passes_per_hour",
    )

    def __post_init__(self) -> None:
        options.in_range("workload.hot_regions", self.hot_regions, 0, 1)
        for name in self.NOT_NEGATIVE:
            options.not_negative(f"workload.{name}", getattr(self, name))

    @abc.abstractmethod
    def start(self, n_sharers: int) -> Start:
        """Give the memory of a family with so many sharers before its first tick."""

    def describe(self, n_sharers: int) -> dict[str, Any]:
        """Say in plain facts what a reader of the result must know about this scene."""
        del n_sharers
        return {}

    def identity(self) -> dict[str, str]:
        """Name content outside the config that the result depends on (the hash of a captured file)."""
        return {}


def whole(key: str, value: object, low: int, high: int) -> None:
    """Refuse anything but a whole number from low to high."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise OptionError(key, value, f"a whole number, {low}..{high}")


def hot_count(n_regions: int, share: float) -> int:
    """Give how many of the regions are hot, rounded up."""
    return math.ceil(n_regions * share - 1e-9)
