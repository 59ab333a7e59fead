"""Gates one behind the other."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from thpsweep.errors import OptionError
from thpsweep.model import registry
from thpsweep.model.gates.base import Gate, Proposal, is_steady
from thpsweep.model.mechanisms.base import Flags


@dataclasses.dataclass
class AllOf(Gate):
    """Let pass what every one of `gates` lets pass; each is asked only about what those before it let pass.

    gates: a list of {kind: NAME, OPTION: VALUE, ...}. An empty list refuses nothing.
    """

    gates: list[Any] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self._made()

    @property
    def by_price(self) -> bool:
        """Prices decide where they do in one of the gates."""
        return any(gate.by_price for gate in self._made())

    @property
    def any_order(self) -> bool:
        """All of the gates have to."""
        return all(gate.any_order for gate in self._made())

    @property
    def steady(self) -> bool:
        """All of the gates have to be."""
        return all(is_steady(gate) for gate in self._made())

    def begin(self, n_replicates: int) -> list[tuple[Gate, Any]]:
        """Make the gates and their states."""
        return [(gate, gate.begin(n_replicates)) for gate in self._made()]

    def allow(self, state: list[tuple[Gate, Any]], proposal: Proposal) -> Flags:
        """Ask one after the other."""
        left = np.arange(proposal.rows.size)
        for gate, inner in state:
            if left.size:
                left = left[gate.allow(inner, proposal.where(left))]
        allowed = np.zeros(proposal.rows.size, bool)
        allowed[left] = True
        return allowed

    def _made(self) -> list[Gate]:
        for spec in self.gates:
            if not isinstance(spec, Mapping):
                raise OptionError("policy.gate.gates", spec, "a list of {kind: NAME, OPTION: VALUE, ...}")
        return [registry.build("gate", spec) for spec in self.gates]
