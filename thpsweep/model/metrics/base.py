"""What a metric is computed from."""

import dataclasses

from thpsweep.model.accounting.integrals import Integrals
from thpsweep.model.accounting.locks import Locks
from thpsweep.model.accounting.series import Series
from thpsweep.model.bits import Floats
from thpsweep.model.machines.profile import Profile
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family


@dataclasses.dataclass(frozen=True)
class Counted:
    """What a run counted, and what has a price."""

    counts: Counts
    integrals: Integrals


@dataclasses.dataclass(frozen=True)
class Run(Counted):
    """One policy's run of all replicates, at its end."""

    family: Family
    series: Series
    locks: Locks


@dataclasses.dataclass(frozen=True)
class Pair:
    """A policy's run and the baseline's on the same events, with what prices them."""

    policy: Run
    baseline: Run
    machine: Profile
    n_sharers: int
    duration_s: float
    shares_tables: bool = False
    payer: str = "khugepaged"
    """Whose CPU time collapsing took in the first place (triggers/base.py)."""


Metrics = dict[str, tuple[Floats, str]]
"""Name -> (value of each replicate, unit)."""
