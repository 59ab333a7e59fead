"""Map large folios: by a PMD one of a row's own, or one that all sharers of a region map; by ptes a smaller one."""

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Boards, Bools, Ints
from thpsweep.model.mm.folding import by_record, relatives
from thpsweep.model.mm.zeroed import mark
from thpsweep.model.state.family import Family
from thpsweep.model.state.folios import folio_ptes, heads_of, map_folios, new_folios
from thpsweep.units import BOARD_WORDS, HPAGE_PMD_NR


def map_private(family: Family, rows: Ints, zeroed: Boards) -> None:
    """Map a new folio by a PMD, exclusively, in rows that map nothing; some of its pages hold zeroes.

    Shapes: (n,), (n, 8).
    """
    n = rows.size
    one = np.ones(n, np.int64)
    folio = new_folios(family, family.region_of(rows), one * HPAGE_PMD_NR)
    layer = family.new_layers(bits.full(n), one, folio, bits.full(n), np.zeros(n, bool), family.own_anon_vmas(rows))
    mark(family, layer, zeroed)
    records = family.records.take(n)
    table = family.records
    table.rows[records], table.present[records], table.exclusive[records] = 1, bits.FULL, bits.FULL
    table.own[records] = family.list_layer(records, layer, bits.full(n))
    family.record_of[rows], family.pmd[rows] = records, True
    family.adjust("pmds", rows, one)
    family.folios.mm_0[folio] = rows % family.n_sharers + 1  # no other process maps it


def map_block(family: Family, rows: Ints, order: int, block: int, zeroed: Boards) -> None:
    """Map a new folio by ptes, exclusively, in a block of rows that map nothing there, each with a record of its own; some
    of its pages hold zeroes. The regions of the rows are distinct. Shapes: (n,), (n, 8)."""
    n, table = rows.size, family.records
    folios = new_folios(family, family.region_of(rows), np.full(n, 1 << order), order, block)
    heads, records = heads_of(family, folios), family.record_of[rows].astype(np.int64)
    slots = np.broadcast_to(bits.blocks(order)[block], (n, BOARD_WORDS))
    own = table.own[records].astype(np.int64)
    layer = family.entries.layer[own].astype(np.int64)
    other = bits.any_slot(family.layers.compound[layer]) & (family.layers.folio[layer] != heads)
    apart = bits.where((own == 0) | family.layers.common[layer] | other | (family.layers.link[layer] != 0))
    if apart.size:
        none, empty = np.zeros(apart.size, np.int64), bits.empty(apart.size)
        makers = family.own_anon_vmas(rows[apart])
        layer[apart] = family.new_layers(empty, none + 1, none, empty, np.zeros(apart.size, bool), makers)
        own[apart] = table.own[records[apart]] = family.list_layer(records[apart], layer[apart], empty)
    family.layers.slots[layer] |= slots
    family.layers.compound[layer] |= slots
    family.layers.folio[layer] = heads
    family.entries.slots[own] |= slots
    table.present[records] |= slots
    table.exclusive[records] |= slots
    mark(family, layer, zeroed)
    family.adjust("compound_ptes", rows, np.full(n, 1 << order))
    family.folios.mm_0[folios] = rows % family.n_sharers + 1  # no other process maps it


def takers(family: Family, rows: Ints, slots: Boards, folios: Ints, *, one_way: bool = False) -> Bools:
    """Tell which sharers may get a PMD over the folio that took the place of their region's sources `slots`.

    Each slot is the folio's subpage, or empty where the folio had no source; nothing is swapped. A hole over another's
    page is none of these: a PMD there would show that page's content. one_way: the ptes that a PMD takes the place of are
    all exclusive or none of them. Shapes: (n,), (n, 8), (n,) -> (n, n_sharers).
    """
    around = relatives(family, rows)
    records = family.record_of[rows].astype(np.int64)
    able = around.same & _wholly(family, records, slots, folios, one_way)[:, None]
    others, index = family.record_of[around.row].astype(np.int64), around.index
    left = bits.where(starts_in(family, others, folios[index]))
    others, index, row = others[left], index[left], around.row[left]
    chosen = by_record(
        others, lambda some: _wholly(family, others[some], slots[index[some]], folios[index[some]], one_way)
    )
    able[index[chosen], row[chosen] % family.n_sharers] = True
    return permitted(family, rows, able)


