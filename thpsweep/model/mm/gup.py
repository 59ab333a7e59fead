"""Long references on page frames: taken by gup, kept to their end, whatever becomes of the mapping that they came through.

FOLL_PIN (registered buffers, RDMA, VFIO) never sits on a shared anon page: the pinner gets a private copy first, and a fork
copies what is pinned for the child. FOLL_GET (vmsplice) takes the page as it is, shared or not, and so blocks everybody who
maps it. Either keeps its frame alive without a mapping, refuses a collapse (PAGE_COUNT) and swap-out, and makes a write
through a page that is not exclusive copy instead of reuse.
Source: mm/gup.c gup_must_unshare(), include/linux/mm.h folio_needs_cow_for_dma(), mm/memory.c wp_can_reuse_anon_folio(),
mm/huge_memory.c do_huge_pmd_wp_page() (v6.18).
"""

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Boards, Bools, Ints
from thpsweep.model.mm.cow import diverge
from thpsweep.model.mm.fault import write
from thpsweep.model.mm.slots import Events, entries_of
from thpsweep.model.mm.swap import read_in
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family
from thpsweep.model.state.folios import bury, folio_boards, folios_at
from thpsweep.units import BOARD_WORDS, HPAGE_PMD_NR

UNTIL_RELEASED = np.iinfo(np.int32).max
"""An end that no tick reaches."""


def pin(family: Family, counts: Counts, keys: Ints, until: Ints) -> Ints:
    """Take FOLL_PIN references through rows: a fault for writing where a page is not exclusive, then the reference.

    Shapes: keys (n,) = row * 512 + slot, ascending and distinct, until (n,) ticks -> (k,) pins of the living.
    """
    alive = _alive(family, keys)
    keys, until = keys[alive], until[alive]
    write(family, counts, keys)
    return _hold(family, keys, until, True)


