"""A server that forks a child to write a snapshot, while it goes on serving writes."""

import dataclasses

from thpsweep.model.workloads.base import Loaded


@dataclasses.dataclass
class Snapshot(Loaded):
    """Stand for redis-server with BGSAVE: a short-lived child reads all memory, the parent writes by Zipf's law.

    Each sharer but the root is one place for a child, which is taken for worker_life_s and then free for worker_gap_s:
    the sharing degree is the largest number of mms at a time, 2 for one snapshot after the other. The run begins as a
    child is forked. Zipf's law ranks keys, and keys are spread over the heap by hashing: so are the ranks of the pages.
    """
