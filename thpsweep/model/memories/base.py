"""Where the 2 MiB blocks for new folios come from."""

import abc
import dataclasses
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from thpsweep.model import checks
from thpsweep.model.bits import Bools, Ints
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family

MAX_HEADROOM_BYTES = float(1 << 50)


@dataclasses.dataclass(frozen=True)
class MemoryView:
    """What a memory may look at and count in. Shapes: keys (n_replicates,), for draws whose moment a policy chooses."""

    family: Family
    counts: Counts
    keys: npt.NDArray[np.uint64]


@dataclasses.dataclass
class Memory(abc.ABC):
    """Say how many blocks are free, and what an allocation can do where none is. Options only; the state is apart.

    All processes are in one memory cgroup. Its limit leaves `cgroup_headroom_bytes` above the family's anonymous pages at
    the beginning; None is no limit. A collapse whose folio would exceed it fails (CGROUP_CHARGE_FAIL); faults never do, and
    the cgroup reclaims nothing for either.
    Source: mm/khugepaged.c alloc_charge_folio() (v6.18).
    """

    limited: ClassVar[bool] = True
    """Whether an allocation can fail or has to wait for compaction; else nobody asks for free blocks."""

    cgroup_headroom_bytes: float | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.cgroup_headroom_bytes is not None:
            checks.in_range("memory.cgroup_headroom_bytes", self.cgroup_headroom_bytes, 0, MAX_HEADROOM_BYTES)

    def begin(self, place: MemoryView) -> Any:
        """Make the state before the first tick."""
        del place

    def tick(self, state: Any, place: MemoryView, tick: int, tick_s: float) -> None:
        """Let a tick's time pass, before the collapser acts in it."""
        del state, place, tick, tick_s

    @property
    def compacts_directly(self) -> bool:
        """Whether compact() can make a block; else one that fails says it for all until a block is given back."""
        return True

    @abc.abstractmethod
    def free(self, state: Any, place: MemoryView) -> Ints:
        """Count the free blocks as the family is now; a collapse takes one by making a folio. Shapes: -> (n_replicates,)."""

    @abc.abstractmethod
    def compact(self, state: Any, place: MemoryView, rows: Ints) -> Bools:
        """Do what an allocation for each row does where no block is free; tell where one is free now.

        Shapes: (n,), of distinct replicates -> (n,).
        """
