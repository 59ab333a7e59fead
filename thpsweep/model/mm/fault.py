"""Writes of one tick: first touch, copy-on-write, reuse, PMD split, judged by the sharing at the start of the step.

Everything is done by event (row, slot), not by board: a tick writes few slots of each of many rows.
"""

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Bools, Ints
from thpsweep.model.mm.cow import diverge
from thpsweep.model.mm.slots import Events, entries_of, indices
from thpsweep.model.mm.swap import take_back, written
from thpsweep.model.mm.unmap import unmap
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family
from thpsweep.model.state.folios import folios_at
from thpsweep.model.state.rules import Reuse
from thpsweep.units import HPAGE_PMD_NR


def write(family: Family, counts: Counts, keys: Ints) -> None:
    """Let rows write slots. Shapes: keys (n,) = row * 512 + slot, ascending and distinct.

    A write over the zero page is a copy to the kernel, too (wp_page_copy() clears instead), and counted with them.
    Source: mm/memory.c do_wp_page(), wp_can_reuse_anon_folio(), do_anonymous_page(), mm/huge_memory.c
    do_huge_pmd_wp_page() (a shared PMD is split and one base page copied since 5.8, 20200416160026.16538-8).
    """
    events = Events(keys >> 9, keys & (HPAGE_PMD_NR - 1))
    if family.swaps:
        take_back(family, counts, events)
    events, record = _faulting(family, counts, events)
    if family.write_faults is not None:
        np.add.at(family.write_faults, events.row, 1)
    if not events.row.size:
        return
    record = _own_records(family, counts, events, record)
    entry = entries_of(family, events, record)
    layer = family.entries.layer.take(entry).astype(np.int64)
    mapcount = family.mapcounts(layer, events.slot)
    copy = _copied(family, events, layer, mapcount)
    absent = entry == 0
    swapped = zero = absent
    if absent.any():
        zero = absent & events.of(family.records.zero, record)
        swapped = absent & events.of(family.records.swapped, record)
    _count(family, counts, events, copy | zero, ~(absent | copy), absent & ~(swapped | zero))
    if absent.any() and swapped.any():
        asked = bits.where(swapped)
        mine = events.at(asked)
        written(family, counts, mine, entries_of(family, mine, record[asked], family.entries.swapped))
    some = indices(copy)
    broken = unmap(family, events.where(copy), entry[some], mapcount[some])
    if broken.size:
        counts.tally("links_broken", family.replicate_of(broken))
    map_new(family, events, record, copy | absent)
    if absent.any():
        events.clear(family.records.swapped, record, swapped)
        events.clear(family.records.zero, record, zero)
        events.set(family.records.present, record, absent)
    events.set(family.records.exclusive, record, np.ones(record.size, bool))


def _faulting(family: Family, counts: Counts, events: Events) -> tuple[Events, Ints]:
    """Drop writes of the dead and to pages that are writable already, and those that one PMD reuse settles.

    Shapes: -> (events left, record of each (n,)).
    """
    if not family.alive.all():
        events = events.where(family.alive[family.replicate_of(events.row), events.row % family.n_sharers])
    record = family.record_of.take(events.row).astype(np.int64)
    left = ~((family.records.rows.take(record) == 1) & events.of(family.records.exclusive, record))
    events, record = events.where(left), record[indices(left)]
    huge = family.pmd.take(events.row)
    if huge.any():
        rows = distinct(events.row[huge])
        settled = rows[_reuse_pmds(family, counts, rows)]
        left = ~np.isin(events.row, settled)
        events, record = events.where(left), record[indices(left)]
    return events, record


def _own_records(family: Family, counts: Counts, events: Events, record: Ints) -> Ints:
    """Let the rows diverge and be mapped by ptes; give the record of each event then. Shapes: (n,) -> (n,)."""
    changing = (family.records.rows.take(record) != 1) | family.pmd.take(events.row)
    if not changing.any():
        return record
    rows = distinct(events.row[changing])
    shared = (family.records.rows[family.record_of[rows]] > 1) & ~family.pmd[rows]
    counts.tally("tables_unshared", family.replicate_of(rows[shared]))
    split_pmds(family, counts, rows)
    diverge(family, rows)
    return family.record_of.take(events.row).astype(np.int64)


def distinct(numbers: Ints) -> Ints:
    """Drop repetitions from numbers that ascend, or come in runs."""
    first = np.ones(numbers.size, bool)
    np.not_equal(numbers[1:], numbers[:-1], out=first[1:])
    return numbers[first]


def _reuse_pmds(family: Family, counts: Counts, rows: Ints) -> Bools:
    """Make the PMDs of rows writable where no other process maps the folio; tell for which rows that was all."""
    records = family.record_of[rows].astype(np.int64)
    folios = folio_of(family, records)
    alone = (family.folios.mapped[folios] == HPAGE_PMD_NR) & (family.folios.held[folios] == 0)
    family.records.exclusive[records[alone]] = bits.FULL
    counts.add("reuse_pmds", family.replicate_of(rows[alone]), 1)
    return np.asarray(alone)


