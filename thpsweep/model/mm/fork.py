"""Fork and exit. A child maps what its parent maps, but for what is pinned, of which it gets copies."""

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Boards, Ints
from thpsweep.model.mm.fault import map_new, split_pmds
from thpsweep.model.mm.folding import split_layers
from thpsweep.model.mm.gup import let_go, unshareable
from thpsweep.model.mm.links import forward
from thpsweep.model.mm.slots import Events
from thpsweep.model.mm.unmap import count_forms, leave, shift_mappings, shift_missing
from thpsweep.model.mm.zeroed import mark_mapped, zeroed_slots
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family
from thpsweep.model.state.folios import by_folio
from thpsweep.model.state.mm_slots import claim


def fork(family: Family, counts: Counts, replicate: int, parent: int, child: int) -> None:
    """Let `child` (not alive) map all that `parent` maps; every page becomes shared and write-protected.

    An exclusive page that is pinned stays the parent's, who goes on writing it; the child gets a copy. A PMD over one is
    split first. Source: mm/memory.c copy_page_range(), copy_present_ptes(), mm/huge_memory.c copy_huge_pmd() (v6.18).
    """
    rows, new_rows = family.rows_of(replicate, parent), family.rows_of(replicate, child)
    mapped = family.record_of[rows] != 0
    rows, new_rows = rows[mapped], new_rows[mapped]
    pinned = unshareable(family, rows) if family.pins.in_use else bits.empty(rows.size)
    some = bits.where(bits.any_slot(pinned))
    _set_apart(family, counts, rows[some], pinned[some])
    count_forms(family, counts, "fork", replicate, rows)
    records = _share(family, rows, pinned)
    _map(family, rows, new_rows, records, child)
    family.records.exclusive[family.record_of[rows]] &= pinned
    family.anon_vmas.fork(replicate, parent, child)
    family.alive[replicate, child] = True
    family.register(replicate, child)
    zeroed = zeroed_slots(family, family.record_of[rows[some]].astype(np.int64))
    _copy(family, counts, new_rows[some], pinned[some])
    mark_mapped(family, new_rows[some], zeroed & pinned[some])
    counts.add_one("forks", replicate)
    forward(family, new_rows)


def exit(family: Family, counts: Counts, replicate: int, sharer: int) -> None:
    """End a sharer: its mappings go, and frames that are no longer mapped are freed; so do its FOLL_PINs.

    Source: mm/memory.c unmap_vmas(), zap_present_ptes(), mm/huge_memory.c zap_huge_pmd().
    """
    rows = family.rows_of(replicate, sharer)
    rows = rows[family.record_of[rows] != 0]
    count_forms(family, counts, "exit", replicate, rows)
    leave(family, rows)
    let_go(family, rows)
    family.alive[replicate, sharer] = False
    counts.add_one("exits", replicate)


def _set_apart(family: Family, counts: Counts, rows: Ints, pinned: Boards) -> None:
    """Give pages that the child will not map generations of their own: they were never shared. Shapes: (n,), (n, 8)."""
    split_pmds(family, counts, rows)
    for index, entry in list(family.walk(family.record_of[rows].astype(np.int64))):
        layer, slots = family.entries.layer[entry].astype(np.int64), family.entries.slots[entry] & pinned[index]
        some = bits.where(bits.any_slot(slots) & family.other_slots(layer, slots))
        if some.size:
            split_layers(family, rows[index[some]], layer[some], slots[some])


def _share(family: Family, rows: Ints, pinned: Boards) -> Ints:
    """Give the child's records: the parent's own, or a copy without what is pinned. Shapes: (n,), (n, 8) -> (n,)."""
    records, table = family.record_of[rows].astype(np.int64), family.records
    apart = bits.where(bits.any_slot(pinned))
    old, new = records[apart], table.take(apart.size)
    table.present[new], table.swapped[new] = table.present[old] & ~pinned[apart], table.swapped[old]
    table.zero[new] = table.zero[old]
    for index, entry in family.walk(old):
        slots = family.entries.slots[entry] & ~pinned[apart[index]]
        used = bits.any_slot(slots | family.entries.swapped[entry]) if family.swaps else bits.any_slot(slots)
        listed = family.list_layer(new[index[used]], family.entries.layer[entry[used]].astype(np.int64), slots[used])
        if family.swaps:
            family.entries.swapped[listed] = family.entries.swapped[entry[used]]
    records[apart] = new
    table.rows[records] += 1
    return records


def _map(family: Family, rows: Ints, new_rows: Ints, records: Ints, child: int) -> None:
    """Let the child's rows map their records."""
    family.record_of[new_rows], family.pmd[new_rows] = records, family.pmd[rows]
    for index, entry in family.walk(records):
        layer = family.entries.layer[entry].astype(np.int64)
        family.layers.common[layer] = True
        family.layers.reach[layer] += 1
        shift_missing(family, layer, entry, +1)
        if family.swaps:
            some = bits.where(bits.any_slot(family.entries.swapped[entry]))
            family.layers.exclusive[layer[some]] &= ~family.entries.swapped[entry[some]]
            family.missing.ptes[family.away_rows(layer[some])] += bits.expand(family.entries.swapped[entry[some]])
        shift_mappings(family, new_rows[index], layer, entry, +1)
        _, folios, _ = by_folio(family, layer, family.entries.slots[entry] & family.layers.compound[layer])
        claim(family, folios, np.full(folios.size, child))
    family.adjust("pmds", new_rows, family.pmd[new_rows].astype(np.int64))


def _copy(family: Family, counts: Counts, rows: Ints, boards: Boards) -> None:
    """Map copies of pinned pages in the child's rows, whose records are their own. Shapes: (n,), (n, 8)."""
    if rows.size:
        counts.add("fork_copies", family.replicate_of(rows), bits.count(boards))
        index, slot = bits.pairs(boards)
        records = family.record_of[rows].astype(np.int64)
        map_new(family, Events(rows[index], slot), records[index], np.ones(index.size, bool))
        family.records.present[records] |= boards
        family.records.exclusive[records] |= boards
