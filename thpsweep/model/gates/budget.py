"""A budget per second: collapsing goes on in the background, at a pace that nobody minds."""

import dataclasses
from typing import ClassVar

import numpy as np

from thpsweep.errors import OptionError
from thpsweep.model import checks
from thpsweep.model.accounting.prices import collapse_ns
from thpsweep.model.bits import Floats
from thpsweep.model.gates.base import Gate, Proposal
from thpsweep.model.mechanisms.base import Flags
from thpsweep.model.state.counts import PTE_UPDATES, Counts
from thpsweep.units import NS_PER_MS

_RATES = ("pte_updates_per_s", "cpu_ms_per_s")


@dataclasses.dataclass
class _Buckets:
    """What may still be spent. Shapes: left and spent (n_replicates, number of limited rates)."""

    left: Floats
    spent: Floats
    now_s: float = 0.0


@dataclasses.dataclass
class Budget(Gate):
    """Let attempts pass while what they are expected to take is left in a token bucket, one for each rate that is set.

    A bucket holds burst_s seconds of its rate, is full when the run begins, and is filled by simulated time. An attempt
    passes if its expected updates, or CPU time by the price list, are left; what is charged is what was spent in truth,
    scanning and failed attempts included, so a bucket can be in debt. An attempt that a full bucket cannot hold never
    passes. null: that rate is not limited.
    """

    loosens: ClassVar[tuple[str, ...]] = (*_RATES, "burst_s")

    pte_updates_per_s: float | None = 10_000.0
    cpu_ms_per_s: float | None = None
    burst_s: float = 60.0

    def __post_init__(self) -> None:
        for name in _RATES:
            if getattr(self, name) is not None:
                checks.not_negative(f"policy.gate.{name}", getattr(self, name))
        checks.positive("policy.gate.burst_s", self.burst_s)
        if not self._rates():
            raise OptionError("policy.gate.pte_updates_per_s", None, "a number, unless cpu_ms_per_s is one")

    def begin(self, n_replicates: int) -> _Buckets:
        """Fill the buckets."""
        rates = np.array(list(self._rates().values()))
        return _Buckets(np.tile(rates * self.burst_s, (n_replicates, 1)), np.zeros((n_replicates, rates.size)))

    def allow(self, state: _Buckets, proposal: Proposal) -> Flags:
        """Charge what was spent since the last time, then let pass in turn what is left for."""
        self._settle(state, proposal)
        needed = self._measured(proposal.rehearsal.counts, proposal)
        left, allowed = state.left.copy(), np.zeros(proposal.rows.size, bool)
        for i, replicate in enumerate(proposal.replicates):
            allowed[i] = (needed[i] <= left[replicate]).all()
            if allowed[i]:
                left[replicate] -= needed[i]
        return allowed

    def _settle(self, state: _Buckets, proposal: Proposal) -> None:
        rates, spent = np.array(list(self._rates().values())), self._measured(proposal.counts, proposal)
        filled = state.left - (spent - state.spent) + rates * (proposal.now_s - state.now_s)
        state.left = np.minimum(rates * self.burst_s, filled)
        state.spent, state.now_s = spent, proposal.now_s

    def _measured(self, counts: Counts, proposal: Proposal) -> Floats:
        """Measure counts in the units of the limited rates. Shapes: -> (size of the counts, number of rates)."""
        updates = np.sum([counts.total[kind] for kind in PTE_UPDATES], axis=0) * 1.0
        cpu_ms = collapse_ns(counts, proposal.machine, proposal.family.n_sharers) / NS_PER_MS
        measures = dict(zip(_RATES, (updates, cpu_ms), strict=True))
        return np.stack([measures[name] for name in self._rates()], axis=1)

    def _rates(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in _RATES if getattr(self, name) is not None}
