"""Put one folio of PMD order in the place of small frames, in every row that maps them."""

import dataclasses
from collections.abc import Callable

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Boards, Bools, Ints
from thpsweep.model.family import Family
from thpsweep.model.mechanisms.base import Sources
from thpsweep.model.mm_slots import hand_out


def fold(family: Family, found: Sources) -> Ints:
    """Replace the sources of each row's region by the subpages of a new folio. Shapes: -> folio (n,).

    No row changes: the frames keep their layers and slots, only their form changes.
    """
    rows = found.rows
    folios = family.new_folios(family.region_of(rows), found.ptes)
    family.adjust("small_frames", rows, -found.pages)
    family.adjust("small_ptes", rows, -found.ptes)
    family.adjust("compound_ptes", rows, found.ptes)
    for index, entry in family.walk(family.record_of[rows].astype(np.int64)):
        layer = family.entries.layer[entry].astype(np.int64)
        slots = family.entries.slots[entry]
        taken = np.flatnonzero(bits.any_slot(family.layers.compound[layer]) & bits.any_slot(slots))
        for other in taken:
            layer[other] = split_layer(family, int(rows[index[other]]), int(layer[other]), slots[other])
        used = bits.any_slot(slots)
        family.layers.compound[layer[used]] |= slots[used]
        family.layers.folio[layer[used]] = folios[index[used]]
    hand_out(family, folios)
    return folios


def split_layer(family: Family, row: int, layer: int, slots: Boards) -> int:
    """Move slots of a layer to a layer of their own; nothing else changes for these frames."""
    region = row // family.n_sharers
    in_region = family.record_of[region * family.n_sharers : (region + 1) * family.n_sharers]
    records = np.unique(in_region[in_region != 0]).astype(np.int64)
    compound = family.layers.compound[[layer]] & slots
    folio = family.layers.folio[[layer]].astype(np.int64) * bits.any_slot(compound)
    none = np.zeros(1, np.int64)
    new = family.new_layers(slots[None], none, folio, compound, family.layers.common[[layer]])
    reach, mapped = 0, np.zeros(bits.expand(slots[None]).shape[1], np.int64)
    for index, entry in family.walk(records):
        listed = np.flatnonzero(family.entries.layer[entry] == layer)
        moved = family.entries.slots[entry[listed]] & slots
        listed, moved = listed[bits.any_slot(moved)], moved[bits.any_slot(moved)]
        if listed.size:
            family.entries.slots[entry[listed]] &= ~moved
            owners = records[index[listed]]
            family.list_layer(owners, np.full(listed.size, new[0]), moved)
            weight = family.records.rows[owners].astype(np.int64)
            reach += int(weight.sum())
            mapped += (bits.expand(moved) * weight[:, None]).sum(axis=0)
    family.layers.slots[layer] &= ~slots
    family.layers.compound[layer] &= ~slots
    _take_along(family, layer, int(new[0]), slots)
    if family.layers.missing[layer]:
        family.missing.ptes[family.layers.missing[layer], np.flatnonzero(bits.expand(slots[None])[0])] = 0
    family.layers.reach[new] = reach
    lacking = np.where(bits.expand(slots[None])[0] != 0, reach - mapped, 0)
    if lacking.any():
        lists = family.missing_rows(new)
        family.missing.ptes[lists[0]] = lacking
    return int(new[0])


def _take_along(family: Family, old: int, new: int, slots: Boards) -> None:
    """Move the long references of slots from one layer to another."""
    held = family.layers.held[old] & slots
    if held.any():
        family.layers.held[new], family.layers.held[old] = held, family.layers.held[old] & ~slots
        pins = family.pins.live()
        pins = pins[family.pins.layer[pins] == old]
        moved = bits.expand(held[None])[0][family.pins.slot[pins]] != 0
        family.pins.layer[pins[moved]] = new


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
    index, sharer = np.nonzero(~same & (block != 0))
    return Relatives(same, index, regions[index] * family.n_sharers + sharer)


def by_record(records: Ints, judge: Callable[[Ints], Bools]) -> Bools:
    """Ask once for each record instead of once for each row: judge gets indices of records that are all distinct.

    Shapes: records (n,), judge (k,) -> (k,), result (n,).
    """
    if not records.size:
        return np.zeros(0, bool)
    chosen = one_a_record(records)
    verdict = np.zeros(int(records.max()) + 1, bool)
    verdict[records[chosen]] = judge(chosen)
    return verdict[records]


def one_a_record(records: Ints) -> Ints:
    """Choose one index for each distinct record, without sorting. Shapes: (n,) -> (k,)."""
    last = np.zeros(int(records.max(initial=0)) + 1, np.int64)
    last[records] = np.arange(records.size)
    return np.flatnonzero(last[records] == np.arange(records.size))


def maps_folio(family: Family, rows: Ints, folios: Ints) -> Bools:
    """Tell which rows map some subpage of their folio. Shapes: (n,), (n,) -> (n,)."""
    records = family.record_of[rows].astype(np.int64)

    def judge(chosen: Ints) -> Bools:
        found = np.zeros(chosen.size, bool)
        for index, entry in family.walk(records[chosen]):
            layer = family.entries.layer[entry]
            near = np.flatnonzero(family.layers.folio[layer] == folios[chosen[index]])
            hit = family.entries.slots[entry[near]] & family.layers.compound[layer[near]]
            found[index[near]] |= bits.any_slot(hit)
        return found

    return by_record(records, judge)
