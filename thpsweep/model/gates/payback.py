"""The question of 2016 asked before each collapse: does the gain exceed the cost, within a horizon?"""

import dataclasses
from typing import Any, ClassVar

import numpy as np

from thpsweep.errors import OptionError
from thpsweep.model import checks
from thpsweep.model.accounting.prices import aging_visits, at_prices, collapse_ns
from thpsweep.model.accounting.translation import (
    PTE_BYTES,
    Forms,
    Law,
    Rates,
    forms_of,
    process_seconds,
    shared_ptes,
    small_uncached,
    uncached,
)
from thpsweep.model.bits import Floats, Ints
from thpsweep.model.gates.base import Gate, Proposal
from thpsweep.model.machines.profile import Profile
from thpsweep.model.mechanisms.base import Flags
from thpsweep.model.state.family import Family
from thpsweep.units import HPAGE_PMD_NR, S_PER_HOUR

GAINS = ("aging", "fork", "exit", "tlb")
"""What can be counted as a gain: LRU aging, forks by the root, exits of its workers, page walks."""


@dataclasses.dataclass
class Payback(Gate):
    """Let an attempt pass if the gain that it promises over horizon_s exceeds what it is expected to cost.

    Gains are what the state after the collapse saves against the state before it, at the workload's rates and the
    machine's prices, as if nothing else changed: neither later writes that undo it nor later collapses. The cost is that
    of the attempt alone by the price list. Options: gains, which of GAINS count; cost_ns, a fixed cost instead of the
    price list's; miss_ns, a fixed price of a page walk instead of the machine's.
    """

    loosens: ClassVar[tuple[str, ...]] = ("horizon_s",)

    horizon_s: float = 3600.0
    gains: list[str] = dataclasses.field(default_factory=lambda: list(GAINS))
    cost_ns: float | None = None
    miss_ns: float | None = None

    def __post_init__(self) -> None:
        checks.positive("policy.gate.horizon_s", self.horizon_s)
        if not self.gains:
            raise OptionError("policy.gate.gains", self.gains, "one at least of " + ", ".join(GAINS))
        for gain in self.gains:
            checks.one_of("policy.gate.gains", gain, GAINS)
        for name in ("cost_ns", "miss_ns"):
            if getattr(self, name) is not None:
                checks.not_negative(f"policy.gate.{name}", getattr(self, name))

    @property
    def any_order(self) -> bool:
        """Not what address translation gains, which counts every subpage as one of PMD order."""
        return "tlb" not in self.gains

    @property
    def steady(self) -> bool:
        """What is proposed decides alone."""
        return True

    def allow(self, state: Any, proposal: Proposal) -> Flags:
        """Let pass where gain x horizon is more than the cost, strictly, as CBMM compares them."""
        del state
        return np.asarray(self.gain_ns_per_s(proposal) * self.horizon_s > self.attempt_ns(proposal))

    def attempt_ns(self, proposal: Proposal) -> Floats:
        """Predict what each attempt costs. Units: ns. Shapes: -> (n,)."""
        if self.cost_ns is not None:
            return np.full(proposal.rows.size, self.cost_ns)
        return collapse_ns(proposal.rehearsal.counts, proposal.machine, proposal.family.n_sharers)

    def gain_ns_per_s(self, proposal: Proposal) -> Floats:
        """Predict what each collapse saves. Units: ns per s. Shapes: -> (n,)."""
        by_kind = {
            "aging": lambda: _aging(proposal),
            "fork": lambda: _fork(proposal),
            "exit": lambda: _exit(proposal),
            "tlb": lambda: self._tlb(proposal),
        }
        return np.asarray(sum((by_kind[gain]() for gain in self.gains), np.zeros(proposal.rows.size)))

    def _tlb(self, proposal: Proposal) -> Floats:
        """Price page walks before and after, with the other regions as they are."""
        machine, rates, family = proposal.machine, Rates.of(proposal.workload), proposal.family
        everyone = Forms(*(family.gauge[name][proposal.replicates] for name in _GAUGES))
        stage = proposal.rehearsal.stage
        change = Forms(*(stage.gauge[name] for name in _GAUGES))
        n = proposal.rows.size
        was, becomes = forms_of(family, _roots(proposal)), forms_of(stage, np.arange(n) * family.n_sharers)
        root = _root_forms(family)
        here = Forms(*(np.asarray(form[proposal.replicates]) for form in root))
        there = Forms(*(a + c - b for a, b, c in zip(here, was, becomes, strict=True)))
        share, tables = small_uncached(here, _less(everyone, here), machine, rates), None
        if proposal.mechanism.shares_tables:  # which a collapse leaves as many
            ptes = shared_ptes(family, rates)[proposal.replicates]
            tables = ptes * float(PTE_BYTES)
            share = uncached((ptes + HPAGE_PMD_NR * everyone.pmds) * float(PTE_BYTES), machine)
        law = Law(machine, rates, family.n_sharers, share)
        spent_ns = [
            law.ns(process_seconds(mine, _less(every, mine), _living(proposal) - 1, machine, rates, 1.0, tables))
            for mine, every in (
                (here, everyone),
                (there, Forms(*(a + b for a, b in zip(everyone, change, strict=True)))),
            )
        ]
        fixed = 1.0 if self.miss_ns is None else self.miss_ns / law.walk_ns(share)
        return np.asarray((spent_ns[0] - spent_ns[1]) * fixed)


