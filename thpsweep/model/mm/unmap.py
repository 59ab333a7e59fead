"""A row leaves frames that it maps, all of them (leave) or single slots (unmap), and what no row maps any more is freed."""

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Boards, Bools, Ints
from thpsweep.model.mm.slots import Events, entries_of, indices
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family
from thpsweep.model.state.folios import by_folio, folios_at, lose, map_folios
from thpsweep.model.state.mm_slots import settle
from thpsweep.units import HPAGE_PMD_NR


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


def unmap(family: Family, events: Events, entry: Ints, mapcount: Ints) -> Ints:
    """Take slots out of the entries and layers that held them; free frames whose last mapping that was, and give a row for
    each of them that was linked to a copy.

    The boards of the record (present, exclusive) are the caller's to change. Shapes: entry (n,), one an event, and
    mapcount (n,) of its frame before -> (k,).
    """
    ended = events.row[:0]
    if not entry.size:
        settle(family)
        return ended
    every = np.ones(entry.size, bool)
    layer = family.entries.layer.take(entry).astype(np.int64)
    compound = events.of(family.layers.compound, layer)
    events.clear(family.entries.slots, entry, every)
    lists = family.missing_rows(layer)
    np.add.at(family.missing.ptes.reshape(-1), lists * HPAGE_PMD_NR + events.slot, np.int32(1))
    large = family.sums(events.row, compound)
    family.gauge["compound_ptes"] -= large
    family.gauge["small_ptes"] -= family.sums(events.row, every) - large
    # No more mappings can have gone than there were events in the region.
    region = family.region_of(events.row)
    gone = np.bincount(region)
    few = bits.where(mapcount <= gone[region]) if mapcount.min() <= gone.max() else region[:0]
    unmapped = few[family.mapcounts(layer[few], events.slot[few]) == 0]
    if family.swaps:
        unmapped = unmapped[family.away_counts(layer[unmapped], events.slot[unmapped]) == 0]
    if unmapped.size:
        # Two sharers that both left a frame name it twice.
        _, first = np.unique(layer[unmapped] * HPAGE_PMD_NR + events.slot[unmapped], return_index=True)
        ended = _free(family, events, layer, compound, unmapped[first])
    if compound.any():
        some = indices(compound)
        folios = folios_at(family, layer[some], events.slot[some])
        run = bits.where(folios[1:] != folios[:-1]) + 1
        first = np.concatenate(([0], run))
        map_folios(family, folios[first], -np.diff(first, append=folios.size))
    settle(family)
    return ended


def unmap_slots(family: Family, rows: Ints, records: Ints, boards: Boards) -> Ints:
    """Unmap those of the slots that are present, in records that only one row points at; count per row the pages that
    others still map. Shapes: (n,), (n,), (n, 8) -> (n,)."""
    index, slot = bits.pairs(boards & family.records.present[records])
    events = Events(rows[index], slot)
    entry = entries_of(family, events, records[index])
    mapcount = family.mapcounts(family.entries.layer[entry].astype(np.int64), slot)
    unmap(family, events, entry, mapcount)
    family.records.present[records] &= ~boards
    family.records.exclusive[records] &= ~boards
    return np.bincount(index[mapcount > 1], minlength=rows.size)


def _free(family: Family, events: Events, layer: Ints, compound: Bools, dead: Ints) -> Ints:
    """Take distinct frames without a mapping out of their layers; give a row for each that was linked."""
    ended = _end_links(family, events, layer, dead)
    _orphan(family, events, layer, dead)
    chosen, large = np.zeros(layer.size, bool), np.zeros(layer.size, bool)
    chosen[dead] = True
    large[dead] = compound[dead]
    events.clear(family.layers.slots, layer, chosen)
    events.clear(family.layers.compound, layer, large)
    if family.holds_zeroes:
        events.clear(family.layers.zeroed, layer, chosen & events.of(family.layers.zeroed, layer))
    family.missing.ptes[family.layers.missing[layer[dead]], events.slot[dead]] = 0
    folios = folios_at(family, layer[large], events.slot[large])
    lose(family, events.row[large], folios, np.ones(folios.size, np.int64))
    small = dead[~compound[dead]]
    family.adjust("small_frames", events.row[small], np.full(small.size, -1))
    return ended