def permitted(family: Family, rows: Ints, able: Bools) -> Bools:
    """Leave out who must keep its ptes. Shapes: (n,), (n, n_sharers) -> (n, n_sharers)."""
    if family.no_pmd is None:
        return np.asarray(able)
    return np.asarray(able & ~family.no_pmd.reshape(-1, family.n_sharers)[family.region_of(rows)])


def starts_in(family: Family, records: Ints, folios: Ints) -> Bools:
    """Tell who has no page of its own that is not the folio's: a quick look that settles most rows."""
    entry = family.records.own[records]
    other = bits.where(family.layers.folio[family.entries.layer[entry]] != folios)
    able = np.ones(records.size, bool)
    able[other] = ~bits.any_slot(bits.at(family.entries.slots, entry[other]))
    return able


def _wholly(family: Family, records: Ints, slots: Boards, folios: Ints, one_way: bool) -> Bools:
    """Tell which records map just these slots, all to the folio. Shapes: (k,), (k, 8), (k,) -> (k,)."""
    table, pages = family.records, bits.count(slots)
    able = ~bits.any_slot((bits.at(table.present, records) ^ slots) | bits.at(table.swapped, records))
    left = bits.where(able)
    able[left] = folio_ptes(family, records[left], folios[left]) == pages[left]
    if one_way:
        exclusive = np.where(table.rows[records] == 1, bits.count(bits.at(table.exclusive, records)), 0)
        able &= (exclusive == 0) | (exclusive == pages)
    return np.asarray(able)


def map_shared(family: Family, rows: Ints, slots: Boards, folios: Ints, able: Bools) -> None:
    """Map each region's folio by a PMD in the able sharers; their empty slots now map its subpages without a source.

    A PMD is exclusive as a whole or not at all: it is where every source was, which only the scanned row can have.
    Shapes: (n,), (n, 8), (n,), (n, n_sharers).
    """
    regions, pages = family.region_of(rows), bits.count(slots)
    scanned = family.record_of[rows[able[np.arange(rows.size), rows % family.n_sharers]]].astype(np.int64)
    table = family.records
    whole = (table.rows[scanned] == 1) & ~bits.any_slot(
        bits.at(table.present, scanned) ^ bits.at(table.exclusive, scanned)
    )
    table.exclusive[scanned] = np.where(whole, bits.FULL, np.uint64(0))[:, None]
    _fill_holes(family, regions, slots, folios, able)
    family.pmd.reshape(-1, family.n_sharers)[regions] |= able
    sharers = np.count_nonzero(able, axis=1)
    family.adjust("pmds", rows, sharers)
    family.adjust("compound_ptes", rows, -pages * sharers)


def _fill_holes(family: Family, regions: Ints, slots: Boards, folios: Ints, able: Bools) -> None:
    """Give the subpages without a source a layer, which the records of the able sharers list from now on."""
    holes, sharers = ~slots, np.count_nonzero(able, axis=1)
    holed = bits.where(bits.any_slot(holes) & (sharers > 0))
    if not holed.size:
        return
    layers = np.zeros(regions.size, np.int64)
    roots = family.anon_vmas.chains[regions[holed] // family.n_regions, np.argmax(able[holed], axis=1), 0]
    layers[holed] = family.new_layers(
        holes[holed], sharers[holed], folios[holed], holes[holed], sharers[holed] > 1, roots
    )
    mark(family, layers[holed], holes[holed])
    map_folios(family, folios[holed], bits.count(holes[holed]) * sharers[holed])
    index, sharer = np.nonzero(able & (layers != 0)[:, None])
    records, first = np.unique(
        family.record_of[regions[index] * family.n_sharers + sharer].astype(np.int64), return_index=True
    )
    family.list_layer(records, layers[index[first]], holes[index[first]])
    family.records.present[records], family.records.zero[records] = bits.FULL, 0