def reference(family: Family, counts: Counts, keys: Ints, until: Ints) -> Ints:
    """Take FOLL_GET references through rows; a swapped page is read first, an empty slot gives the zero page: nothing.

    Shapes: keys (n,) = row * 512 + slot, ascending and distinct, until (n,) ticks -> (k,) pins of the living.
    """
    events, table = Events(keys // HPAGE_PMD_NR, keys % HPAGE_PMD_NR), family.records
    swapped = _alive(family, keys) & events.of(table.swapped, family.record_of[events.row].astype(np.int64))
    rows, which = np.unique(events.row[swapped], return_inverse=True)
    diverge(family, rows)  # those that share a record may read different slots of it
    read_in(family, counts, rows, bits.from_pairs(rows.size, which, events.slot[swapped]))
    kept = _alive(family, keys) & events.of(table.present, family.record_of[events.row].astype(np.int64))
    return _hold(family, keys[kept], until[kept], False)


def living(family: Family, keys: Ints) -> Ints:
    """Keep the keys of rows whose sharer lives. Shapes: (n,) -> (k,)."""
    return np.asarray(keys[_alive(family, keys)])


def _alive(family: Family, keys: Ints) -> Bools:
    rows = keys // HPAGE_PMD_NR
    return np.asarray(family.alive[family.replicate_of(rows), rows % family.n_sharers])


def expire(family: Family, tick: int) -> None:
    """Drop the references that end with this tick."""
    pins = family.pins.live()
    release(family, pins[family.pins.until[pins] <= tick])


def let_go(family: Family, rows: Ints) -> None:
    """Drop the FOLL_PINs of processes that exit; what vmsplice() took belongs to a pipe, and stays."""
    if family.pins.in_use:
        pins = family.pins.live()
        release(family, pins[family.pins.is_pin[pins] & np.isin(family.pins.row[pins], rows)])


def release(family: Family, pins: Ints) -> None:
    """Drop references; what is neither mapped nor referred to any more is freed. Shapes: (n,), distinct."""
    if not pins.size:
        return
    table = family.pins
    layer, folio, row = (column[pins].astype(np.int64) for column in (table.layer, table.folio, table.row))
    slot, is_pin, last = table.slot[pins].astype(np.int64), table.is_pin[pins], _last(family, pins)
    table.give(pins)
    on_layer = last & (layer != 0)
    Events(row, slot).clear(family.layers.held, layer, on_layer)
    orphans = row[last & (layer == 0) & (folio == 0)]
    family.adjust("orphans", orphans, np.full(orphans.size, -1))
    large = folio != 0
    np.subtract.at(family.folios.held, folio[large], 1)
    np.subtract.at(family.folios.pinned, folio[large & is_pin], 1)
    bury(family, np.unique(folio[large]))


def _last(family: Family, pins: Ints) -> Bools:
    """Tell which of the pins stand for the last references on their frames, one a frame. Shapes: (n,) -> (n,)."""
    table = family.pins
    frame, every = table.frame[pins], table.live()
    staying = every[~np.isin(every, pins)]
    last = np.zeros(pins.size, bool)
    last[np.unique(frame, return_index=True)[1]] = True
    return last & ~np.isin(frame, table.frame[staying])


def held_slots(family: Family, records: Ints, swapped: bool) -> Boards:
    """Give the slots of each record whose folio has an extra reference, by whatever page of it; `swapped`: also those that
    the record has in swap. Shapes: (n,) -> (n, 8)."""
    boards = bits.empty(records.size)
    for index, entry in family.walk(records):
        layer = family.entries.layer[entry].astype(np.int64)
        slots, compound = family.entries.slots[entry], family.layers.compound[layer]
        boards[index] |= slots & ~compound & family.layers.held[layer]
        if swapped and family.swaps:  # in the swap cache
            boards[index] |= family.entries.swapped[entry] & family.layers.held[layer]
        boards[index] |= slots & compound & folio_boards(family, layer, lambda f: family.folios.held[f] > 0)
    return boards


def kept_slots(family: Family, records: Ints) -> Boards:
    """Give the slots of each record that reclaim leaves mapped: pinned pages, and large folios with any reference.

    Shapes: (n,) -> (n, 8). Source: mm/vmscan.c shrink_folio_list(), mm/huge_memory.c can_split_folio() (v6.18).
    """
    boards = bits.empty(records.size)
    for index, entry in family.walk(records) if family.pins.in_use else ():
        layer = family.entries.layer[entry].astype(np.int64)
        slots, compound = family.entries.slots[entry], family.layers.compound[layer]
        which, slot = bits.pairs(slots & ~compound & family.layers.held[layer])
        held = pinned(family, layer[which], slot)
        boards[index] |= bits.from_pairs(index.size, which[held], slot[held])
        boards[index] |= slots & compound & folio_boards(family, layer, lambda f: family.folios.held[f] > 0)
    return boards


def pinned(family: Family, layers: Ints, slots: Ints) -> Bools:
    """Tell which frames (layer, slot) have a FOLL_PIN. Shapes: (n,), (n,) -> (n,)."""
    table, pins = family.pins, family.pins.live()
    pins = pins[table.is_pin[pins] & (table.layer[pins] != 0)]
    places = table.layer[pins].astype(np.int64) * HPAGE_PMD_NR + table.slot[pins]
    return np.isin(layers * HPAGE_PMD_NR + slots, places)


def unshareable(family: Family, rows: Ints) -> Boards:
    """Give the slots of each parent row that a fork has to copy: exclusive pages of folios that are pinned.

    Of a pinned large folio every exclusive page is copied, though the pinned one be unmapped by now.
    Shapes: (n,) distinct and ascending -> (n, 8).
    Source: include/linux/rmap.h folio_try_dup_anon_rmap_ptes() (v6.18).
    """
    boards, table = bits.empty(rows.size), family.pins
    pins = table.live()
    pins = pins[table.is_pin[pins] & (table.layer[pins] != 0)]
    pins = pins[np.isin(table.row[pins], rows)]
    large_pinned = bool((family.folios.pinned > 0).any())
    if not (pins.size or large_pinned):
        return boards
    some = np.arange(rows.size) if large_pinned else np.unique(np.searchsorted(rows, table.row[pins]))
    records = family.record_of[rows[some]].astype(np.int64)
    for position, entry in family.walk(records):
        layer = family.entries.layer[entry].astype(np.int64)
        slots, compound = family.entries.slots[entry], family.layers.compound[layer]
        boards[some[position]] |= slots & compound & folio_boards(family, layer, lambda f: family.folios.pinned[f] > 0)
        boards[some[position]] |= slots & ~compound & _pinned(family, pins, layer)
    exclusive = np.where((family.records.rows[records] == 1)[:, None], family.records.exclusive[records], np.uint64(0))
    boards[some] &= exclusive
    return boards


def _pinned(family: Family, pins: Ints, layers: Ints) -> Boards:
    """Give the slots of each layer that one of the pins is on. Shapes: (k,), (n,) -> (n, 8)."""
    if not pins.size:
        return bits.empty(layers.size)
    at = np.full(int(max(layers.max(), family.pins.layer[pins].max())) + 1, -1)
    at[layers] = np.arange(layers.size)
    where = at[family.pins.layer[pins]]
    return bits.from_pairs(layers.size, where[where >= 0], family.pins.slot[pins[where >= 0]].astype(np.int64))


def _hold(family: Family, keys: Ints, until: Ints, is_pin: bool) -> Ints:
    """Put a reference on the frame that each row maps in its slot. Shapes: (n,), (n,) -> (n,)."""
    if not keys.size:
        return np.zeros(0, np.int64)
    events, table = Events(keys // HPAGE_PMD_NR, keys % HPAGE_PMD_NR), family.pins
    entry = entries_of(family, events, family.record_of[events.row].astype(np.int64))
    layer = family.entries.layer[entry].astype(np.int64)
    frame = _frames(family, layer * HPAGE_PMD_NR + events.slot)
    folio = np.where(events.of(family.layers.compound, layer), folios_at(family, layer, events.slot), 0)
    pins = table.take(keys.size)
    table.layer[pins], table.slot[pins], table.row[pins], table.until[pins] = layer, events.slot, events.row, until
    table.frame[pins], table.folio[pins], table.is_pin[pins] = frame, folio, is_pin
    np.add.at(family.folios.held, folio[folio != 0], 1)
    np.add.at(family.folios.pinned, folio[(folio != 0) & is_pin], 1)
    held = family.layers.held.reshape(-1)
    np.bitwise_or.at(held, layer * BOARD_WORDS + events.word, events.bit)
    return pins


def _frames(family: Family, places: Ints) -> Ints:
    """Number the frames at places (layer * 512 + slot): as the pins that are there already do, else anew."""
    table = family.pins
    known = table.live()
    known = known[table.layer[known] != 0]
    theirs, first = np.unique(table.layer[known].astype(np.int64) * HPAGE_PMD_NR + table.slot[known], return_index=True)
    distinct, which = np.unique(places, return_inverse=True)
    frame = family.next_frame + np.arange(distinct.size)
    family.next_frame += distinct.size
    at = np.minimum(np.searchsorted(theirs, distinct), max(theirs.size - 1, 0))
    if theirs.size:
        old = theirs[at] == distinct
        frame[old] = table.frame[known[first[at[old]]]]
    return np.asarray(frame[which])