_GAUGES = ("small_ptes", "compound_ptes", "pmds")


def _roots(proposal: Proposal) -> Ints:
    """Give the root's rows of the proposed regions."""
    return proposal.family.region_of(proposal.rows) * proposal.family.n_sharers


def _root_forms(family: Family) -> Forms:
    """Count what the root of each replicate maps. Shapes: -> each (n_replicates,)."""
    rows = np.arange(family.n_replicates * family.n_regions) * family.n_sharers
    return Forms(*(form.reshape(family.n_replicates, -1).sum(axis=1) for form in forms_of(family, rows)))


def _less(everyone: Forms, root: Forms) -> Forms:
    """Take the root from the family."""
    return Forms(*(np.maximum(0, a - b) for a, b in zip(everyone, root, strict=True)))


def _living(proposal: Proposal) -> Ints:
    """Count the sharers that live, by proposed row. Shapes: -> (n,)."""
    return np.asarray(proposal.family.alive.sum(axis=1)[proposal.replicates])


def _aging(proposal: Proposal) -> Floats:
    rounds_per_s = proposal.workload.aging_rounds_per_hour / S_PER_HOUR
    visits = aging_visits(proposal.rehearsal.stage.gauge, proposal.workload.reclaim)
    return -at_prices(visits, proposal.machine) * rounds_per_s


def _turnovers_per_s(proposal: Proposal) -> Floats:
    """Expect so many exits, each followed by a fork: every worker's life ends at this rate. Shapes: -> (n,)."""
    life_s = proposal.workload.worker_life_s
    return (_living(proposal) - 1) / life_s if life_s else np.zeros(proposal.rows.size)


def _fork(proposal: Proposal) -> Floats:
    """A fork copies what the root maps."""
    family, stage, machine = proposal.family, proposal.rehearsal.stage, proposal.machine
    roots = _roots(proposal)
    staged = np.arange(proposal.rows.size) * family.n_sharers
    return (_fork_ns(family, roots, machine) - _fork_ns(stage, staged, machine)) * _turnovers_per_s(proposal)


def _fork_ns(family: Family, rows: Ints, machine: Profile) -> Floats:
    maps = forms_of(family, rows)
    by_pte = maps.small * machine.fork_pte_small_ns + maps.compound * machine.fork_pte_compound_ns
    return np.asarray(by_pte + maps.pmds * machine.fork_pmd_ns)


def _exit(proposal: Proposal) -> Floats:
    """An exit clears what the mean sharer maps."""
    gauge, machine = proposal.rehearsal.stage.gauge, proposal.machine
    by_pte = gauge["small_ptes"] * machine.exit_pte_small_ns + gauge["compound_ptes"] * machine.exit_pte_compound_ns
    change_ns = (by_pte + gauge["pmds"] * machine.exit_pmd_ns) / _living(proposal)
    return np.asarray(-change_ns * _turnovers_per_s(proposal))
