"""What processes do to their own memory by advice: give pages back, page them out, split a PMD, begin with a THP.

A PMD that becomes 512 ptes (MADV_NOHUGEPAGE or mprotect() of a part) is `thpsweep.model.mm.fault.split_pmds`.
"""

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Boards, Ints
from thpsweep.model.mm.cow import diverge
from thpsweep.model.mm.fault import folio_of, split_pmds
from thpsweep.model.mm.gup import kept_slots
from thpsweep.model.mm.huge_memory import map_private
from thpsweep.model.mm.swap import begin, hold_alone, read_in
from thpsweep.model.mm.unmap import drop_swap_ptes, leave, unmap_slots
from thpsweep.model.mm.vmscan import linked_folios, split_folios, swap_out, switch_away
from thpsweep.model.mm.zeroed import zeroed_slots
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family
from thpsweep.model.state.folios import by_folio, folio_boards, new_folios
from thpsweep.model.state.mm_slots import hand_out, shared_slots
from thpsweep.units import HPAGE_PMD_NR


def discard(family: Family, counts: Counts, rows: Ints, boards: Boards) -> None:
    """Give slots back (MADV_DONTNEED): unmapped in these rows only, and freed where no other process maps the page.

    The page table goes where all 512 slots are given back, in kernels that do so; else it stays, though it may be empty.
    A PMD is zapped where all of it goes, split first where a part goes. A folio of which a page is still mapped keeps all
    its pages. A zap costs what an exit's does, and is counted with it. The regions of the rows are distinct.
    Shapes: (n,), (n, 8).
    Source: mm/memory.c zap_pmd_range(), zap_present_ptes(), mm/huge_memory.c zap_huge_pmd(), mm/pt_reclaim.c
    reclaim_pt_is_enabled() (v6.18).
    """
    table, records = family.records, family.record_of[rows].astype(np.int64)
    mapped = table.present[records] | table.swapped[records] | table.zero[records]
    gone = boards & mapped
    whole = ~bits.any_slot(~boards) & (family.pmd[rows] | family.rules.frees_empty_tables)
    some = bits.any_slot(gone) | (whole & (records != 0))
    rows, records, gone, whole = rows[some], records[some], gone[some], whole[some]
    _count_zaps(family, counts, rows, gone, whole)
    leave(family, rows[whole])
    split_pmds(family, counts, rows[~whole])
    records = diverge(family, rows[~whole])
    unmap_slots(family, rows[~whole], records, gone[~whole])
    _drop_swapped(family, rows[~whole], records, gone[~whole])
    table.zero[records] &= ~gone[~whole]


def page_out(family: Family, counts: Counts, rows: Ints, boards: Boards) -> Boards:
    """Write slots to swap (MADV_PAGEOUT); give those that went: pages that another process maps too stay, silently, and so
    do pinned ones and folios with any long reference. A small page with a FOLL_GET is unmapped, and stays in the swap cache.

    For a subpage "another" is asked of its folio; one that a single PMD maps has one mapping. Old pages with a link are not
    written: those on the LRU are switched to their copies. A folio that goes in part, or of which a part is dead, is split
    into order-0 pages first, dead ones and zeroes freed; one that goes whole is not. Swap space never runs out, and no page
    is young enough to be kept. The regions of the rows are distinct.
    Shapes: (n,), (n, 8) -> (n, 8).
    Source: mm/madvise.c madvise_cold_or_pageout_pte_range(), mm/vmscan.c shrink_folio_list() (v6.18).
    """
    records = family.record_of[rows].astype(np.int64)
    shared = shared_slots(family, records)
    sole = family.pmd[rows] & (family.folios.mapped[folio_of(family, records)] == HPAGE_PMD_NR)
    shared[sole] = 0
    gone = boards & family.records.present[records] & ~shared & ~kept_slots(family, records)
    gone = _without_links(family, counts, rows, gone)
    records = family.record_of[rows].astype(np.int64)
    some = bits.any_slot(gone)
    out, rows, records = gone[some], rows[some], records[some]  # what no other row maps is in a record of its own
    if rows.size:
        split_pmds(family, counts, rows)
        split_folios(family, counts, _splits(family, records, out))
        out &= family.records.present[records]  # what a split found to be zeroes is gone
        counts.add("swap_outs", family.replicate_of(rows), _to_swap(family, rows, records, out))
        gone[some] = out
    return gone


def read_swapped(family: Family, counts: Counts, rows: Ints, boards: Boards) -> None:
    """Read slots: those that are in swap come back. Shapes: (n,) distinct, (n, 8)."""
    read_in(family, counts, rows, boards & family.records.swapped[family.record_of[rows]])


def read_empty(family: Family, counts: Counts, rows: Ints, boards: Boards) -> None:
    """Read slots: those that are empty get a pte to the zero page. Shapes: (n,) distinct, (n, 8).

    Source: mm/memory.c do_anonymous_page(), a read fault (v6.18).
    """
    table, records = family.records, family.record_of[rows].astype(np.int64)
    new = boards & ~(table.present[records] | table.swapped[records] | table.zero[records])
    some = bits.any_slot(new)
    counts.add("minor_faults", family.replicate_of(rows[some]), bits.count(new[some]))
    records = diverge(family, rows[some])  # first: it may move the table
    table.zero[records] |= new[some]


