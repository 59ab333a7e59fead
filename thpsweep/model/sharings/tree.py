"""A fork tree: sharing in nested generations."""

import dataclasses

import numpy as np
import numpy.typing as npt

from thpsweep.model import bits, checks
from thpsweep.model.bits import Boards, Bools, Ints
from thpsweep.model.capture.start import Start
from thpsweep.model.checks import whole
from thpsweep.model.sharings.base import Refined, Sharing, check_degree, check_size, of_classes, refine
from thpsweep.units import HPAGE_PMD_NR, MAX_SHARERS


@dataclasses.dataclass
class TreeSharing(Sharing):
    """Let sharer j be forked by sharer (j - 1) // fanout; one that forks writes a share of its pages before it does.

    What it wrote, its descendants share with it and nobody else does, except what one of them wrote again before it
    forked. A generation writes the slots that follow those of the one before, in every region, and starts over at the
    end: so groups are nested. Written are only pages that it maps; a written subpage of a folio becomes a small page.
    A sharer whose life ends during the run is followed by a fork of the root.
    """

    degree: int
    fanout: int
    written_share: float

    def __post_init__(self) -> None:
        check_degree(self.degree)
        whole("sharing.fanout", self.fanout, 1, MAX_SHARERS)
        checks.in_range("sharing.written_share", self.written_share, 0, 1)

    @property
    def sharers(self) -> int:
        """All processes of the tree."""
        return self.degree

    def check(self, n_regions: int) -> None:
        """Refuse a tree that cuts regions into too many pieces."""
        groups = self._shared_groups()
        check_size(len(groups) * n_regions, int(groups[0][2].size) if groups else 0)

    def listings(self, n_regions: int) -> int:
        """Count the forking sharers that map each group of slots."""
        return n_regions * sum(int(np.count_nonzero(nodes)) for _, _, nodes in self._shared_groups())

    def _shared_groups(self) -> list[tuple[Boards, int, Bools]]:
        """List the groups of slots as `_groups` does, for memory that is fully mapped."""
        parent = (np.arange(self.degree) - 1) // self.fanout
        forking = parent[: int(parent.max(initial=0)) + 1]
        return _groups(self._written(forking), forking)

    def shape(self, start: Start) -> Start:
        """Cut each cell by who wrote its slots last."""
        parent = (np.arange(start.class_of.size) - 1) // self.fanout
        n_forking = int(parent.max(initial=0)) + 1
        # A sharer that forked nobody has written nothing: it maps what its parent does.
        node = np.where(np.arange(parent.size) < n_forking, np.arange(parent.size), parent)
        refined = refine(start.class_of, node)
        written = self._written(parent[:n_forking])
        class_of_node = start.class_of[:n_forking]
        cuts = _Cuts(dataclasses.replace(start, parents=np.maximum(parent, 0)), refined)
        patterns, which = np.unique(start.cell_classes, axis=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            cells = bits.where(which.reshape(-1) == number)
            for slots, writer, nodes in _groups(written & pattern[class_of_node][:, None], parent[:n_forking]):
                cuts.add(cells, slots, writer, pattern[refined.old] & nodes[refined.label])
        return cuts.start()

    def _written(self, parent: Ints) -> Bools:
        """Tell which slots each forking sharer wrote; the root's are as the workload left them. Shapes: -> (n, 512)."""
        generation = np.zeros(parent.size, np.int64)
        for node in range(1, parent.size):
            generation[node] = generation[parent[node]] + 1
        width = round(self.written_share * HPAGE_PMD_NR)
        place = np.arange(HPAGE_PMD_NR)[None, :] - (generation[:, None] - 1) * width
        return (place % HPAGE_PMD_NR < width) & (generation[:, None] > 0)


def _groups(written: Bools, parent: Ints) -> list[tuple[Boards, int, Bools]]:
    """List (slots, who wrote them last, forking sharers that map them so); writer 0 stands for the first frames."""
    last: npt.NDArray[np.int32] = np.zeros(written.shape, np.int32)
    for node in range(1, parent.size):
        last[node] = np.where(written[node], node, last[parent[node]])
    columns, which = np.unique(last, axis=1, return_inverse=True)
    shapes = []
    for number in range(columns.shape[1]):
        slots = bits.pack((which.reshape(-1) == number)[None, :])
        for writer in np.unique(columns[:, number]):
            shapes.append((slots, int(writer), columns[:, number] == writer))
    return shapes


class _Cuts:
    """Collect cells that are parts of a start's cells."""

    def __init__(self, start: Start, refined: Refined) -> None:
        self._start, self._refined = start, refined
        self._pmd = start.pmd[refined.old]
        self._region: list[Ints] = [np.zeros(0, np.int64)]
        self._slots: list[Boards] = [bits.empty(0)]
        self._folio: list[Ints] = [np.zeros(0, np.int64)]
        self._classes: list[Bools] = [np.zeros((0, refined.old.size), bool)]
        self._n_cells = 0

    def add(self, cells: Ints, slots: Boards, writer: int, classes: Bools) -> None:
        """Let the given classes map those of the cells' slots; by a writer's copy, which is no part of a folio."""
        part = self._start.cell_slots[cells] & slots
        kept = bits.any_slot(part)
        if not kept.any() or not classes.any():
            return
        regions = self._start.cell_region[cells[kept]]
        self._n_cells += regions.size
        check_size(self._n_cells, classes.size)
        self._region.append(regions)
        self._slots.append(part[kept])
        self._folio.append(np.zeros(regions.size, np.int64) if writer else self._start.cell_folio[cells[kept]])
        self._classes.append(np.broadcast_to(classes, (regions.size, classes.size)))
        if writer:
            self._pmd[np.ix_(classes, regions)] = False

    def start(self) -> Start:
        """Give the start of all collected cells."""
        return dataclasses.replace(
            self._start,
            class_of=self._refined.class_of,
            cell_region=np.concatenate(self._region),
            cell_slots=np.concatenate(self._slots),
            cell_folio=np.concatenate(self._folio),
            cell_classes=np.concatenate(self._classes),
            swapped=of_classes(self._start.swapped, self._refined),
            pmd=self._pmd,
        )
