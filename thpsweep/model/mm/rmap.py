"""Reverse mapping: which ptes map the frames that a row maps, and which VMAs a walk over them visits."""

import dataclasses

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Boards, Ints
from thpsweep.model.state.family import Family


@dataclasses.dataclass
class Sources:
    """The frames that scanned rows map, all order-0, and what their mappings add up to.

    Shapes: slots (n, 8), pages (n,), ptes (n,) = sum of mapcounts, visits (n,) = VMAs that one walk a page visits,
    widest (n,) = VMAs that the widest walk visits.
    """

    rows: Ints
    slots: Boards
    pages: Ints
    ptes: Ints
    visits: Ints
    widest: Ints


def sources(family: Family, rows: Ints, within: Boards | None = None) -> Sources:
    """Sum up the frames that the rows map (only the slots `within`, where given).

    A walk visits every VMA in the tree of the frame's anon_vma: the one whose fault made it, and all its descendants'.
    Source: mm/rmap.c rmap_walk_anon(), anon_vma_fork() (v6.18).
    """
    records = family.record_of[rows].astype(np.int64)
    slots = bits.at(family.records.present, records)
    slots = slots if within is None else slots & within
    ptes, visits, widest = (np.zeros(rows.size, np.int64) for _ in range(3))
    attached, replicate = family.anon_vmas.attached(), family.replicate_of(rows)
    for index, entry in family.walk(records):
        layer = family.entries.layer[entry].astype(np.int64)
        mine = bits.at(family.entries.slots, entry) & slots[index]
        pages = bits.count(mine)
        visited = attached[replicate[index], family.layers.anon_vma[layer]]
        ptes[index] += family.mapcount_sums(layer, mine)
        visits[index] += pages * visited
        widest[index] = np.maximum(widest[index], np.where(pages > 0, visited, 0))
    return Sources(rows, slots, bits.count(slots), ptes, visits, widest)
