"""A row leaves the frames that it maps, and what no row maps any more is freed."""

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Ints
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family
from thpsweep.model.state.mm_slots import settle


def leave(family: Family, rows: Ints) -> Ints:
    """Unmap everything that the rows map; give per row the slots whose frame others still map.

    The regions of the rows are distinct. Shapes: (n,) -> (n,).
    """
    records = family.record_of[rows].astype(np.int64)
    still_mapped = np.zeros(rows.size, np.int64)
    ended = family.records.rows[records] == 1
    for index, entry in family.walk(records):
        layer = family.entries.layer[entry].astype(np.int64)
        shift_mappings(family, rows[index], layer, entry, -1)
        family.layers.reach[layer] -= 1
        shift_missing(family, layer, entry, -1)
        still_mapped[index] += drop_dead(family, rows[index], layer, family.entries.slots[entry])
        if family.swaps:
            drop_swap_ptes(family, rows[index], layer, family.entries.swapped[entry])
        family.entries.give(entry[ended[index]])
        free_layers(family, layer)
    family.records.rows[records] -= 1
    family.records.give(records[ended])
    family.adjust("pmds", rows, -family.pmd[rows].astype(np.int64))
    family.record_of[rows], family.pmd[rows] = 0, False
    settle(family)
    return still_mapped


def drop_dead(family: Family, rows: Ints, layers: Ints, left: bits.Boards) -> Ints:
    """Free the frames among `left` (slots just unmapped) that no row maps any more; count those that live on.

    Shapes: (n,), (n,), (n, 8) -> (n,); layers are distinct.
    """
    alive = left & bits.at(family.layers.slots, layers)
    reach = family.layers.reach[layers]
    partial = bits.where(family.layers.missing[layers])
    if partial.size:
        missing = family.missing.ptes[family.layers.missing[layers[partial]]]
        alive[partial] &= bits.pack(missing < reach[partial, None])
    alive[reach == 0] = 0
    dead = left & family.layers.slots[layers] & ~alive
    if family.swaps:
        dead &= ~family.away_slots(layers)  # they stay in the swap cache
    if not dead.any():
        return bits.count(alive)
    linked = bits.where((family.layers.link[layers] != 0) & bits.any_slot(dead))
    if linked.size:
        end_links(family, rows[linked], layers[linked], dead[linked])
    family.adjust("small_frames", rows, -bits.count(dead & ~bits.at(family.layers.compound, layers)))
    family.orphan(rows, layers, dead)
    forget_slots(family, rows, layers, dead)
    return bits.count(alive)


def drop_swap_ptes(family: Family, rows: Ints, layers: Ints, boards: bits.Boards) -> None:
    """Take one swap pte of each slot from layers; what no row holds or maps any more is freed. The layers are distinct.

    Shapes: (n,), (n,), (n, 8).
    """
    some = bits.where(bits.any_slot(boards))
    if not some.size:
        return
    rows, layers, boards = rows[some], layers[some], boards[some]
    family.missing.ptes[family.away_rows(layers)] -= bits.expand(boards)
    drop_dead(family, rows, layers, boards)
    if family.holds_zeroes:
        family.layers.zeroed[layers] &= ~boards | family.layers.slots[layers] | family.away_slots(layers)


def end_links(family: Family, rows: Ints, layers: Ints, dead: bits.Boards) -> None:
    """End the links of old pages that lost their last mapping; a copy that only the link held goes with it.

    The caller frees the old pages. Shapes: (n,), (n,), (n, 8); layers are distinct.
    """
    copies, ended = family.layers.link[layers].astype(np.int64), bits.count(dead)
    family.adjust("isolated", rows, np.where(family.layers.isolated[layers], -ended, 0))
    lists = family.missing_rows(copies)
    family.missing.ptes[lists] += bits.expand(dead)
    drop_dead(family, rows, copies, dead)
    _, folios, lost = family.by_folio(copies, dead)
    family.map_folios(folios, -lost)
    over = bits.where(~bits.any_slot(bits.at(family.layers.slots, layers) & ~dead))
    if over.size:
        family.layers.link[layers[over]] = 0
        family.layers.reach[copies[over]] -= 1
        family.missing.ptes[lists[over]] -= bits.expand(bits.at(family.layers.slots, copies[over]))
        free_layers(family, copies[over])


def forget_slots(family: Family, rows: Ints, layers: Ints, dead: bits.Boards) -> None:
    """Take frames without a mapping out of their layers. Shapes: (n,), (n,), (n, 8); layers are distinct."""
    index, folios, pages = family.by_folio(layers, dead & bits.at(family.layers.compound, layers))
    family.lose(rows[index], folios, pages)
    family.layers.slots[layers] &= ~dead
    family.layers.compound[layers] &= ~dead
    if family.holds_zeroes:
        family.layers.zeroed[layers] &= ~dead
    listed = bits.where((family.layers.missing[layers] != 0) & bits.any_slot(dead))
    if listed.size:
        lists = family.layers.missing[layers[listed]]
        family.missing.ptes[lists] *= 1 - bits.expand(dead[listed])


def free_layers(family: Family, layers: Ints) -> None:
    """Free those of the layers that no row lists. Layers are distinct."""
    layers = layers[family.layers.reach[layers] == 0]
    for listed in (family.layers.missing[layers], family.layers.away[layers]):
        family.missing.give(listed[listed != 0].astype(np.int64))
    family.layers.give(layers)


def shift_missing(family: Family, layers: Ints, entries: Ints, sign: int) -> None:
    """Account for one row more (or less) that lists the layers but maps only its entry's slots. Layers are distinct."""
    lacking = bits.at(family.layers.slots, layers) & ~bits.at(family.entries.slots, entries)
    some = bits.where(bits.any_slot(lacking))
    if some.size:
        rows = family.missing_rows(layers[some])
        family.missing.ptes[rows] += bits.expand(lacking[some]).astype(np.int32) * np.int32(sign)


def shift_mappings(family: Family, rows: Ints, layers: Ints, entries: Ints, sign: int) -> None:
    """Account for one row more (or less) that maps its entry's slots: totals of ptes, mappings of folios."""
    slots, compound = bits.at(family.entries.slots, entries), bits.at(family.layers.compound, layers)
    large = bits.count(slots & compound)
    by_pte = np.where(family.pmd[rows], 0, large)
    family.adjust("small_ptes", rows, sign * bits.count(slots & ~compound))
    family.adjust("compound_ptes", rows, sign * by_pte)
    if large.any():
        _, folios, pages = family.by_folio(layers, slots & compound)
        family.map_folios(folios, sign * pages)


def count_forms(family: Family, counts: Counts, event: str, replicate: int, rows: Ints) -> None:
    """Count what a fork or an exit has to go through, by the form in which it is mapped."""
    records, pmd = family.record_of[rows].astype(np.int64), family.pmd[rows]
    large = bits.count(family.compound_slots(records))
    small = bits.count(bits.at(family.records.present, records) | bits.at(family.records.zero, records)) - large
    counts.add_one(f"{event}_ptes_small", replicate, int(small.sum()))
    counts.add_one(f"{event}_ptes_compound", replicate, int(large[~pmd].sum()))
    counts.add_one(f"{event}_pmds", replicate, int(np.count_nonzero(pmd)))
    counts.add_one(f"{event}_tables", replicate, int(np.count_nonzero(~pmd)))