def _orphan(family: Family, events: Events, layer: Ints, dead: Ints) -> None:
    """Keep the frames that have long references."""
    if not family.pins.in_use:
        return
    held = dead[(family.layers.held[layer[dead], events.word[dead]] & events.bit[dead]) != 0]
    if held.size:
        layers, first, which = np.unique(layer[held], return_index=True, return_inverse=True)
        family.orphan(events.row[held[first]], layers, bits.from_pairs(layers.size, which, events.slot[held]))


def _end_links(family: Family, events: Events, layer: Ints, dead: Ints) -> Ints:
    """End the links of frames that lost their last mapping; give a row for each."""
    linked = dead[family.layers.link[layer[dead]] != 0]
    if linked.size:
        layers, first, which = np.unique(layer[linked], return_index=True, return_inverse=True)
        boards = bits.from_pairs(layers.size, which, events.slot[linked])
        end_links(family, events.row[linked[first]], layers, boards)
    return np.asarray(events.row[linked])


def drop_dead(family: Family, rows: Ints, layers: Ints, left: Boards) -> Ints:
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


def drop_swap_ptes(family: Family, rows: Ints, layers: Ints, boards: Boards) -> None:
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


def end_links(family: Family, rows: Ints, layers: Ints, dead: Boards) -> None:
    """End the links of old pages that lost their last mapping; a copy that only the link held goes with it.

    The caller frees the old pages. Shapes: (n,), (n,), (n, 8); layers are distinct.
    """
    copies, ended = family.layers.link[layers].astype(np.int64), bits.count(dead)
    family.adjust("isolated", rows, np.where(family.layers.isolated[layers], -ended, 0))
    lists = family.missing_rows(copies)
    family.missing.ptes[lists] += bits.expand(dead)
    drop_dead(family, rows, copies, dead)
    _, folios, lost = by_folio(family, copies, dead)
    map_folios(family, folios, -lost)
    over = bits.where(~bits.any_slot(bits.at(family.layers.slots, layers) & ~dead))
    if over.size:
        family.layers.link[layers[over]] = 0
        family.layers.reach[copies[over]] -= 1
        family.missing.ptes[lists[over]] -= bits.expand(bits.at(family.layers.slots, copies[over]))
        free_layers(family, copies[over])


def forget_slots(family: Family, rows: Ints, layers: Ints, dead: Boards) -> None:
    """Take frames without a mapping out of their layers. Shapes: (n,), (n,), (n, 8); layers are distinct."""
    index, folios, pages = by_folio(family, layers, dead & bits.at(family.layers.compound, layers))
    lose(family, rows[index], folios, pages)
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
        _, folios, pages = by_folio(family, layers, slots & compound)
        map_folios(family, folios, sign * pages)


def count_forms(family: Family, counts: Counts, event: str, replicate: int, rows: Ints) -> None:
    """Count what a fork or an exit has to go through, by the form in which it is mapped."""
    records, pmd = family.record_of[rows].astype(np.int64), family.pmd[rows]
    large = bits.count(family.compound_slots(records))
    small = bits.count(bits.at(family.records.present, records) | bits.at(family.records.zero, records)) - large
    counts.add_one(f"{event}_ptes_small", replicate, int(small.sum()))
    counts.add_one(f"{event}_ptes_compound", replicate, int(large[~pmd].sum()))
    counts.add_one(f"{event}_pmds", replicate, int(np.count_nonzero(pmd)))
    counts.add_one(f"{event}_tables", replicate, int(np.count_nonzero(~pmd)))
