"""Swap and the swap cache: who holds a swap pte for which page, so that all who do find the same page again.

A page in swap keeps its place (layer, slot). Its holders' entries name it in `swapped`, `away` of its layer counts them. It
is resident too, in the swap cache, from the first time that one of several holders reads it until the last of them has
read it or given it up; until then, who maps it alone copies it on a write, since the swap cache refers to it, too. A page
with one holder comes back without the swap cache, as from zram.
Source: mm/memory.c do_swap_page(), should_try_to_free_swap(), wp_can_reuse_anon_folio() (v6.18).
"""

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Boards, Bools, Ints
from thpsweep.model.mm.cow import diverge, part_with
from thpsweep.model.mm.slots import Events, entries_of
from thpsweep.model.mm.unmap import forget_slots
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family
from thpsweep.units import HPAGE_PMD_NR


def begin(family: Family) -> None:
    """Make room for swap ptes, of which most families have none."""
    family.entries.wake("swapped")
    family.layers.wake("exclusive")
    family.swaps = True


def hold_alone(family: Family, records: Ints, n_rows: Ints, boards: Boards, zeroed: Boards, anon_vmas: Ints) -> None:
    """Let distinct records hold swap ptes for pages that no other record holds, some of zeroes.

    Shapes: (n,), (n,) rows that point at each, (n, 8), (n, 8), (n,).
    """
    some = bits.where(bits.any_slot(boards))
    if not some.size:
        return
    begin(family)
    records, n_rows, boards = records[some], n_rows[some], boards[some]
    none = np.zeros(some.size, np.int64)
    empty = bits.empty(some.size)
    layers = family.new_layers(empty, n_rows, none, empty, n_rows > 1, anon_vmas[some])
    entries = family.list_layer(records, layers, bits.empty(some.size))  # first: it may move the table
    family.entries.swapped[entries] = boards
    lists = family.away_rows(layers)  # first: it may move the table
    family.missing.ptes[lists] += bits.expand(boards) * n_rows[:, None].astype(np.int32)
    family.records.swapped[records] |= boards
    if bits.any_slot(zeroed[some] & boards).any():
        family.layers.zeroed[layers] = zeroed[some] & boards


def evict(family: Family, rows: Ints, layers: Ints, boards: Boards) -> None:
    """Take pages that are no longer mapped out of memory; swap ptes go on leading to them.

    Shapes: (n,), (n,) distinct, (n, 8).
    """
    zeroed = family.layers.zeroed[layers] & boards if family.holds_zeroes else None
    family.adjust("small_frames", rows, -bits.count(boards))
    forget_slots(family, rows, layers, boards)
    if zeroed is not None:
        family.layers.zeroed[layers] |= zeroed


def cached_alone(family: Family) -> int:
    """Count the pages that are in memory for the swap cache alone: they are not mapped."""
    layers = family.layers.live()
    layers = layers[family.layers.away[layers] != 0]
    return int(bits.count(_unmapped(family, layers)).sum())


def _unmapped(family: Family, layers: Ints) -> Boards:
    """Give the slots of layers whose page is in the swap cache and not mapped. Shapes: (n,) -> (n, 8)."""
    missing = family.missing.ptes[family.layers.missing[layers]]
    unmapped = bits.pack(missing >= family.layers.reach[layers][:, None])
    return np.asarray(family.layers.slots[layers] & family.away_slots(layers) & unmapped)


def drop_cached(family: Family, rows: Ints) -> None:
    """Let reclaim take from the swap cache what is unmapped in the rows' regions and has no other reference: it is clean."""
    if not family.swaps:
        return
    regions = np.unique(family.region_of(rows))
    block = (regions[:, None] * family.n_sharers + np.arange(family.n_sharers)).reshape(-1)
    records, first = np.unique(family.record_of[block].astype(np.int64), return_index=True)
    layers, where = [], []
    for index, entry in family.walk(records):
        layer = family.entries.layer[entry].astype(np.int64)
        away = bits.where(family.layers.away[layer])
        layers.append(layer[away])
        where.append(block[first[index[away]]])
    layer, at = np.unique(np.concatenate([*layers, np.zeros(0, np.int64)]), return_index=True)
    row = np.concatenate([*where, np.zeros(0, np.int64)])[at].astype(np.int64)
    idle = _unmapped(family, layer) & ~family.layers.held[layer]
    some = bits.where(bits.any_slot(idle))
    evict(family, row[some], layer[some], idle[some])


