"""Put one large folio in the place of small frames, in every row that maps them."""

import dataclasses
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from thpsweep.model import bits
from thpsweep.model.bits import Boards, Bools, Ints
from thpsweep.model.mm.rmap import Sources
from thpsweep.model.state.family import Family
from thpsweep.model.state.folios import heads_of, new_folios, spans_of
from thpsweep.model.state.mm_slots import hand_out
from thpsweep.units import HPAGE_PMD_ORDER

Value = TypeVar("Value", np.bool_, np.int64)


def fold(family: Family, found: Sources, order: int = HPAGE_PMD_ORDER, block: int = 0) -> Ints:
    """Replace the sources in a block of each row's region by the subpages of a new folio. Shapes: -> folio (n,).

    No row changes: the frames keep their layers and slots, only their form changes.
    """
    rows = found.rows
    folios = new_folios(family, family.region_of(rows), found.ptes, order, block)
    heads = heads_of(family, folios)
    family.adjust("small_frames", rows, -found.pages)
    family.adjust("small_ptes", rows, -found.ptes)
    family.adjust("compound_ptes", rows, found.ptes)
    for index, entry in family.walk(family.record_of[rows].astype(np.int64)):
        layer = family.entries.layer[entry].astype(np.int64)
        slots = bits.at(family.entries.slots, entry)
        if order < HPAGE_PMD_ORDER:
            slots &= found.slots[index]
        other = bits.any_slot(bits.at(family.layers.compound, layer)) & (family.layers.folio[layer] != heads[index])
        taken = bits.where(other & bits.any_slot(slots))
        if taken.size:
            layer[taken] = split_layers(family, rows[index[taken]], layer[taken], slots[taken])
        used = bits.any_slot(slots)
        family.layers.compound[layer[used]] |= slots[used]
        family.layers.folio[layer[used]] = heads[index[used]]
    hand_out(family, folios)
    return folios


def split_layers(family: Family, rows: Ints, layers: Ints, slots: Boards) -> Ints:
    """Move slots of layers to layers of their own; nothing else changes for these frames. The regions are distinct.

    Shapes: (n,), (n,), (n, 8) -> (n,).
    """
    table = family.layers
    compound = bits.at(table.compound, layers) & slots
    folio = np.where(bits.any_slot(compound), table.folio[layers], 0).astype(np.int64)
    common, anon_vmas = table.common[layers], table.anon_vma[layers].astype(np.int64)
    new = family.new_layers(slots, np.zeros(layers.size, np.int64), folio, compound, common, anon_vmas)
    mapcounts = table.reach[layers][:, None] - family.missing.ptes[table.missing[layers]]
    _list_new(family, rows, layers, slots, new)
    _take_along(family, layers, new, slots)
    if family.holds_zeroes:
        table.zeroed[new] = table.zeroed[layers] & slots
        table.zeroed[layers] &= ~slots
    table.slots[layers] &= ~slots
    table.compound[layers] &= ~slots
    flags = bits.expand(slots) != 0
    partial = bits.where(table.missing[layers])
    family.missing.ptes[table.missing[layers[partial]]] *= ~flags[partial]
    lacking = np.where(flags, table.reach[new][:, None] - mapcounts, 0)
    some = bits.where(np.count_nonzero(lacking, axis=1))
    lists = family.missing_rows(new[some])  # first: it may move the table
    family.missing.ptes[lists] = lacking[some]
    return new


def _list_new(family: Family, rows: Ints, layers: Ints, slots: Boards, new: Ints) -> None:
    """Let each record of the rows' regions list the new layer for what it maps of these slots."""
    block = family.record_of.reshape(-1, family.n_sharers)[family.region_of(rows)].astype(np.int64).reshape(-1)
    chosen = one_a_record(block)
    records, owner = block[chosen], chosen // family.n_sharers
    of_record = layers[owner]
    for index, entry in family.walk(records):
        here = bits.where(family.entries.layer.take(entry) == of_record.take(index))
        index, entry = index.take(here), entry.take(here)
        mine = bits.at(family.entries.slots, entry)
        moved = mine & bits.at(slots, owner.take(index))
        listed = bits.where(bits.any_slot(moved))
        if listed.size < here.size:
            index, entry, mine, moved = index[listed], entry[listed], bits.at(mine, listed), bits.at(moved, listed)
        if listed.size:
            bits.put(family.entries.slots, entry, mine & ~moved)
            family.list_layer(records[index], new[owner[index]], moved)
            np.add.at(family.layers.reach, new[owner[index]], family.records.rows[records[index]])


