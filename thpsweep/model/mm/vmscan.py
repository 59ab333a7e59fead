"""Memory pressure: pages that reclaim writes to swap, and what it has to split for it."""

from collections.abc import Callable

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Boards, Bools, Ints
from thpsweep.model.mm.fault import folio_of, split_pmds
from thpsweep.model.mm.gup import pinned
from thpsweep.model.mm.links import move, open_rows
from thpsweep.model.mm.slots import Events, entries_of
from thpsweep.model.mm.swap import begin, drop_cached
from thpsweep.model.mm.unmap import forget_slots
from thpsweep.model.mm.zeroed import NEVER_UNDERUSED, underused
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family
from thpsweep.model.state.folios import by_folio, folio_boards, folios_at, heads_of, map_folios
from thpsweep.model.state.mm_slots import settle
from thpsweep.units import HPAGE_PMD_NR, HPAGE_PMD_ORDER

Young = Callable[[Ints, Ints, Ints, Bools], Bools]
"""Tells which frames have a young pte, so that reclaim lets them be, by row, slot, number of mappings, and whether the frame
is part of a large folio, which is young or not as a whole. Shapes: each (n,) -> (n,)."""


def reclaim(family: Family, counts: Counts, keys: Ints, young: Young, max_ptes_none: int = NEVER_UNDERUSED) -> None:
    """Let reclaim come to the frames that rows map in slots, then to the deferred list.

    On that list are folios of which pages are dead, and underused ones: with more than max_ptes_none pages of zeroes,
    unless that is 511. In replicates to which reclaim comes for no page it does not come at all.

    A frame that was not used lately is unmapped from all its mappers, which keep swap ptes, unless it is pinned, or part
    of a folio with an extra reference. A small page with a FOLL_GET then stays in the swap cache; it counts as written at
    once, which the kernel does when the reference has gone.
    A large folio is split first, as where swap has no free cluster of its size: PMDs become ptes, then every pte of
    every sharer is replaced by a migration entry and restored; only the page that reclaim came for is written. One young
    pte keeps all of it. A split frees pages that are dead or hold zeroes: ptes of these lead to the zero page from then on.
    Old pages with a link (deferred) are not written: their mappers are switched to the copies.
    Before all that, unmapped pages of the swap cache go from the regions that it comes to: it is clean.
    Shapes: keys (n,) = row * 512 + slot, ascending and distinct.
    Source: mm/vmscan.c shrink_folio_list(), is_page_cache_freeable(), mm/huge_memory.c deferred_split_scan(),
    split_folio() (v6.18).
    """
    rows, slots = keys // HPAGE_PMD_NR, keys % HPAGE_PMD_NR
    drop_cached(family, rows)
    events = Events(rows, slots)
    events = events.where(events.of(family.records.present, family.record_of[rows].astype(np.int64)))
    layer = _layers(family, events)
    frame, first = np.unique(layer * HPAGE_PMD_NR + events.slot, return_index=True)
    layer, slot, row = frame // HPAGE_PMD_NR, frame % HPAGE_PMD_NR, events.row[first]
    folio = np.where(Events(row, slot).of(family.layers.compound, layer), folios_at(family, layer, slot), 0)
    mappings = np.where(folio != 0, family.folios.mapped[folio], family.mapcounts(layer, slot))
    idle = ~young(row, slot, mappings, folio != 0) & ~_referred_to(family, layer, slot, folio)
    layer, slot, row, folio = layer[idle], slot[idle], row[idle], folio[idle]
    linked = family.layers.link[layer] != 0
    switch_away(family, counts, layer[linked], slot[linked])
    split_folios(family, counts, np.unique(folio[folio != 0]))
    left = ~linked & Events(row, slot).of(family.layers.slots, layer)
    _write(family, counts, layer[left], slot[left], row[left])
    split_folios(family, counts, _deferred(family, np.unique(family.replicate_of(rows)), max_ptes_none))


