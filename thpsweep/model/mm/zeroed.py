"""Pages that hold zeroes: what a collapse or a huge fault cleared and no process wrote since. A split gives them back.

Source: mm/migrate.c try_to_map_unused_to_zeropage(), mm/huge_memory.c thp_underused() (v6.18).
"""

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Boards, Ints
from thpsweep.model.mm.slots import Events, entries_of
from thpsweep.model.state.family import Family
from thpsweep.units import HPAGE_PMD_NR

NEVER_UNDERUSED = HPAGE_PMD_NR - 1
"""max_ptes_none, as it is by default, at which no folio counts as underused."""


def mark(family: Family, layers: Ints, boards: Boards) -> None:
    """Note that slots of distinct layers hold zeroes. Shapes: (n,), (n, 8)."""
    if boards.any():
        family.layers.wake("zeroed")
        family.holds_zeroes = True
        family.layers.zeroed[layers] |= boards


def mark_mapped(family: Family, rows: Ints, boards: Boards) -> None:
    """Note that what distinct rows map in slots, each in a record and a layer of its own, holds zeroes."""
    index, slot = bits.pairs(boards)
    if index.size:
        events = Events(rows[index], slot)
        entry = entries_of(family, events, family.record_of[events.row].astype(np.int64))
        layer = family.entries.layer[entry].astype(np.int64)
        layers, which = np.unique(layer, return_inverse=True)
        mark(family, layers, bits.from_pairs(layers.size, which, slot))


def zeroed_slots(family: Family, records: Ints) -> Boards:
    """Give the slots of each record whose page holds zeroes, present or in swap. Shapes: (n,) -> (n, 8)."""
    boards = bits.empty(records.size)
    for index, entry in family.walk(records) if family.holds_zeroes else ():
        slots = family.entries.slots[entry] | (family.entries.swapped[entry] if family.swaps else np.uint64(0))
        boards[index] |= slots & family.layers.zeroed[family.entries.layer[entry]]
    return boards


def zeroes_of_copy(family: Family, records: Ints) -> Boards:
    """Give the slots in which a copy of what each record maps, or has in swap, holds zeroes. Shapes: (n,) -> (n, 8)."""
    filled = bits.at(family.records.present, records) | bits.at(family.records.swapped, records)
    return np.asarray(~filled | zeroed_slots(family, records))


def wrote(family: Family, keys: Ints) -> None:
    """Note that pages have been written, once the faults are over. Shapes: keys (n,) = row * 512 + slot, ascending."""
    if not family.holds_zeroes:
        return
    events = Events(keys // HPAGE_PMD_NR, keys % HPAGE_PMD_NR)
    entry = entries_of(family, events, family.record_of[events.row].astype(np.int64))
    layer = family.entries.layer[entry].astype(np.int64)
    # Whoever wrote a page maps it alone by now: no page is named twice.
    events.clear(family.layers.zeroed, layer, events.of(family.layers.zeroed, layer))


def underused(family: Family, folios: Ints, max_ptes_none: int) -> Ints:
    """Choose those with more than max_ptes_none pages of zeroes, of PMD-order folios without dead pages. Shapes: (n,)."""
    if max_ptes_none >= NEVER_UNDERUSED or not folios.size:
        return folios[:0]
    layers = family.layers.live()
    layers = layers[np.isin(family.layers.folio[layers], folios)]
    compound = family.layers.compound[layers]
    filled = bits.count(compound & ~family.layers.zeroed[layers] if family.holds_zeroes else compound)
    at = np.searchsorted(folios, family.layers.folio[layers])
    used = np.bincount(at, weights=filled, minlength=folios.size).astype(np.int64)
    return np.asarray(folios[HPAGE_PMD_NR - used > max_ptes_none])
