"""A database server with one process a connection, all forked from one postmaster."""

import dataclasses

from thpsweep.model.workloads.base import Loaded


@dataclasses.dataclass
class Database(Loaded):
    """Stand for PostgreSQL and Oracle with dedicated servers, at 1,000 to 2,000 backends: set sharing.degree to that.

    What is anonymous and shared there is what the postmaster had before it forked (preloaded libraries' data, parsed
    configuration, its heap); the buffer pool is shared memory and no part of this family.
    Hot regions are the heap's, which a backend writes as it sets up its caches; the others are read.
    Source: pages mapped by 1,000s of processes, 1,500 clients: Khalid Aziz, kernel mail cover.1682453344.
    """
