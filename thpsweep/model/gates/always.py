"""No gate: whatever a scan lets pass is attempted, as the kernel does."""

import dataclasses
from typing import Any

import numpy as np

from thpsweep.model.gates.base import Gate, Proposal
from thpsweep.model.mechanisms.base import Flags


@dataclasses.dataclass
class Always(Gate):
    """Let every attempt pass."""

    @property
    def by_price(self) -> bool:
        """Prices decide nothing."""
        return False

    @property
    def steady(self) -> bool:
        """What is proposed decides alone."""
        return True

    def allow(self, state: Any, proposal: Proposal) -> Flags:
        """Refuse nothing."""
        del state
        return np.ones(proposal.rows.size, bool)
