"""Large folios of any order: which one holds a subpage, who maps it, how one begins and ends.

Below PMD order a region's folios of one order stand in a run, a folio for each aligned block; a layer names the first of
the run, and a subpage's slot tells the rest. At PMD order a run is one folio.
"""

from collections.abc import Callable

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Boards, Bools, Ints
from thpsweep.model.state.family import Family
from thpsweep.units import HPAGE_PMD_NR, HPAGE_PMD_ORDER


def heads_of(family: Family, folios: Ints) -> Ints:
    """Give the first of each folio's run, as its layers name it. Shapes: (n,) -> (n,)."""
    return family.folios.head.take(folios).astype(np.int64) if family.runs else folios


def spans_of(family: Family, folios: Ints) -> Boards:
    """Give the slots of its region that each folio covers. Shapes: (n,) -> (n, 8)."""
    return bits.spans(family.folios.order[folios], folios - family.folios.head[folios])


def folios_at(family: Family, layers: Ints, slots: Ints) -> Ints:
    """Give the folios of subpages (layer, slot); 0, or any number, where it is none. Shapes: (n,), (n,) -> (n,)."""
    heads = family.layers.folio.take(layers).astype(np.int64)
    return heads + (slots >> family.folios.order.take(heads)) if family.runs else heads


def folio_boards(family: Family, layers: Ints, holds: Callable[[Ints], Bools]) -> Boards:
    """Give the slots of each layer whose folio something holds for; the caller leaves out what is no subpage.

    Shapes: (n,), holds (k,) -> (k,), result (n, 8).
    """
    heads = family.layers.folio.take(layers).astype(np.int64)
    if not family.runs:
        return np.where(holds(heads)[:, None], bits.FULL, np.uint64(0))
    boards, orders = bits.empty(layers.size), family.folios.order.take(heads)
    for order in np.unique(orders).tolist():
        some = bits.where(orders == order)
        run = heads[some, None] + np.arange(HPAGE_PMD_NR >> order)
        held = holds(run.reshape(-1)).reshape(run.shape)
        boards[some] = bits.pack(np.repeat(held, 1 << order, axis=1))
    return boards


def by_folio(family: Family, layers: Ints, boards: Boards) -> tuple[Ints, Ints, Ints]:
    """List the folios of subpages on boards: (index into layers, folio, how many). Shapes: (n,), (n, 8) -> each (k,)."""
    heads = family.layers.folio.take(layers).astype(np.int64)
    if not family.runs:
        pages = bits.count(boards)
        some = bits.where(pages)
        return some, heads[some], pages[some]
    orders, parts = family.folios.order.take(heads), []
    for order in np.unique(orders).tolist():
        some = bits.where(orders == order)
        pages = bits.by_block(boards[some], order)
        which, block = np.nonzero(pages)
        parts.append((some[which], heads[some[which]] + block, pages[which, block]))
    index, folios, counts = (np.concatenate(part) for part in zip(*parts, strict=True)) if parts else (layers,) * 3
    return index, folios, counts


def folio_ptes(family: Family, records: Ints, folios: Ints) -> Ints:
    """Count the slots that each record maps to the given folio. Shapes: (n,), (n,) -> (n,)."""
    counts, heads = np.zeros(records.size, np.int64), heads_of(family, folios)
    for index, entry in family.walk(records):
        layer = family.entries.layer[entry]
        same = (family.layers.folio[layer] == heads[index]) & (heads[index] != 0)
        hit = bits.at(family.entries.slots, entry[same]) & bits.at(family.layers.compound, layer[same])
        if family.runs:
            hit &= spans_of(family, folios[index[same]])
        counts[index[same]] += bits.count(hit)
    return counts


def ptes_by_order(family: Family) -> dict[int, Ints]:
    """Count the ptes of subpages of folios of each order below PMD order that ever was. Shapes: -> (n_replicates,)."""
    folios = family.folios.live() if family.runs else np.zeros(0, np.int64)
    replicates, orders = family.folios.region[folios] // family.n_regions, family.folios.order[folios]
    return {
        order: np.bincount(
            replicates[orders == order], family.folios.mapped[folios[orders == order]], family.n_replicates
        ).astype(np.int64)
        for order in sorted(family.runs)
    }


def new_folios(family: Family, regions: Ints, mapped: Ints, order: int = HPAGE_PMD_ORDER, block: int = 0) -> Ints:
    """Allocate one folio a region, mapped so many times, for an aligned block of it; below PMD order regions are
    distinct. Shapes: (n,), (n,) -> (n,)."""
    table = family.folios
    if order == HPAGE_PMD_ORDER:
        folios = table.take(regions.size)
        table.order[folios], table.head[folios] = order, folios
    else:
        folios = _runs_of(family, regions, order, block) + block
        table.begin(folios)
    table.region[folios], table.mapped[folios] = regions, mapped
    _count_folios(family, regions, folios, 1)
    return folios


def _runs_of(family: Family, regions: Ints, order: int, block: int) -> Ints:
    """Give each region's run of an order, a new one where that has a folio in the block. Shapes: (n,) -> (n,)."""
    runs = family.runs.setdefault(order, np.zeros(family.n_replicates * family.n_regions, np.int64))
    at = np.where(runs[regions], runs[regions] + block, 0)
    lacking = regions[(at == 0) | ~family.folios.vacant(at)]
    runs[lacking] = family.folios.take_runs(lacking.size, order)
    return runs[regions]


def _count_folios(family: Family, regions: Ints, folios: Ints, sign: int) -> None:
    rows = regions * family.n_sharers
    family.adjust("folios", rows, np.full(folios.size, sign))
    family.adjust("folio_pages", rows, sign << family.folios.order[folios].astype(np.int64))


def map_folios(family: Family, folios: Ints, ptes: Ints) -> None:
    """Add (or take, where negative) mappings of folios; one that loses its last is freed, unless a long reference
    keeps it. Duplicates are allowed."""
    np.add.at(family.folios.mapped, folios, ptes.astype(np.int32))
    if (ptes < 0).any():
        family.unsettled.append(folios)
    bury(family, np.unique(folios[family.folios.mapped[folios] == 0]))


def bury(family: Family, folios: Ints) -> None:
    """Free those of the distinct folios that are neither mapped nor referred to."""
    dead = folios[(family.folios.mapped[folios] == 0) & (family.folios.held[folios] == 0)]
    if dead.size:
        regions = family.folios.region[dead].astype(np.int64)
        _count_folios(family, regions, dead, -1)
        family.adjust("stuck_pages", regions * family.n_sharers, -family.folios.lost[dead].astype(np.int64))
        over = family.folios.end(dead)
        for runs in family.runs.values() if over.size else ():
            runs[np.isin(runs, over)] = 0


def lose(family: Family, rows: Ints, folios: Ints, pages: Ints) -> None:
    """Note that folios lost the last mappings of so many of their pages; duplicates are allowed. Shapes: each (n,)."""
    living = (family.folios.mapped[folios] > 0) | (family.folios.held[folios] > 0)
    rows, folios, pages = rows[living], folios[living], pages[living]
    np.add.at(family.folios.lost, folios, pages.astype(np.int32))
    family.adjust("stuck_pages", rows, pages)
