"""How many processes share the memory, and in which shape."""

import abc
import dataclasses

import numpy as np

from thpsweep.errors import OptionError, ThpsweepError
from thpsweep.model.bits import Boards, Bools, Ints
from thpsweep.model.capture.start import Start
from thpsweep.units import MAX_SHARERS

MAX_MEMBERSHIPS = 1 << 28
"""Largest number of (cell, class) pairs that a shape may make: a byte each."""


@dataclasses.dataclass
class Sharing(abc.ABC):
    """Answer how many sharers (mms that map the family's memory, the root included) a scene has, and who shares what."""

    @property
    @abc.abstractmethod
    def sharers(self) -> int:
        """Largest number of living mms; a workload says how many of them live at the start of the run."""

    def check(self, n_regions: int) -> None:
        """Refuse a shape that is too large for so many regions. Raises: ThpsweepError."""
        del n_regions

    def listings(self, n_regions: int) -> int:
        """Bound the (piece of a region, class of sharers that maps it) pairs that the shape makes beyond the workload's."""
        del n_regions
        return 0

    def shape(self, start: Start) -> Start:
        """Turn memory that the workload's sharers map alike into what this shape lets each of them map."""
        return start


def check_degree(degree: object) -> None:
    """Refuse a sharing degree that is no whole number in range."""
    if isinstance(degree, bool) or not isinstance(degree, int) or not 1 <= degree <= MAX_SHARERS:
        raise OptionError("sharing.degree", degree, f"1..{MAX_SHARERS}")


@dataclasses.dataclass(frozen=True)
class Refined:
    """Classes cut by a label of each sharer, the root's first. Shapes: class_of (n_sharers,), old, label (n_classes,)."""

    class_of: Ints
    old: Ints
    label: Ints


def refine(class_of: Ints, label: Ints) -> Refined:
    """Cut each class into those of its sharers that have the same label. Shapes: (n_sharers,), (n_sharers,)."""
    width = int(label.max()) + 1
    pairs, first, inverse = np.unique(class_of * width + label, return_index=True, return_inverse=True)
    order = np.argsort(first)  # in the order of their first sharers, so that the root's class is 0
    rank = np.empty(order.size, np.int64)
    rank[order] = np.arange(order.size)
    return Refined(rank[inverse], pairs[order] // width, pairs[order] % width)


def of_classes(swapped: Boards, refined: Refined) -> Boards:
    """Give each refined class what its old one has swapped out; nothing at all takes no memory."""
    if not swapped.any():
        return np.broadcast_to(np.uint64(0), (refined.old.size, *swapped.shape[1:]))
    return swapped[refined.old]


def check_size(n_cells: int, n_classes: int) -> None:
    """Refuse a shape whose memberships would not fit. Raises: ThpsweepError."""
    if n_cells * n_classes > MAX_MEMBERSHIPS:
        raise ThpsweepError(
            f"the shape would take {n_cells} cells x {n_classes} classes: expected {MAX_MEMBERSHIPS} pairs; "
            f"lower sharing.degree or the regions"
        )


def members(cell_classes: Bools, refined: Refined) -> Bools:
    """Give each refined class the cells of its old one. Shapes: (n_cells, n_old) -> (n_cells, n_classes)."""
    check_size(cell_classes.shape[0], refined.old.size)
    return cell_classes[:, refined.old]
