"""Writes of one tick: first touch, copy-on-write, reuse, PMD split, judged by the sharing at the start of the step."""

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Boards, Bools, Ints
from thpsweep.model.counts import Counts
from thpsweep.model.family import Family
from thpsweep.model.processes import drop_dead, forget_slots, free_layers
from thpsweep.units import HPAGE_PMD_NR


def write(family: Family, counts: Counts, rows: Ints, boards: Boards) -> None:
    """Let each row write the given slots. Rows are distinct and ascending. Shapes: (n,), (n, 8).

    Source: mm/memory.c do_wp_page(), wp_can_reuse_anon_folio(), do_anonymous_page(), mm/huge_memory.c
    do_huge_pmd_wp_page() (a shared PMD is split and one base page copied since 5.8, 20200416160026.16538-8).
    """
    records = family.record_of[rows].astype(np.int64)
    sole = family.records.rows[records] == 1
    boards = boards & ~np.where(sole[:, None], family.records.exclusive[records], np.uint64(0))
    boards[~family.alive[family.replicate_of(rows), rows % family.n_sharers]] = 0
    some = np.flatnonzero(bits.any_slot(boards))
    rows, records, boards = rows[some], records[some], boards[some]
    done = _reuse_pmds(family, counts, rows, records)
    rows, records, boards = rows[~done], records[~done], boards[~done]
    if not rows.size:
        return
    copy, reuse = _decide(family, records, boards & family.records.present[records])
    fresh = boards & ~family.records.present[records]
    swapped = fresh & family.records.swapped[records]
    _count(family, counts, rows, copy, reuse, fresh & ~swapped, swapped)
    _split_pmds(family, counts, rows)
    records = diverge(family, rows)
    _unmap_old(family, rows, records, copy)
    _map_new(family, rows, records, copy | fresh)
    family.records.exclusive[records] |= copy | fresh | reuse


def _reuse_pmds(family: Family, counts: Counts, rows: Ints, records: Ints) -> Bools:
    """Make the PMD writable where nobody else maps the folio; tell for which rows that was all."""
    done = np.zeros(rows.size, bool)
    huge = np.flatnonzero(family.pmd[rows])
    if huge.size:
        folio = folio_of(family, records[huge])
        alone = huge[family.folios.mapped[folio] == HPAGE_PMD_NR]
        family.records.exclusive[records[alone]] = bits.FULL
        counts.add("reuse_pmds", family.replicate_of(rows[alone]), 1)
        done[alone] = True
    return done


def folio_of(family: Family, records: Ints) -> Ints:
    """Give the folio that each record maps subpages of (a PMD-mapped row maps just one). Shapes: (n,) -> (n,)."""
    folios = np.zeros(records.size, np.int64)
    for index, entry in family.walk(records):
        layer = family.entries.layer[entry]
        hit = bits.any_slot(family.entries.slots[entry] & family.layers.compound[layer])
        folios[index[hit]] = family.layers.folio[layer[hit]]
    return folios


def _decide(family: Family, records: Ints, hit: Boards) -> tuple[Boards, Boards]:
    """Split the written present slots into those that are copied and those that are reused."""
    copy, reuse = bits.empty(records.size), bits.empty(records.size)
    for index, entry in family.walk(records):
        layer = family.entries.layer[entry].astype(np.int64)
        mine = family.entries.slots[entry] & hit[index]
        some = np.flatnonzero(bits.any_slot(mine))
        if not some.size:
            continue
        index, layer, mine = index[some], layer[some], mine[some]
        multi = _multi_mapped(family, layer, mine)
        single = mine & ~multi
        large = np.flatnonzero(bits.any_slot(single & family.layers.compound[layer]))
        if large.size:
            folio = family.layers.folio[layer[large]].astype(np.int64)
            others = family.folios.mapped[folio] > family.folio_ptes(records[index[large]], folio)
            stuck = large[others]
            multi[stuck] |= single[stuck] & family.layers.compound[layer[stuck]]
        copy[index] |= multi
        reuse[index] |= mine & ~multi
    return copy, reuse


