"""A process that preloads what programs have in common, and from which they are all forked."""

import dataclasses

from thpsweep.model.checks import whole
from thpsweep.model.workloads.base import Loaded
from thpsweep.units import MAX_SHARERS


@dataclasses.dataclass
class Zygote(Loaded):
    """Stand for the Android zygote and Chromium's: children forked one by one as they are wanted, each then its own program.

    Soon after its fork a child writes a share of the pages (object headers, allocator metadata, what it initialises
    anew), then little. `children_at_start` children live when the run begins, just forked; the others of the sharing
    degree are forked in its course, each worker_gap_s after it was last seen.
    """

    children_at_start: int

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("workload.children_at_start", self.children_at_start, 0, MAX_SHARERS)

    def absent(self, n_sharers: int) -> int:
        """Count the children that have not been forked yet."""
        return max(0, n_sharers - 1 - self.children_at_start)