def folio_of(family: Family, records: Ints) -> Ints:
    """Give the folio that each record maps subpages of (a PMD-mapped row maps just one). Shapes: (n,) -> (n,)."""
    folios = np.zeros(records.size, np.int64)
    for index, entry in family.walk(records):
        layer = family.entries.layer[entry]
        hit = bits.any_slot(family.entries.slots[entry] & family.layers.compound[layer])
        folios[index[hit]] = family.layers.folio[layer[hit]]
    return folios


def split_pmds(family: Family, counts: Counts, rows: Ints) -> None:
    """Map by ptes what a PMD mapped, in those of the distinct rows that have one; the folio itself stays whole.

    Source: mm/huge_memory.c __split_huge_pmd() (by a write, MADV_NOHUGEPAGE or mprotect() of a part, ...; v6.18).
    """
    huge = rows[family.pmd[rows]]
    if huge.size:
        family.pmd[huge] = False
        counts.add("pmd_splits", family.replicate_of(huge), 1)
        family.adjust("pmds", huge, np.full(huge.size, -1))
        family.adjust("compound_ptes", huge, np.full(huge.size, HPAGE_PMD_NR))


def _copied(family: Family, events: Events, layer: Ints, mapcount: Ints) -> Bools:
    """Tell which writes copy: the frame has more mappings, or it is a subpage and others may map its folio.

    By MM ids the last mapped subpage of all is copied too: that frees the folio.
    Source: mm/memory.c __wp_can_reuse_large_anon_folio(), folio_large_mapcount() <= 1 (v6.15).
    """
    # An old page with a link is never reused: its copy would keep the old content. Nor is a page that has a long reference,
    # or lies in the swap cache.
    copy, single = mapcount > 1, bits.where(mapcount == 1)
    if not single.size:
        return copy
    kept = family.layers.link[layer[single]] != 0
    if family.pins.in_use:
        kept |= events.at(single).of(family.layers.held, layer[single])
    if family.swaps:
        kept |= family.away_counts(layer[single], events.slot[single]) > 0
    copy[single] = kept
    large = single[events.at(single).of(family.layers.compound, layer[single])]
    if large.size:
        folio = folios_at(family, layer[large], events.slot[large])
        mapped = family.folios.mapped[folio]
        copy[large] = _large_copied(family, folio, mapped.astype(np.int64))
    return np.asarray(copy)


def _large_copied(family: Family, folio: Ints, mapped: Ints) -> Bools:
    """Tell which writes copy a subpage that has one mapping, by its folio and the mappings of that. Shapes: each (n,)."""
    kept = family.folios.held[folio] > 0
    if family.rules.reuse == Reuse.MM_IDS:
        return np.asarray((mapped == 1) | family.folios.maybe_shared[folio] | kept)
    return np.asarray((mapped > 1) | kept) if family.rules.reuse == Reuse.LAST else np.ones(folio.size, bool)


def _count(family: Family, counts: Counts, events: Events, copy: Bools, reuse: Bools, touched: Bools) -> None:
    for name, kind in (
        ("cow_faults", copy),
        ("reuse_faults", reuse),
        ("minor_faults", touched),
    ):
        counts.total[name] += family.sums(events.row, kind)


def map_new(family: Family, events: Events, record: Ints, new: Bools) -> None:
    """Map new order-0 frames in the layer that only the event's record lists, making it where there is none.

    Events of a record come one after the other. Shapes: record (n,), one an event.
    """
    events, record = events.where(new), record[indices(new)]
    if not record.size:
        return
    own, layer, lacking = _own_layers(family, record)
    if lacking.any():
        _make_own_layers(family, record[lacking], events.row[lacking])
        own, layer, _ = _own_layers(family, record)
    every = np.ones(record.size, bool)
    events.set(family.layers.slots, layer, every)
    events.set(family.entries.slots, own, every)
    made = family.sums(events.row, every)
    family.gauge["small_frames"] += made
    family.gauge["small_ptes"] += made


def _own_layers(family: Family, record: Ints) -> tuple[Ints, Ints, Bools]:
    """Give the entry for each record's own frames, its layer, and where there is none that is its own alone."""
    own = family.records.own.take(record).astype(np.int64)
    layer = family.entries.layer.take(own).astype(np.int64)
    lacking = (own == 0) | family.layers.common.take(layer)
    if family.linking:
        lacking |= family.layers.link.take(layer) != 0
    return own, layer, lacking


def _make_own_layers(family: Family, records: Ints, rows: Ints) -> None:
    """Make an empty layer for each of the records, which come in runs, that only it lists. Shapes: (n,), (n,)."""
    first = np.concatenate(([True], np.diff(records) != 0))
    records, anon_vmas = records[first], family.own_anon_vmas(rows[first])
    n = records.size
    none = np.zeros(n, np.int64)
    layer = family.new_layers(bits.empty(n), none + 1, none, bits.empty(n), np.zeros(n, bool), anon_vmas)
    family.records.own[records] = family.list_behind(records, layer, bits.empty(n))
