"""How a family begins: classes of sharers that map the same frames, laid into the state in one go."""

import dataclasses

import numpy as np
import numpy.typing as npt

from thpsweep.model import bits
from thpsweep.model.bits import Boards, Bools, Ints
from thpsweep.model.mm.swap import hold_alone
from thpsweep.model.state.family import Family
from thpsweep.model.state.folios import heads_of, new_folios
from thpsweep.model.state.mm_slots import hand_out
from thpsweep.units import HPAGE_PMD_NR, HPAGE_PMD_ORDER


@dataclasses.dataclass(frozen=True)
class Start:
    """The memory of one replicate before its first tick.

    A cell is a set of frames of one region that exactly the sharers of its classes map; the slots of a class's cells do
    not overlap. Class 0 holds the root, which is sharer 0.
    Shapes: class_of (n_sharers,), cell_region (n_cells,), cell_slots (n_cells, 8), cell_folio (n_cells,): 0 for order-0
    pages, cells with the same number are subpages of one folio; cell_order (n_cells,): order of that, whose pages are an
    aligned block of the region; None for PMD order throughout; cell_classes (n_cells, n_classes);
    swapped (n_classes, n_regions, 8); pmd (n_classes, n_regions); parents (n_sharers,): who forked each sharer, a lower
    number; None where the root forked all.
    """

    n_regions: int
    class_of: Ints
    cell_region: Ints
    cell_slots: Boards
    cell_folio: Ints
    cell_classes: Bools
    swapped: Boards
    pmd: Bools
    parents: Ints | None = None
    cell_order: Ints | None = None


def populate(family: Family, start: Start) -> None:
    """Lay the start into every replicate of an empty family."""
    sharers_of_class = np.bincount(start.class_of, minlength=start.cell_classes.shape[1]).astype(np.int64)
    if start.parents is not None:
        family.anon_vmas.forked(start.parents)
    for replicate in range(family.n_replicates):
        layers = _lay_cells(family, start, sharers_of_class, replicate)
        for number in bits.where(sharers_of_class):
            _lay_class(family, start, int(number), layers, replicate)
    hand_out(family, family.folios.live())
    family.alive[:] = True


def unforked(start: Start) -> Start:
    """Give the same memory before the root forked any child: all its own. The other sharers have to map what it maps, or
    nothing."""
    empty = bits.where(start.cell_classes.sum(axis=0) == 0)
    alone, swapped, pmd = start, start.swapped, start.pmd
    if not empty.size:
        none = np.zeros((start.cell_classes.shape[0], 1), bool)
        alone = dataclasses.replace(start, cell_classes=np.concatenate([start.cell_classes, none], axis=1))
        swapped = np.concatenate([swapped, np.zeros_like(swapped[:1])])
        pmd = np.concatenate([pmd, np.zeros_like(pmd[:1])])
    unmapped = empty[0] if empty.size else start.cell_classes.shape[1]
    class_of = np.where(np.arange(start.class_of.size) == 0, 0, unmapped)
    return dataclasses.replace(alone, class_of=class_of, swapped=swapped, pmd=pmd, parents=None)


def forked(start: Start) -> Ints:
    """List the sharers that the root forked before the run. Shapes: -> (n,)."""
    has_memory = start.cell_classes.sum(axis=0)[start.class_of] > 0
    return bits.where(has_memory & (np.arange(start.class_of.size) > 0))


def _lay_cells(family: Family, start: Start, sharers_of_class: Ints, replicate: int) -> Ints:
    """Make a layer of each cell that a process maps, and the folios; give the layer of each cell (0 for none)."""
    reach = (start.cell_classes * sharers_of_class[None, :]).sum(axis=1)
    used = bits.where(reach)
    region = start.cell_region[used] + replicate * family.n_regions
    slots, pages = start.cell_slots[used], bits.count(start.cell_slots[used])
    folio = _lay_folios(family, start, used, region, pages * reach[used])
    compound = np.where((folio != 0)[:, None], slots, np.uint64(0))
    layers = np.zeros(start.cell_region.size, np.int64)
    layers[used] = family.new_layers(
        slots,
        reach[used],
        heads_of(family, folio),
        compound,
        reach[used] > 1,
        _makers(family, start.cell_classes[used], start.class_of),
    )
    rows = region * family.n_sharers
    family.adjust("small_frames", rows, np.where(folio == 0, pages, 0))
    family.adjust("small_ptes", rows, np.where(folio == 0, pages * reach[used], 0))
    family.adjust("compound_ptes", rows, np.where(folio != 0, pages * reach[used], 0))
    return layers


