"""A preforking server: a master loads code and data, forks its workers, and they mostly read what it loaded."""

import dataclasses

from thpsweep.model.workloads.base import Loaded


@dataclasses.dataclass
class Prefork(Loaded):
    """Stand for gunicorn --preload, php-fpm, Apache prefork, a postmaster: one master, workers that share its heap.

    Hot regions are the allocator's arenas, which workers write soon after the fork; cold ones hold what was loaded once.
    """
