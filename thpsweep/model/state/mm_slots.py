"""Which mms own the two MM slots of a large folio: what the kernel knows of who maps it, and all that it knows.

The first two mms that map a folio get a slot; a third gets none. The folio is "maybe mapped shared" from the moment when a
second mm maps it until one slot owns all its mappings: a survivor without a slot is taken for one of several for ever.
Here a slot counts all mappings of its mm; the kernel's counts those since the mm took it, which differs only for an mm that
mapped part of the folio without a slot, and then more of it.
Source: include/linux/rmap.h folio_add_large_mapcount(), folio_sub_large_mapcount() (v6.15 and later);
20250224165603.1434404-1-david@redhat.com.
"""

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Boards, Bools, Ints
from thpsweep.model.state.family import Family
from thpsweep.model.state.folios import folio_boards, folio_ptes, folios_at, heads_of, spans_of
from thpsweep.model.state.rules import Sharing


def hand_out(family: Family, folios: Ints) -> None:
    """Give new folios' slots to the first two sharers that map them, in the order of their numbers. Shapes: (n,)."""
    table = family.folios
    counted = np.zeros(folios.size, np.int64)
    left = np.arange(folios.size)
    for sharer in range(family.n_sharers):
        if not left.size:
            return
        some = folios[left]
        rows = table.region[some].astype(np.int64) * family.n_sharers + sharer
        ptes = folio_ptes(family, family.record_of[rows].astype(np.int64), some)
        counted[left] += ptes
        second = (ptes > 0) & (table.mm_0[some] != 0)
        table.mm_1[some[second]], table.maybe_shared[some[second]] = sharer + 1, True
        table.mm_0[some[(ptes > 0) & ~second]] = sharer + 1
        left = left[~second & (counted[left] < table.mapped[some])]


def claim(family: Family, folios: Ints, sharers: Ints) -> None:
    """Let sharers that begin to map folios which others map take free slots. Shapes: (n,), (n,).

    Pairs may repeat; where several sharers begin to map one folio, the lower number comes first.
    """
    table = family.folios
    order = np.lexsort((sharers, folios))
    folios, sharers = folios[order], sharers[order]
    for _ in range(2):
        has_one = (table.mm_0[folios] == sharers + 1) | (table.mm_1[folios] == sharers + 1)
        wanting = ~has_one & ((table.mm_0[folios] == 0) | (table.mm_1[folios] == 0))
        folios, sharers = folios[wanting], sharers[wanting]
        if not folios.size:
            return
        some, first = np.unique(folios, return_index=True)
        empty = table.mm_0[some] == 0
        table.mm_0[some[empty]] = sharers[first[empty]] + 1
        table.mm_1[some[~empty]] = sharers[first[~empty]] + 1
        table.maybe_shared[some] = True


def settle(family: Family) -> None:
    """Free the slots of mms that no longer map a folio, and see whether one slot now owns all mappings.

    Looks at the folios that have lost mappings since the last call.
    """
    if not family.unsettled:
        return
    table = family.folios
    touched = np.zeros(table.mapped.size, bool)
    for some in family.unsettled:
        touched[some] = True
    family.unsettled.clear()
    folios = bits.where(touched & (table.mapped > 0))
    owners = np.concatenate((table.mm_0[folios], table.mm_1[folios])).astype(np.int64)
    some = bits.where(owners)
    held = folios[some % max(folios.size, 1)]
    rows = table.region[held].astype(np.int64) * family.n_sharers + owners[some] - 1
    records = family.record_of[rows].astype(np.int64)
    left = bits.where((table.mapped[held] <= 1 << table.order[held]) | ~_begins_with(family, records, held))
    held, some = held[left], some[left]
    ptes = folio_ptes(family, records[left], held)
    table.maybe_shared[held[ptes == table.mapped[held]]] = False
    over, first = ptes == 0, some < folios.size
    table.mm_0[held[over & first]] = 0
    table.mm_1[held[over & ~first]] = 0


def _begins_with(family: Family, records: Ints, folios: Ints) -> Bools:
    """Tell whose first entry maps the folio: a quick look that settles most. Shapes: (n,), (n,) -> (n,)."""
    entry = family.records.head[records]
    layer = family.entries.layer[entry]
    board = bits.at(family.entries.slots, entry) & bits.at(family.layers.compound, layer)
    if family.runs:
        board &= spans_of(family, folios)
    return np.asarray(bits.any_slot(board) & (family.layers.folio[layer] == heads_of(family, folios)))


def shared_slots(family: Family, records: Ints, sharing: Sharing | None = None) -> Boards:
    """Give the slots that count as mapped by several, by the rule of the family's kernel unless another is named.

    A small frame is shared if its mapcount is above 1. Of a large folio the kernel asks each page, guesses by the first one,
    or asks the MM slots (`Sharing`); a folio with a single mapping is exclusive, whatever the slots say.
    Source: mm/khugepaged.c hpage_collapse_scan_pmd() (v6.1), include/linux/mm.h folio_likely_mapped_shared() (v6.12),
    folio_maybe_mapped_shared() (v6.15 and later).
    Shapes: (n,) -> (n, 8).
    """
    sharing = family.rules.sharing if sharing is None else sharing
    boards = bits.empty(records.size)
    for index, entry in family.walk(records):
        layer = family.entries.layer[entry].astype(np.int64)
        slots, compound = bits.at(family.entries.slots, entry), bits.at(family.layers.compound, layer)
        if sharing == Sharing.PAGE:
            boards[index] |= family.multi_mapped(layer, slots)
            continue
        boards[index] |= family.multi_mapped(layer, slots & ~compound)
        if compound.any():
            shared = _guessed(family, layer) if sharing == Sharing.FIRST_PAGE else _by_mm_ids(family, layer)
            boards[index] |= slots & compound & shared
    return boards


def _by_mm_ids(family: Family, layers: Ints) -> Boards:
    table = family.folios
    return folio_boards(family, layers, lambda folios: table.maybe_shared[folios] & (table.mapped[folios] > 1))


def _guessed(family: Family, layers: Ints) -> Boards:
    """Give the slots of layers whose folio has more mappings than pages, or a first page with more than one mapping.

    A PMD stands for 512 mappings here and for one in the kernel, which asks for it by itself: with any other mapping beside
    it there are more than pages. Shapes: (n,) -> (n, 8).
    """
    table, every = family.folios, family.layers.live()
    heads, compound = family.layers.folio[every].astype(np.int64), family.layers.compound[every]
    some = bits.where(np.isin(heads, family.layers.folio[layers]) & bits.any_slot(compound))
    every, heads = every[some], heads[some]
    index, slot = bits.pairs(family.multi_mapped(every, compound[some]))
    folios = folios_at(family, every[index], slot)
    first = slot == (folios - heads[index]) << table.order[folios].astype(np.int64)
    multi = folios[first]
    return folio_boards(
        family, layers, lambda f: (table.mapped[f] > 1 << table.order[f].astype(np.int64)) | np.isin(f, multi)
    )