def _deferred(family: Family, replicates: Ints, max_ptes_none: int) -> Ints:
    """List the folios of replicates that the deferred list gives up to a split. Shapes: (k,) -> (n,).

    Below PMD order a folio comes onto the list only once a part of it is unmapped.
    """
    table, folios = family.folios, family.folios.live()
    free = np.isin(table.region[folios] // family.n_regions, replicates) & (table.held[folios] == 0)
    folios = folios[free & ~np.isin(folios, linked_folios(family))]
    whole = table.lost[folios] == 0
    huge = folios[whole & (table.order[folios] == HPAGE_PMD_ORDER)]
    return np.union1d(folios[~whole], underused(family, huge, max_ptes_none))


def split_folios(family: Family, counts: Counts, folios: Ints) -> None:
    """Split large folios, whoever maps them, into order-0 pages in their places; dead pages and zeroes are freed.

    Shapes: (n,), distinct and ascending, without references.
    """
    if not folios.size:
        return
    regions = family.folios.region[folios].astype(np.int64)
    replicates = regions // family.n_regions
    block = (regions[:, None] * family.n_sharers + np.arange(family.n_sharers)).reshape(-1)
    huge = np.unique(block[family.pmd[block]])
    maps = np.isin(folio_of(family, family.record_of[huge].astype(np.int64)), folios)
    split_pmds(family, counts, huge[maps])
    counts.tally("folio_splits", replicates)
    ptes = family.folios.mapped[folios].astype(np.int64)
    counts.collapse("split_ptes", replicates, ptes)
    counts.hold(regions * family.n_sharers, split_walks=np.full(folios.size, 2), split_ptes=ptes)
    layers, boards = subpages(family, folios)
    index, owner, pages = by_folio(family, layers, boards)
    rows = regions * family.n_sharers
    zeroed = family.layers.zeroed[layers] & boards if family.holds_zeroes else None
    family.adjust("small_frames", rows[np.searchsorted(folios, owner)], pages)
    family.adjust("small_ptes", rows, ptes)
    family.adjust("compound_ptes", rows, -ptes)
    row = np.zeros(layers.size, np.int64)
    row[index] = rows[np.searchsorted(folios, owner)]
    family.layers.compound[layers] &= ~boards
    map_folios(family, folios, -ptes)
    settle(family)
    if zeroed is not None and zeroed.any():
        some = bits.any_slot(zeroed)
        counts.add("zeroes_freed", family.replicate_of(row[some]), bits.count(zeroed[some]))
        _replace(family, layers[some], zeroed[some], row[some], to_swap=False)


def subpages(family: Family, folios: Ints) -> tuple[Ints, Boards]:
    """Find the layers that have subpages of some of the folios, and their slots. Shapes: -> (n,), (n, 8)."""
    layers, chosen = family.layers.live(), np.zeros(family.folios.mapped.size, bool)
    chosen[folios] = True
    layers = layers[np.isin(family.layers.folio[layers], heads_of(family, folios))]
    boards = family.layers.compound[layers] & folio_boards(family, layers, lambda some: chosen[some])
    return layers, boards


def _layers(family: Family, events: Events) -> Ints:
    """Give the layer that each event's row maps in the slot. Shapes: -> (n,)."""
    records = family.record_of[events.row].astype(np.int64)
    entry = entries_of(family, events, records)
    return family.entries.layer[entry].astype(np.int64)


def _referred_to(family: Family, layer: Ints, slot: Ints, folio: Ints) -> Bools:
    """Tell which frames have references beside their mappings, links among them, or are off the LRU."""
    held = np.where(folio != 0, family.folios.held[folio] > 0, pinned(family, layer, slot))
    isolated = family.layers.isolated[layer] & (family.layers.link[layer] != 0)
    return np.asarray(held | isolated | ((folio != 0) & np.isin(folio, linked_folios(family))))


def linked_folios(family: Family) -> Ints:
    """List the folios that old pages are linked to."""
    layers = family.layers.live()
    layers = layers[family.layers.link[layers] != 0]
    return by_folio(family, family.layers.link[layers].astype(np.int64), family.layers.slots[layers])[1]


def switch_away(family: Family, counts: Counts, layer: Ints, slot: Ints) -> None:
    """Switch the mappers of old pages to the copies."""
    if not layer.size:
        return
    wanted = bits.from_pairs(family.layers.slots.shape[0], layer, slot)
    rows, linked, _ = open_rows(family)
    boards = bits.empty(rows.size)
    for index, entry in family.walk(family.record_of[rows].astype(np.int64)):
        boards[index] |= family.entries.slots[entry] & wanted[family.entries.layer[entry]]
    some = bits.any_slot(boards & linked)
    ptes = move(family, rows[some], boards[some])
    counts.collapse("ptes_switched", family.replicate_of(rows[some]), ptes)
    counts.add("tlb_flushes", family.replicate_of(rows[some]), 1)


def _write(family: Family, counts: Counts, layer: Ints, slot: Ints, row: Ints) -> None:
    """Replace every mapping of order-0 frames by a swap pte. Shapes: each (n,)."""
    if not layer.size:
        return
    counts.add("swap_out_ptes", family.replicate_of(row), family.mapcounts(layer, slot))
    layers, first, which = np.unique(layer, return_index=True, return_inverse=True)
    written = swap_out(family, layers, bits.from_pairs(layers.size, which, slot), row[first])
    counts.add("swap_outs", family.replicate_of(row[first]), written)


def swap_out(family: Family, layers: Ints, gone: Boards, rows: Ints) -> Ints:
    """Put order-0 frames in swap; give how many of each layer had to be written, as they were not in the swap cache.

    Those with a FOLL_GET stay in the swap cache.
    Shapes: (n,) distinct, (n, 8), (n,) any row of the layer's region -> (n,).
    """
    begin(family)
    written = bits.count(gone & ~family.away_slots(layers))
    lists = family.away_rows(layers)  # first: it may move the table
    mapcounts = family.layers.reach[layers][:, None] - family.missing.ptes[family.layers.missing[layers]]
    family.missing.ptes[lists] += mapcounts * bits.expand(gone)
    zeroed = family.layers.zeroed[layers] & gone if family.holds_zeroes else None
    family.layers.exclusive[layers] &= ~gone
    _replace(family, layers, gone, rows, to_swap=True)
    if zeroed is not None:
        family.layers.zeroed[layers] |= zeroed
    return written


def _replace(family: Family, layers: Ints, gone: Boards, rows: Ints, *, to_swap: bool) -> None:
    """Free order-0 frames that have mappings: each is a swap pte from now on, or one of the zero page.

    Shapes: (n,) distinct, (n, 8), (n,) any row of the layer's region.
    """
    at = np.zeros(family.layers.reach.size, np.int64)
    at[layers] = np.arange(1, layers.size + 1)
    regions = np.unique(family.region_of(rows))
    block = (regions[:, None] * family.n_sharers + np.arange(family.n_sharers)).reshape(-1)
    _unmap_from(family, np.unique(family.record_of[block]).astype(np.int64), at, gone, to_swap)
    kept = gone & family.layers.held[layers] if to_swap else bits.empty(layers.size)
    family.adjust("small_frames", rows, -bits.count(gone & ~kept))
    family.adjust("small_ptes", rows, -family.mapcount_sums(layers, gone))
    forget_slots(family, rows, layers, gone & ~kept)
    index, slot = bits.pairs(kept)
    lists = family.missing_rows(layers[index])  # first: it may move the table
    family.missing.ptes[lists, slot] = family.layers.reach[layers[index]]


def _unmap_from(family: Family, records: Ints, at: Ints, gone: Boards, to_swap: bool) -> None:
    """Take gone frames from the records; `at` gives a layer's index among `gone` plus one."""
    table = family.records
    board = table.swapped if to_swap else table.zero
    for index, entry in family.walk(records[records != 0]):
        some = bits.where(at[family.entries.layer[entry]])
        owner = records[records != 0][index[some]]
        hit = family.entries.slots[entry[some]] & gone[at[family.entries.layer[entry[some]]] - 1]
        family.entries.slots[entry[some]] &= ~hit
        table.present[owner] &= ~hit
        if to_swap:
            sole = np.where((table.rows[owner] == 1)[:, None], table.exclusive[owner] & hit, np.uint64(0))
            np.bitwise_or.at(family.layers.exclusive, family.entries.layer[entry[some]], sole)
        table.exclusive[owner] &= ~hit
        board[owner] |= hit
        if to_swap:
            family.entries.swapped[entry[some]] |= hit
