"""A cap on a single attempt: the debate's doubt about changing a hundred thousand ptes at once."""

import dataclasses
from typing import Any, ClassVar

import numpy as np

from thpsweep.model.checks import whole
from thpsweep.model.gates.base import Gate, Proposal
from thpsweep.model.mechanisms.base import Flags
from thpsweep.units import HPAGE_PMD_NR, MAX_SHARERS


@dataclasses.dataclass
class MaxPtes(Gate):
    """Refuse an attempt that would change more than max_ptes ptes, each counted once however often it is written.

    KSM has such a cap for the same reason, at 256 sharers of a page (max_page_sharing, mm/ksm.c).
    Source: Andrea Arcangeli, 20160116174953.GU31137: 10k to 100k may be acceptable, never a million.
    """

    loosens: ClassVar[tuple[str, ...]] = ("max_ptes",)

    max_ptes: int = 100_000

    def __post_init__(self) -> None:
        whole("policy.gate.max_ptes", self.max_ptes, 0, HPAGE_PMD_NR * MAX_SHARERS)

    @property
    def by_price(self) -> bool:
        """Prices decide nothing."""
        return False

    @property
    def steady(self) -> bool:
        """What is proposed decides alone."""
        return True

    def allow(self, state: Any, proposal: Proposal) -> Flags:
        """Let pass what stays within the cap, exactly the cap included."""
        del state
        return np.asarray(proposal.ptes <= self.max_ptes)
