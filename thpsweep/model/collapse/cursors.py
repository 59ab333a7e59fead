"""Where khugepaged stands in its list of mms."""

import dataclasses

import numpy as np

from thpsweep.model.bits import Bools, Ints
from thpsweep.model.state.family import Family

NEVER = np.iinfo(np.int64).max
"""Registered when no mm is: what the cursor before the first mm holds."""


@dataclasses.dataclass
class Cursors:
    """Where the daemon stands in each replicate, and how far its pass is. Shapes: each (n_replicates,).

    A sharer of n_sharers means before the first mm; registered tells its mm from an earlier one of that number. inside: the
    mmap lock is held, going on costs nothing; taking it, also again after an attempt, costs 1. asleep: in the middle of a
    pass, after its first failed allocation. calm: passes in a row in which nothing passed its scan, more or less.
    together: later mms that are scanned together, as long as nothing in them passes.
    """

    sharer: Ints
    registered: Ints
    region: Ints
    progress: Ints
    wraps: Ints
    calm: Ints
    together: Ints
    inside: Bools
    going: Bools
    asleep: Bools

    @classmethod
    def before_first(cls, n_replicates: int, n_sharers: int) -> "Cursors":
        """Place the cursors before the first mm."""
        zeros, flags = np.zeros((6, n_replicates), np.int64), np.zeros((3, n_replicates), bool)
        return cls(np.full(n_replicates, n_sharers), *zeros, *flags)


def earliest(family: Family, among: Bools) -> tuple[Ints, Ints]:
    """Give the mm that was registered first of some in each replicate, n_sharers where there is none, and when it was.

    Shapes: (n_replicates, n_sharers) -> (n_replicates,), (n_replicates,).
    """
    when = np.where(among, family.registered, NEVER)
    return np.where(among.any(axis=1), np.argmin(when, axis=1), family.n_sharers), when.min(axis=1)