def populate_huge(family: Family, counts: Counts, rows: Ints) -> None:
    """Let the first touch of an empty row bring a folio of PMD order, mapped by a PMD and exclusive: THP at fault.

    Shapes: (n,). Raises: ValueError where a row maps something already: a fault there is one of 4 KiB.
    Source: mm/huge_memory.c do_huge_pmd_anonymous_page() (v6.18).
    """
    if family.record_of[rows].any():
        raise ValueError("THP at fault needs an empty page table")
    map_private(family, rows, bits.full(rows.size))
    counts.tally("huge_faults", family.replicate_of(rows))


def map_lone_subpages(family: Family, rows: Ints, boards: Boards) -> None:
    """Map in each empty slot a subpage of a folio of its own, whose other 511 pages are not mapped.

    mremap() leaves this where it gathers one page each of many pte-mapped THPs; nothing is counted. Rows are distinct.
    Shapes: (n,), (n, 8).
    Source: mm/mremap.c move_page_tables() (v6.18).
    """
    records, table = diverge(family, rows), family.records
    new = boards & ~(table.present[records] | table.swapped[records] | table.zero[records])
    index, slot = bits.pairs(new)
    one = np.ones(index.size, np.int64)
    lone = bits.from_pairs(index.size, np.arange(index.size), slot)
    folios = new_folios(family, family.region_of(rows[index]), one)
    layers = family.new_layers(lone, one, folios, lone, np.zeros(index.size, bool), family.own_anon_vmas(rows[index]))
    rank = np.arange(index.size) - np.searchsorted(index, index)
    for step in range(int(rank.max(initial=-1)) + 1):
        part = bits.where(rank == step)  # a record's list is extended one entry at a time
        family.list_layer(records[index[part]], layers[part], lone[part])
    table.present[records] |= new
    table.exclusive[records] |= new
    family.adjust("compound_ptes", rows[index], one)
    hand_out(family, folios)


def _count_zaps(family: Family, counts: Counts, rows: Ints, gone: Boards, whole: np.ndarray) -> None:
    """Count the ptes and PMD entries that are cleared: a PMD that goes in part is ptes by then."""
    records, replicates = family.record_of[rows].astype(np.int64), family.replicate_of(rows)
    pmds = whole & family.pmd[rows]
    large = bits.count(gone & family.compound_slots(records))
    small = bits.count(gone & (family.records.present[records] | family.records.zero[records])) - large
    counts.add("exit_ptes_small", replicates, small)
    counts.add("exit_ptes_compound", replicates, np.where(pmds, 0, large))
    counts.add("exit_pmds", replicates, pmds.astype(np.int64))


def _without_links(family: Family, counts: Counts, rows: Ints, boards: Boards) -> Boards:
    """Switch the mappers of old pages that are on the LRU, and leave out all that links refer to. Shapes: (n,), (n, 8)."""
    if not family.linking:
        return boards
    boards, large = boards.copy(), linked_folios(family)
    moving: list[tuple[Ints, Ints]] = []
    for index, entry in list(family.walk(family.record_of[rows].astype(np.int64))):
        layer = family.entries.layer[entry].astype(np.int64)
        mine, link = family.entries.slots[entry] & boards[index], family.layers.link[layer] != 0
        bound = np.where(link[:, None], mine, np.uint64(0))
        of_folio = folio_boards(family, layer, lambda folios: np.isin(folios, large))
        bound |= mine & family.layers.compound[layer] & of_folio
        boards[index] &= ~bound
        deferred = bits.where(link & ~family.layers.isolated[layer])
        which, slot = bits.pairs(mine[deferred])
        moving.append((layer[deferred[which]], slot))
    if moving:
        switch_away(family, counts, *(np.concatenate(part) for part in zip(*moving, strict=True)))
    return boards


def _to_swap(family: Family, rows: Ints, records: Ints, boards: Boards) -> Ints:
    """Put pages in swap that only these rows map: order-0 ones keep their place, those of a folio that goes whole get one.

    Shapes: (n,), (n,), (n, 8) -> pages written (n,).
    """
    begin(family)
    large = boards & family.compound_slots(records)
    zeroed, written = zeroed_slots(family, records) & large, bits.count(large)
    for index, entry in list(family.walk(records)):
        layer = family.entries.layer[entry].astype(np.int64)
        gone = family.entries.slots[entry] & (boards & ~large)[index]
        some = bits.where(bits.any_slot(gone))
        written[index[some]] += swap_out(family, layer[some], gone[some], rows[index[some]])
    unmap_slots(family, rows, records, large)
    hold_alone(family, records, np.ones(rows.size, np.int64), large, zeroed, family.own_anon_vmas(rows))
    return written


def _drop_swapped(family: Family, rows: Ints, records: Ints, boards: Boards) -> None:
    """Drop swap ptes of rows whose records are their own."""
    for index, entry in family.walk(records) if family.swaps else ():
        gone = family.entries.swapped[entry] & boards[index]
        family.entries.swapped[entry] &= ~gone
        drop_swap_ptes(family, rows[index], family.entries.layer[entry].astype(np.int64), gone)
    family.records.swapped[records] &= ~boards


def _splits(family: Family, records: Ints, out: Boards) -> Ints:
    """List the folios of which some but not all pages are on the boards. Shapes: (n,), (n, 8) -> (k,)."""
    index, entry = (np.concatenate(part) for part in zip(*family.walk(records), strict=True))
    layer = family.entries.layer[entry].astype(np.int64)
    mine = family.entries.slots[entry] & family.layers.compound[layer]
    _, folio, leaving = by_folio(family, layer, mine & out[index])
    numbers, which = np.unique(folio, return_inverse=True)
    left = (1 << family.folios.order[numbers].astype(np.int64)) - np.bincount(which, weights=leaving)
    return np.asarray(numbers[left > 0])
