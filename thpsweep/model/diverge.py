"""Give rows records of their own when they stop mapping what the others map."""

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Ints
from thpsweep.model.family import Family
from thpsweep.model.processes import free_layers


def diverge(family: Family, rows: Ints) -> Ints:
    """Give each of the distinct rows a record of its own, copying the list where it is shared. Shapes: (n,) -> (n,)."""
    records = family.record_of[rows].astype(np.int64)
    shared = np.flatnonzero(family.records.rows[records] != 1)
    if not shared.size:
        return records
    old = records[shared]
    new = family.records.take(old.size)
    table = family.records
    table.rows[new] = 1
    table.present[new], table.swapped[new] = table.present[old], table.swapped[old]
    for index, entry in family.walk(old):
        layer, slots = family.entries.layer[entry].astype(np.int64), family.entries.slots[entry]
        used = bits.any_slot(slots)
        family.list_layer(new[index[used]], layer[used], slots[used])
        _drop_empty(family, layer[~used])
    np.subtract.at(table.rows, old[old != 0], 1)
    family.record_of[rows[shared]] = new
    records[shared] = new
    _drop_records(family, np.unique(old[old != 0]))
    return records


def _drop_empty(family: Family, layers: Ints) -> None:
    """Stop listing layers of which a row maps nothing any more: lists stay as short as there are generations."""
    if not layers.size:
        return
    np.subtract.at(family.layers.reach, layers, 1)
    which, slot = bits.pairs(family.layers.slots[layers])
    np.subtract.at(family.missing.ptes, (family.layers.missing[layers[which]], slot), 1)
    free_layers(family, np.unique(layers))


def _drop_records(family: Family, records: Ints) -> None:
    """Free the records that no row points at any more; their rows moved to copies, so reach stays as it is."""
    gone = records[family.records.rows[records] == 0]
    for _, entry in family.walk(gone):
        family.entries.give(entry)
    family.records.give(gone)
