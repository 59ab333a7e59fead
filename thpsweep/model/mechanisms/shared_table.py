"""Sharers that share page tables too: one pte stands for all of them until one of them writes."""

import dataclasses
from typing import ClassVar

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Boards, Ints
from thpsweep.model.mechanisms.inplace import Inplace
from thpsweep.model.mm.folding import one_a_record, relatives
from thpsweep.model.mm.rmap import Sources
from thpsweep.model.state.family import Family
from thpsweep.units import HPAGE_PMD_ORDER


@dataclasses.dataclass
class SharedTable(Inplace):
    """Collapse in place where forks share pte tables: the entries of each table are changed once, whoever uses it.

    The kernel has no such tables; copy-on-write page tables were proposed in 2023 (20230414142341.354556-1), and
    On-demand-fork, doi:10.1145/3447786.3456258. A fork shares every table of the parent; the first write of a sharer
    copies the table, 512 ptes and a flush. That holds without any collapse too, so the baseline of this mechanism is
    the same family with shared tables: fork, exit and first writes are priced alike on both sides.
    Locks, flush and failure are those of `inplace`; a table may be changed under any of its users' pte locks.
    Rows share a table exactly where they share a record.
    """

    shares_tables: ClassVar[bool] = True
    least_order: ClassVar[int] = HPAGE_PMD_ORDER

    def _entries(self, family: Family, source: Sources) -> Ints:
        """Count the entries of distinct tables that map the sources. Shapes: -> (n,)."""
        entries = bits.count(source.slots)
        layers, boards = _frames(family, source.rows, source.slots)
        others = relatives(family, source.rows)
        chosen = one_a_record(family.record_of[others.row].astype(np.int64))
        records, region = family.record_of[others.row[chosen]].astype(np.int64), others.index[chosen]
        for index, entry in family.walk(records):
            layer = family.entries.layer[entry]
            place = np.minimum(np.searchsorted(layers, layer), layers.size - 1)
            same = layers[place] == layer
            hit = bits.count(bits.at(family.entries.slots, entry[same]) & boards[place[same]])
            np.add.at(entries, region[index[same]], hit)
        return entries


def _frames(family: Family, rows: Ints, slots: Boards) -> tuple[Ints, Boards]:
    """List the layers that the rows map, ascending, with the slots that count of each. Shapes: -> (k,), (k, 8)."""
    layers, boards = [np.zeros(1, np.int64)], [bits.empty(1)]
    for index, entry in family.walk(family.record_of[rows].astype(np.int64)):
        layers.append(family.entries.layer[entry].astype(np.int64))
        boards.append(bits.at(family.entries.slots, entry) & slots[index])
    order = np.argsort(np.concatenate(layers), kind="stable")
    return np.concatenate(layers)[order], np.concatenate(boards)[order]
