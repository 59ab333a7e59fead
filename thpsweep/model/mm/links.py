"""Old pages and their copies in a new folio, both alive: links from one to the other, and moving rows across.

A linked layer of old, order-0 frames points at a layer of the folio's subpages with the same slots and the same content.
While old_i lives, its link holds subpage i: it counts as one mapping of the subpage, so that no write reuses it (a write
copies) and it does not die. A write to the old side copies as well, even where it is the last mapping. When old_i has lost
its last mapping, moved, copied or ended, the link ends and the page is freed. Invariant: content(old_i) = content(F_i).
Source: Andrea Arcangeli's worry about leaving both mapped, 20160302184732.GC4946@redhat.com.
"""

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Boards, Ints
from thpsweep.model.mm.cow import part_with
from thpsweep.model.mm.folding import split_layers
from thpsweep.model.mm.unmap import drop_dead
from thpsweep.model.state.family import Family
from thpsweep.model.state.folios import by_folio, folios_at, map_folios, new_folios
from thpsweep.model.state.mm_slots import claim, settle
from thpsweep.units import HPAGE_PMD_NR

DENSE = 64
"""Slots of a board from which on average it is faster to go through all 512."""


def link(family: Family, rows: Ints, isolate: bool, forward: bool) -> Ints:
    """Make a folio for each row's region, with copies of all that the row maps; no pte changes. Shapes: -> folio (n,).

    isolate: the old pages leave the LRU. forward: children forked meanwhile are given the folio.
    """
    records = family.record_of[rows].astype(np.int64)
    pages = bits.count(bits.at(family.records.present, records))
    folios = new_folios(family, family.region_of(rows), pages)
    for index, entry in family.walk(records):
        slots = bits.at(family.entries.slots, entry)
        used = bits.where(bits.any_slot(slots))
        index, slots = index[used], slots[used]
        layer = family.entries.layer[entry[used]].astype(np.int64)
        wider = bits.where(family.other_slots(layer, slots))
        if (
            wider.size
        ):  # frames of the same generation that a row does not map stay as they are, in a layer of their own
            layer[wider] = split_layers(family, rows[index[wider]], layer[wider], slots[wider])
        one = np.ones(layer.size, np.int64)
        copies = family.new_layers(
            slots,
            one,
            folios[index],
            slots,
            family.layers.common[layer],
            family.layers.anon_vma[layer].astype(np.int64),
        )
        if family.holds_zeroes:
            family.layers.zeroed[copies] = family.layers.zeroed[layer] & slots
        family.layers.link[layer], family.linking = copies, True
        family.layers.isolated[layer], family.layers.forward[layer] = isolate, forward
        if isolate:
            family.adjust("isolated", rows[index], bits.count(slots))
    return folios


def linked_slots(family: Family, records: Ints) -> Boards:
    """Give the slots of each record that map an old page with a link. Shapes: (n,) -> (n, 8)."""
    boards = bits.empty(records.size)
    for index, entry in family.walk(records):
        linked = family.layers.link[family.entries.layer[entry]] != 0
        boards[index[linked]] |= bits.at(family.entries.slots, entry[linked])
    return boards


def move(family: Family, rows: Ints, within: Boards) -> Ints:
    """Point the rows' ptes on old pages, in the given slots, at the copies; count the ptes of each row.

    Rows that share a record and move together go on sharing one: they come in runs of the same board.
    Shapes: rows (n,), boards (n, 8) -> (n,).
    """
    if not rows.size:
        return np.zeros(0, np.int64)
    records = part_with(family, rows)
    distinct, first, which = np.unique(records, return_index=True, return_inverse=True)
    moved = np.zeros(distinct.size, np.int64)
    came: list[tuple[Ints, Ints]] = []
    for index, entry in list(family.walk(distinct)):
        old = family.entries.layer[entry].astype(np.int64)
        slots = bits.at(family.entries.slots, entry) & within[first[index]]
        some = bits.where((family.layers.link[old] != 0) & bits.any_slot(slots))
        if some.size:
            index, entry, old, slots = index[some], entry[some], old[some], slots[some]
            moved[index] += bits.count(slots)
            came.append((index, folios_at(family, family.layers.link[old].astype(np.int64), bits.nth(slots, 0))))
            _move_entries(family, distinct[index], rows[first[index]], entry, old, slots)
    _claim(family, rows, which, came)
    settle(family)
    return moved[which]


def _claim(family: Family, rows: Ints, which: Ints, came: list[tuple[Ints, Ints]]) -> None:
    """Let the sharers that came to map folios take free MM slots: per step, (index of a record, folio)."""
    pairs = []
    for index, folios in came:
        at = np.full(int(which.max()) + 1, -1)
        at[index] = np.arange(index.size)
        mine = bits.where(at[which] >= 0)
        pairs.append((folios[at[which[mine]]], rows[mine] % family.n_sharers))
    if pairs:
        claim(family, *(np.concatenate(part) for part in zip(*pairs, strict=True)))


