"""Memory without an end."""

import dataclasses
from typing import Any, ClassVar

import numpy as np

from thpsweep.model.bits import Bools, Ints
from thpsweep.model.memories.base import Memory, MemoryView


@dataclasses.dataclass
class Plentiful(Memory):
    """Let every allocation of 2 MiB succeed at once: nothing is ever compacted."""

    limited: ClassVar[bool] = False

    def free(self, state: Any, place: MemoryView) -> Ints:
        """Always give as many as are asked for."""
        del state
        return np.full(place.family.n_replicates, np.iinfo(np.int64).max)

    def compact(self, state: Any, place: MemoryView, rows: Ints) -> Bools:
        """Succeed."""
        del state, place
        return np.ones(rows.size, bool)
