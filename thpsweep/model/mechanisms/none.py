"""The baseline: nothing is ever collapsed."""

import dataclasses
from typing import ClassVar

import numpy as np

from thpsweep.model.bits import Ints
from thpsweep.model.mechanisms.base import Mechanism, ended
from thpsweep.model.mechanisms.visit import Visit


@dataclasses.dataclass
class Nothing(Mechanism):
    """Leave every page as it is; every other policy is paired against this one on the same events."""

    active: ClassVar[bool] = False

    def attempt(self, visit: Visit) -> Ints:
        """Succeed nowhere."""
        return ended(np.ones(visit.rows.size, bool))