def _multi_mapped(family: Family, layers: Ints, boards: Boards) -> Boards:
    """Keep the slots with a mapcount above 1, looking only at the few slots that are written."""
    index, slot = bits.pairs(boards)
    shared = family.mapcounts(layers[index], slot) > 1
    return bits.from_pairs(layers.size, index[shared], slot[shared])


def _count(
    family: Family, counts: Counts, rows: Ints, copy: Boards, reuse: Boards, touched: Boards, swapped: Boards
) -> None:
    replicates = family.replicate_of(rows)
    counts.add("cow_faults", replicates, bits.count(copy))
    counts.add("reuse_faults", replicates, bits.count(reuse))
    counts.add("minor_faults", replicates, bits.count(touched))
    counts.add("swap_ins", replicates, bits.count(swapped))


def _split_pmds(family: Family, counts: Counts, rows: Ints) -> None:
    """Map by ptes what a PMD mapped: the folio itself stays whole."""
    huge = rows[family.pmd[rows]]
    if huge.size:
        family.pmd[huge] = False
        counts.add("pmd_splits", family.replicate_of(huge), 1)
        family.adjust("pmds", huge, np.full(huge.size, -1))
        family.adjust("compound_ptes", huge, np.full(huge.size, HPAGE_PMD_NR))


def diverge(family: Family, rows: Ints) -> Ints:
    """Give each row a record of its own, copying the list where the record is shared. Shapes: (n,) -> (n,)."""
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


def _unmap_old(family: Family, rows: Ints, records: Ints, copy: Boards) -> None:
    """Take the copied slots out of the layers that held them; free frames whose last mapping that was."""
    for index, entry in family.walk(records):
        moved = family.entries.slots[entry] & copy[index]
        some = np.flatnonzero(bits.any_slot(moved))
        if not some.size:
            continue
        index, entry, moved = index[some], entry[some], moved[some]
        layer = family.entries.layer[entry].astype(np.int64)
        compound = family.layers.compound[layer]
        family.entries.slots[entry] &= ~moved
        large = bits.count(moved & compound)
        family.adjust("compound_ptes", rows[index], -large)
        family.adjust("small_ptes", rows[index], -bits.count(moved & ~compound))
        which, slot = bits.pairs(moved)
        lists = family.missing_rows(layer)
        np.add.at(family.missing.ptes, (lists[which], slot), 1)
        _free_unmapped(family, rows[index], layer, moved)
        if large.any():
            family.map_folios(family.layers.folio[layer[large > 0]].astype(np.int64), -large[large > 0])


def _free_unmapped(family: Family, rows: Ints, layers: Ints, moved: Boards) -> None:
    """Free frames among `moved` without a mapping; several rows may have left one layer."""
    order = np.argsort(layers, kind="stable")
    first = np.flatnonzero(np.concatenate(([True], np.diff(layers[order]) != 0)))
    merged = np.bitwise_or.reduceat(moved[order], first, axis=0)
    drop_dead(family, rows[order][first], layers[order][first], merged)


def _map_new(family: Family, rows: Ints, records: Ints, slots: Boards) -> None:
    """Map new order-0 frames in the layer that only this record lists, making it where there is none."""
    some = np.flatnonzero(bits.any_slot(slots))
    rows, records, slots = rows[some], records[some], slots[some]
    own = family.records.own[records].astype(np.int64)
    layer = family.entries.layer[own].astype(np.int64)
    lacking = np.flatnonzero((own == 0) | family.layers.common[layer])
    if lacking.size:
        n = lacking.size
        none = np.zeros(n, np.int64)
        layer[lacking] = family.new_layers(bits.empty(n), none + 1, none, bits.empty(n), np.zeros(n, bool))
        own[lacking] = family.list_layer(records[lacking], layer[lacking], bits.empty(n))
        family.records.own[records[lacking]] = own[lacking]
    forget_slots(family, layer, slots)
    family.layers.slots[layer] |= slots
    family.entries.slots[own] |= slots
    family.records.present[records] |= slots
    family.records.swapped[records] &= ~slots
    family.adjust("small_frames", rows, bits.count(slots))
    family.adjust("small_ptes", rows, bits.count(slots))