def _makers(family: Family, classes: Bools, class_of: Ints) -> Ints:
    """Give the anon_vma of each cell: the youngest that all who map it are in. Shapes: (n, n_classes), (n_sharers,)."""
    patterns, which = np.unique(classes, axis=0, return_inverse=True)
    return np.asarray(family.anon_vmas.makers(patterns[:, class_of])[which.reshape(-1)])


def _lay_folios(family: Family, start: Start, used: Ints, region: Ints, ptes: Ints) -> Ints:
    """Make the folios of used cells; give the folio of each (0 for none). Shapes: each (n,) -> (n,)."""
    number = start.cell_folio[used]
    if not np.count_nonzero(number):
        return np.zeros(number.size, np.int64)
    numbers, first, which = np.unique(number, return_index=True, return_inverse=True)
    mapped = np.bincount(which, weights=ptes, minlength=numbers.size).astype(np.int64)
    folio_of_number = np.zeros(numbers.size, np.int64)
    large = bits.where(numbers)
    orders = np.full(used.size, HPAGE_PMD_ORDER) if start.cell_order is None else start.cell_order[used]
    blocks = bits.nth(start.cell_slots[used], 0) >> orders
    for order, block, some in _one_a_region(orders[first[large]], blocks[first[large]], region[first[large]]):
        mine = large[some]
        folio_of_number[mine] = new_folios(family, region[first[mine]], mapped[mine], order, block)
    return np.asarray(folio_of_number[which])


def _one_a_region(orders: Ints, blocks: Ints, regions: Ints) -> list[tuple[int, int, Ints]]:
    """Split indices of folios by order and block, none of them with a region twice below PMD order. Shapes: each (n,)."""
    parts = []
    for order, block in sorted(set(zip(orders.tolist(), blocks.tolist(), strict=True))):
        mine = bits.where((orders == order) & (blocks == block))
        again = [np.arange(mine.size)] if order == HPAGE_PMD_ORDER else _one_a_record(regions[mine])
        parts += [(order, block, mine[some]) for some in again]
    return parts


def _lay_class(family: Family, start: Start, number: int, layers: Ints, replicate: int) -> None:
    """Give each region of a class one record, and point the rows of its sharers there."""
    sharers = bits.where(start.class_of == number)
    cells = bits.where(start.cell_classes[:, number])
    swapped = start.swapped[number]
    regions = np.union1d(start.cell_region[cells], bits.where(bits.any_slot(swapped)))
    records = np.zeros(family.n_regions, np.int64)
    records[regions] = family.records.take(regions.size)
    table = family.records
    table.rows[records[regions]] = sharers.size
    owner = records[start.cell_region[cells]]
    for part in _one_a_record(start.cell_region[cells]):
        slots = start.cell_slots[cells[part]]
        family.list_layer(owner[part], layers[cells[part]], slots)
        table.present[owner[part]] |= slots
        alone = family.layers.reach[layers[cells[part]]] == 1
        table.exclusive[owner[part]] |= np.where(alone[:, None], slots, np.uint64(0))
    n_rows = np.full(regions.size, sharers.size)
    maker = _makers(family, (np.arange(start.cell_classes.shape[1]) == number)[None, :], start.class_of)
    makers = np.repeat(maker, regions.size)
    hold_alone(family, records[regions], n_rows, swapped[regions], bits.empty(regions.size), makers)
    huge_regions = regions[start.pmd[number][regions]]
    partly = bits.count(table.exclusive[records[huge_regions]]) < HPAGE_PMD_NR
    table.exclusive[records[huge_regions[partly]]] = 0  # one PMD entry is exclusive or not, as a whole
    rows = (replicate * family.n_regions + regions)[:, None] * family.n_sharers + sharers[None, :]
    family.record_of[rows] = records[regions][:, None]
    huge = rows[start.pmd[number][regions]].reshape(-1)
    family.pmd[huge] = True
    family.adjust("pmds", huge, np.ones(huge.size, np.int64))
    family.adjust("compound_ptes", huge, np.full(huge.size, -HPAGE_PMD_NR))


def _one_a_record(regions: Ints) -> list[npt.NDArray[np.int64]]:
    """Split indices so that no part names a region twice: a record's list is extended one entry at a time."""
    order = np.argsort(regions, kind="stable")
    ordered = regions[order]
    rank = np.arange(order.size) - np.searchsorted(ordered, ordered)
    return [order[rank == step] for step in range(int(rank.max()) + 1 if rank.size else 0)]