def _take_along(family: Family, old: Ints, new: Ints, slots: Boards) -> None:
    """Move the long references of slots from layers to others."""
    if not family.pins.in_use:
        return
    held, table = family.layers.held[old] & slots, family.pins
    family.layers.held[new] = held
    family.layers.held[old] &= ~held
    at = np.full(family.layers.reach.size, -1)
    at[old] = np.arange(old.size)
    pins = table.live()
    pins = pins[at[table.layer[pins]] >= 0]
    where = at[table.layer[pins]]
    moved = bits.expand(held)[where, table.slot[pins]] != 0
    table.layer[pins[moved]] = new[where[moved]]


@dataclasses.dataclass(frozen=True)
class Relatives:
    """The mapped rows of the regions of n scanned rows: those that map just what the scanned row maps, and the others.

    Shapes: same (n, n_sharers) by sharer, the scanned row among them; index (k,) into the scanned rows and row (k,).
    """

    same: Bools
    index: Ints
    row: Ints

    def count(self, chosen: Bools) -> Ints:
        """Count for each region the rows that are the same, and those chosen among the others. Shapes: (k,) -> (n,)."""
        others = np.bincount(self.index[chosen], minlength=self.same.shape[0])
        return np.asarray(np.count_nonzero(self.same, axis=1) + others)


def relatives(family: Family, rows: Ints) -> Relatives:
    """List who else maps the regions of the rows, by record: rows that never diverged need no look each."""
    regions = family.region_of(rows)
    block = family.record_of.reshape(-1, family.n_sharers)[regions]
    same = block == family.record_of[rows][:, None]
    others = bits.where(~same & (block != 0))  # on a flat array: much faster than nonzero() on a table
    index = others // family.n_sharers
    return Relatives(same, index, others + ((regions - np.arange(rows.size)) * family.n_sharers)[index])


def by_record(records: Ints, judge: Callable[[Ints], npt.NDArray[Value]]) -> npt.NDArray[Value]:
    """Ask once for each record instead of once for each row: judge gets indices of records that are all distinct.

    Shapes: records (n,), judge (k,) -> (k,), result (n,).
    """
    chosen = one_a_record(records)
    judged = judge(chosen)
    verdict = np.zeros(int(records.max(initial=0)) + 1, judged.dtype)
    verdict[records[chosen]] = judged
    return verdict[records]


def one_a_record(records: Ints) -> Ints:
    """Choose one index for each distinct record, without sorting. Shapes: (n,) -> (k,)."""
    last = np.zeros(int(records.max(initial=0)) + 1, np.int64)
    last[records] = np.arange(records.size)
    return bits.where(last[records] == np.arange(records.size))


def maps_folio(family: Family, rows: Ints, folios: Ints) -> Bools:
    """Tell which rows map some subpage of their folio. Shapes: (n,), (n,) -> (n,)."""
    return by_record(
        family.record_of[rows].astype(np.int64),
        lambda chosen: bits.any_slot(_folio_slots(family, rows[chosen], folios[chosen])),
    )


def folio_slices(family: Family, rows: Ints, folios: Ints, size: int) -> Ints:
    """Count in how many slices of `size` slots each row maps subpages of its folio. Shapes: (n,), (n,) -> (n,)."""
    return by_record(
        family.record_of[rows].astype(np.int64),
        lambda chosen: bits.count_slices(_folio_slots(family, rows[chosen], folios[chosen]), size),
    )


def _folio_slots(family: Family, rows: Ints, folios: Ints) -> Boards:
    """Give the slots in which each row maps a subpage of its folio. Shapes: (n,), (n,) -> (n, 8)."""
    found, heads = bits.empty(rows.size), heads_of(family, folios)
    for index, entry in family.walk(family.record_of[rows].astype(np.int64)):
        layer = family.entries.layer[entry]
        near = bits.where(family.layers.folio[layer] == heads[index])
        hit = bits.at(family.entries.slots, entry[near]) & bits.at(family.layers.compound, layer[near])
        found[index[near]] |= hit & spans_of(family, folios[index[near]]) if family.runs else hit
    return found