def read_in(family: Family, counts: Counts, rows: Ints, boards: Boards) -> Ints:
    """Let distinct rows read what they have in swap; give per row the pages that had to be read for it.

    Rows that share a record read the same. A page that only one row holds comes back exclusive, unless it was shared by a
    fork and is found in the swap cache, which refers to it still; others are shared again.
    Shapes: (n,), (n, 8) on the rows' swapped boards -> (n,).
    """
    some = bits.where(bits.any_slot(boards))
    read = np.zeros(rows.size, np.int64)
    if not some.size:
        return read
    rows, boards = rows[some], boards[some]
    records, first, weight = np.unique(part_with(family, rows), return_index=True, return_counts=True)
    entries, slots, owners = [], [], []
    for index, entry in list(family.walk(records)):
        hit = family.entries.swapped[entry] & boards[first[index]]
        family.entries.swapped[entry] &= ~hit
        family.entries.slots[entry] |= hit
        which, slot = bits.pairs(hit)
        entries.append(entry[which])
        slots.append(slot)
        owners.append(index[which])
    entry, slot, owner = (np.concatenate(part) for part in (entries, slots, owners))
    layer, row, n_rows = family.entries.layer[entry].astype(np.int64), rows[first[owner]], weight[owner]
    came = _come_back(family, layer, slot, row, np.ones(layer.size, bool))
    np.add.at(read, some[first[owner[came]]], 1)
    replicates = family.replicate_of(row)
    counts.tally("swap_ins", replicates[came])
    counts.add("swap_cache_faults", replicates, n_rows)
    counts.add("swap_cache_faults", replicates[came], -1)
    np.subtract.at(family.missing.ptes, (family.layers.missing[layer], slot), n_rows.astype(np.int32))
    np.subtract.at(family.missing.ptes, (family.layers.away[layer], slot), n_rows.astype(np.int32))
    family.adjust("small_ptes", row, n_rows)
    fresh = Events(layer, slot).of(family.layers.exclusive, layer)
    fresh[came] = True
    alone = bits.where(fresh & (family.mapcounts(layer, slot) == 1) & (family.away_counts(layer, slot) == 0))
    table = family.records
    table.exclusive[records] |= bits.from_pairs(records.size, owner[alone], slot[alone])
    table.present[records] |= boards[first]
    table.swapped[records] &= ~boards[first]
    return read


def read_back(family: Family, counts: Counts, rows: Ints, boards: Boards) -> None:
    """Let rows read slots that they have in swap, each its own: whoever shared a record parts. Shapes: (n,), (n, 8)."""
    diverge(family, rows)
    read_in(family, counts, rows, boards)


def take_back(family: Family, counts: Counts, events: Events) -> None:
    """Let rows that write get back what waits for them alone in the swap cache, as they had it: no copy is made."""
    swapped = events.of(family.records.swapped, family.record_of[events.row].astype(np.int64))
    if not swapped.any():
        return
    mine = events.where(swapped)
    entry = entries_of(family, mine, family.record_of[mine.row].astype(np.int64), family.entries.swapped)
    layer = family.entries.layer[entry].astype(np.int64)
    mine = mine.where(_resident(family, layer, mine.slot) & mine.of(family.layers.exclusive, layer))
    rows, which = np.unique(mine.row, return_inverse=True)
    read_in(family, counts, rows, bits.from_pairs(rows.size, which, mine.slot))


def _come_back(family: Family, layer: Ints, slot: Ints, row: Ints, wanted: Bools) -> Ints:
    """Make pages resident that are in swap alone, not mapped yet; give the first index of each.

    Shapes: each (n,) -> (k,).
    """
    out = bits.where(wanted & ~_resident(family, layer, slot))
    _, at = np.unique(layer[out] * HPAGE_PMD_NR + slot[out], return_index=True)
    came = out[at]
    if came.size:
        layers, which = np.unique(layer[came], return_inverse=True)
        family.layers.slots[layers] |= bits.from_pairs(layers.size, which, slot[came])
        lists = family.missing_rows(layer[came])  # first: it may move the table
        family.missing.ptes[lists, slot[came]] = family.layers.reach[layer[came]]
        family.adjust("small_frames", row[came], np.ones(came.size, np.int64))
    return np.sort(came)


