"""Which of a root's pages its workers have copied since they were forked: what a capture shows of sharing that ended."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thpsweep.model.capture.layout import Layout

Boards = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class CopiedPages:
    """Pages of the root, those of them that the mean worker has copied, and those that every worker has copied.

    What all of them have copied was written by something that each does: a collector that marks all objects, a cache that
    each warms up, code that each loads late.
    """

    of_root: int
    by_each: float
    by_all: int
    n_workers: int

    @property
    def share(self) -> float:
        """Give the share of the root's pages that the mean worker has copied."""
        return self.by_each / self.of_root if self.of_root else 0.0


def copied(layout: Layout) -> CopiedPages:
    """Compare the pages of each worker with those of the root, slot by slot."""
    root = _slots(layout, layout.members[:, 0])
    every, total = root.copy(), 0
    for process in range(1, layout.n_processes):
        apart = _slots(layout, layout.members[:, process] & ~layout.members[:, 0]) & root
        total += int(np.bitwise_count(apart).sum())
        every &= apart
    n_workers = layout.n_processes - 1
    return CopiedPages(
        of_root=int(np.bitwise_count(root).sum()),
        by_each=total / n_workers if n_workers else 0.0,
        by_all=int(np.bitwise_count(every).sum()) if n_workers else 0,
        n_workers=n_workers,
    )


def _slots(layout: Layout, chosen: npt.NDArray[np.bool_]) -> Boards:
    """Gather the slots of all cells whose members are chosen. Shapes: chosen (sets,) -> (regions, 8)."""
    cells = np.flatnonzero(chosen[layout.cell_members])
    slots = np.zeros((layout.n_regions, layout.cell_slots.shape[1]), np.uint64)
    np.bitwise_or.at(slots, layout.cell_region[cells], layout.cell_slots[cells])
    return slots