def _move_entries(family: Family, records: Ints, rows: Ints, entry: Ints, old: Ints, slots: Boards) -> None:
    """Move slots from entries of old layers to the copies' layer, in records that are distinct. Shapes: each (n,)."""
    weight = family.records.rows[records].astype(np.int64)
    copies = family.layers.link[old].astype(np.int64)
    family.layers.common[copies] |= family.layers.common[old]  # forks since then have widened the old anon_vma
    target = _entry_of(family, records, copies)
    fresh, listed = bits.where(target == 0), bits.where(target)
    if fresh.size:
        target[fresh] = family.list_layer(records[fresh], copies[fresh], bits.empty(fresh.size))
        np.add.at(family.layers.reach, copies[fresh], weight[fresh].astype(np.int32))
        _add_missing(family, copies[fresh], bits.at(family.layers.slots, copies[fresh]) & ~slots[fresh], weight[fresh])
    bits.put(family.entries.slots, entry, bits.at(family.entries.slots, entry) & ~slots)
    bits.put(family.entries.slots, target, bits.at(family.entries.slots, target) | slots)
    _add_missing(family, copies[listed], slots[listed], -weight[listed])
    _add_missing(family, old, slots, weight)
    ptes = bits.count(slots) * weight
    family.adjust("small_ptes", rows, -ptes)
    family.adjust("compound_ptes", rows, ptes)
    which, folios, moved = by_folio(family, copies, slots)
    map_folios(family, folios, moved * weight[which])
    order = np.argsort(old, kind="stable")
    first = bits.where(np.concatenate(([True], np.diff(old[order]) != 0)))
    left = np.bitwise_or.reduceat(slots[order], first, axis=0)
    drop_dead(family, rows[order][first], old[order][first], left)


def _entry_of(family: Family, records: Ints, layers: Ints) -> Ints:
    """Find each record's entry of the given layer, 0 where it does not list it. Shapes: (n,), (n,) -> (n,)."""
    found = np.zeros(records.size, np.int64)
    for index, entry in family.walk(records):
        here = family.entries.layer[entry] == layers[index]
        found[index[here]] = entry[here]
    return found


def _add_missing(family: Family, layers: Ints, slots: Boards, amounts: Ints) -> None:
    """Add to the missing mappings of slots; layers may repeat. Shapes: (n,), (n, 8), (n,)."""
    some = bits.where(bits.any_slot(slots))
    if some.size < layers.size:
        layers, slots, amounts = layers[some], bits.at(slots, some), amounts[some]
    if not layers.size:
        return
    lists = family.missing_rows(layers)
    if bits.count(slots).sum() > DENSE * layers.size:
        order = np.argsort(lists, kind="stable")
        bounds = bits.where(np.diff(lists[order], prepend=-1, append=-1))
        slots, amounts, lists = slots[order], amounts[order, None].astype(np.int32), lists[order[bounds[:-1]]]
        if lists.size == layers.size:
            family.missing.ptes[lists] += bits.expand(slots) * amounts
            return
        for at, begin, end in zip(lists.tolist(), bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            family.missing.ptes[at] += (bits.expand(slots[begin:end]) * amounts[begin:end]).sum(axis=0, dtype=np.int32)
        return
    index, slot = bits.pairs(slots)
    np.add.at(family.missing.ptes.reshape(-1), lists[index] * HPAGE_PMD_NR + slot, amounts[index].astype(np.int32))


def open_rows(family: Family) -> tuple[Ints, Boards, Ints]:
    """List the rows that map old pages with a link, by region, then sharer; these slots; how old their oldest link is.

    Shapes: -> (n,), (n, 8), (n,) in ticks.
    """
    layers = family.layers.live()
    copies = family.layers.link[layers[family.layers.link[layers] != 0]]
    regions = np.unique(family.folios.region[family.layers.folio[copies]])
    index, sharer = np.nonzero(family.record_of.reshape(-1, family.n_sharers)[regions])
    rows = regions.astype(np.int64)[index] * family.n_sharers + sharer
    records = family.record_of[rows].astype(np.int64)
    slots, age_ticks = linked_slots(family, records), np.zeros(rows.size, np.int64)
    for index, entry in family.walk(records):
        layer = family.entries.layer[entry]
        linked = (family.layers.link[layer] != 0) & bits.any_slot(bits.at(family.entries.slots, entry))
        age_ticks[index[linked]] = np.maximum(age_ticks[index[linked]], family.layers.age_ticks[layer[linked]])
    some = bits.any_slot(slots)
    return rows[some], slots[some], age_ticks[some]


def grow_older(family: Family) -> None:
    """Count one more tick for every link."""
    if family.linking:
        family.layers.age_ticks[bits.where(family.layers.link)] += 1


def forward(family: Family, rows: Ints) -> None:
    """Give a child that was just forked the copies where its parent maps old pages that are deferred."""
    if not family.linking or not family.layers.forward.any():
        return
    slots = bits.empty(rows.size)
    for index, entry in family.walk(family.record_of[rows].astype(np.int64)):
        layer = family.entries.layer[entry]
        deferred = (family.layers.link[layer] != 0) & family.layers.forward[layer]
        slots[index[deferred]] |= bits.at(family.entries.slots, entry[deferred])
    some = bits.any_slot(slots)
    move(family, rows[some], slots[some])