def _resident(family: Family, layer: Ints, slot: Ints) -> Bools:
    word = family.layers.slots[layer, slot >> 6]
    return np.asarray(((word >> (slot & 63).astype(np.uint64)) & np.uint64(1)) != 0)


def written(family: Family, counts: Counts, events: Events, entry: Ints) -> None:
    """Let rows write what they have in swap, judged by the holders at the start; their new pages are the caller's to map.

    The last holder of a page that is not mapped takes the page itself; any other that writes copies it in the swap cache.
    Shapes: entry (n,), one an event, that names the slot as swapped.
    """
    layer, slot = family.entries.layer[entry].astype(np.int64), events.slot
    resident, holders = _resident(family, layer, slot), family.away_counts(layer, slot)
    mapped = np.where(resident, family.mapcounts(layer, slot), 0)
    copied = (holders > 1) | (mapped > 0)
    replicates = family.replicate_of(events.row)
    keys, first, which = np.unique(layer * HPAGE_PMD_NR + slot, return_index=True, return_inverse=True)
    read = np.zeros(slot.size, bool)
    read[first] = ~resident[first]
    counts.tally("swap_ins", replicates[read])
    counts.tally("swap_cache_faults", replicates[~read])
    counts.tally("swap_copies", replicates[copied])
    events.clear(family.entries.swapped, entry, np.ones(slot.size, bool))
    np.subtract.at(family.missing.ptes, (family.layers.away[layer], slot), np.int32(1))
    left = holders[first] - np.bincount(which, minlength=keys.size)
    stays = np.zeros(slot.size, bool)
    stays[first] = left > 0
    _come_back(family, layer, slot, events.row, stays)
    over = first[(left == 0) & (mapped[first] == 0)]
    layers, at, which = np.unique(layer[over], return_index=True, return_inverse=True)
    gone = bits.from_pairs(layers.size, which, slot[over])
    family.adjust("small_frames", events.row[over[at]], -bits.count(gone & family.layers.slots[layers]))
    family.orphan(events.row[over[at]], layers, gone & family.layers.slots[layers])
    forget_slots(family, events.row[over[at]], layers, gone)


def shared_in_swap(family: Family, records: Ints) -> Boards:
    """Give the slots of each record whose page it, or a sharer of the page, has in swap. Shapes: (n,) -> (n, 8)."""
    boards = bits.empty(records.size)
    for index, entry in family.walk(records) if family.swaps else ():
        boards[index] |= family.entries.swapped[entry]
        boards[index] |= family.entries.slots[entry] & family.away_slots(family.entries.layer[entry].astype(np.int64))
    return boards


def bring_back(family: Family, counts: Counts, rows: Ints, within: Boards) -> None:
    """Let every sharer read what it has in swap of the pages that the rows map or have in swap, in slots `within`.

    Regions are distinct. Shapes: (n,), (n, 8).
    """
    if not family.swaps or not rows.size:
        return
    at, wanted = np.zeros(family.layers.reach.size, np.int64), [bits.empty(1)]
    for index, entry in family.walk(family.record_of[rows].astype(np.int64)):
        layer = family.entries.layer[entry].astype(np.int64)
        at[layer] = np.arange(layer.size) + sum(map(len, wanted))
        away = family.entries.swapped[entry] | (family.entries.slots[entry] & family.away_slots(layer))
        wanted.append(away & within[index])
    wanted_of = np.concatenate(wanted)
    block = (family.region_of(rows)[:, None] * family.n_sharers + np.arange(family.n_sharers)).reshape(-1)
    boards = bits.empty(block.size)
    for index, entry in family.walk(family.record_of[block].astype(np.int64)):
        boards[index] |= family.entries.swapped[entry] & wanted_of[at[family.entries.layer[entry]]]
    some = bits.where(bits.any_slot(boards))
    read_in(family, counts, block[some], boards[some])
