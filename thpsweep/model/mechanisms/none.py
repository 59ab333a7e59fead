"""The baseline: nothing is ever collapsed."""

import dataclasses
from typing import ClassVar

import numpy as np

from thpsweep.model.bits import Ints
from thpsweep.model.mechanisms.base import Flags, Mechanism, ScanLimits
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family


@dataclasses.dataclass
class Nothing(Mechanism):
    """Leave every page as it is; every other policy is paired against this one on the same events."""

    active: ClassVar[bool] = False

    def attempt(self, family: Family, counts: Counts, rows: Ints, race_slots: Ints, limits: ScanLimits) -> Flags:
        """Succeed nowhere."""
        del family, counts, race_slots, limits
        return np.zeros(rows.size, bool)
