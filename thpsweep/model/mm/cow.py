"""Give rows records of their own when they stop mapping what the others map."""

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Ints
from thpsweep.model.mm.unmap import free_layers
from thpsweep.model.state.family import Family


def diverge(family: Family, rows: Ints) -> Ints:
    """Give each of the distinct rows a record of its own, copying the list where it is shared. Shapes: (n,) -> (n,)."""
    records = family.record_of[rows].astype(np.int64)
    shared = bits.where(family.records.rows[records] != 1)
    if shared.size:
        old = records[shared]
        records[shared] = _copies(family, old, np.ones(old.size, np.int64))
        family.record_of[rows[shared]] = records[shared]
        _drop_records(family, np.unique(old[old != 0]))
    return records


def part_with(family: Family, rows: Ints) -> Ints:
    """Give distinct rows records that no other row shares; those that shared one go on sharing. Shapes: (n,) -> (n,)."""
    every = family.record_of[rows].astype(np.int64)
    records, which, leaving = np.unique(every, return_inverse=True, return_counts=True)
    shared = bits.where(family.records.rows[records] != leaving)
    if shared.size:
        records[shared] = _copies(family, records[shared], leaving[shared].astype(np.int64))
        family.record_of[rows] = records[which]
    return np.asarray(records[which])


def _copies(family: Family, old: Ints, n_rows: Ints) -> Ints:
    """Copy records for so many rows each, which leave the old ones. Shapes: (n,), (n,) -> (n,)."""
    new = family.records.take(old.size)
    table = family.records
    table.rows[new] = n_rows
    for boards in (table.present, table.swapped, table.zero):
        bits.put(boards, new, bits.at(boards, old))
    for index, entry in family.walk(old):
        layer, slots = family.entries.layer[entry].astype(np.int64), family.entries.slots[entry]
        used = bits.any_slot(slots | family.entries.swapped[entry]) if family.swaps else bits.any_slot(slots)
        listed = family.list_layer(new[index[used]], layer[used], slots[used])
        if family.swaps:
            family.entries.swapped[listed] = family.entries.swapped[entry[used]]
        _drop_empty(family, layer[~used], n_rows[index[~used]])
    np.subtract.at(table.rows, old[old != 0], n_rows[old != 0].astype(np.int32))
    return new


def _drop_empty(family: Family, layers: Ints, n_rows: Ints) -> None:
    """Stop listing layers of which rows map nothing any more: lists stay as short as there are generations."""
    if not layers.size:
        return
    n_rows = n_rows.astype(np.int32)
    np.subtract.at(family.layers.reach, layers, n_rows)
    which, slot = bits.pairs(bits.at(family.layers.slots, layers))
    np.subtract.at(family.missing.ptes, (family.layers.missing[layers[which]], slot), n_rows[which])
    free_layers(family, np.unique(layers))


def _drop_records(family: Family, records: Ints) -> None:
    """Free the records that no row points at any more; their rows moved to copies, so reach stays as it is."""
    gone = records[family.records.rows[records] == 0]
    for _, entry in family.walk(gone):
        family.entries.give(entry)
    family.records.give(gone)
