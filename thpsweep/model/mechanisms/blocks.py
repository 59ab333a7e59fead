"""Collapses below PMD order: the blocks of a region, each judged and attempted alone.

As khugepaged does it in 7.2: the scan looks at the whole region first, with its limits for shared and swapped ptes and its
test for references; then each block has limits of its own, max_ptes_none scaled to its order, none shared and none in swap.
Source: mm/khugepaged.c mthp_collapse(), collapse_max_ptes_none(), __collapse_huge_page_isolate() (v7.2).
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Boards, Ints
from thpsweep.model.mechanisms.base import NOBODY, Mechanism
from thpsweep.model.mechanisms.visit import ScanLimits, Visit
from thpsweep.model.mm.gup import held_slots
from thpsweep.model.mm.swap import shared_in_swap
from thpsweep.model.state.family import Family
from thpsweep.model.state.folios import folio_boards
from thpsweep.model.state.mm_slots import shared_slots
from thpsweep.outcomes import ScanResult
from thpsweep.units import HPAGE_PMD_NR, HPAGE_PMD_ORDER

_NOT_ASKED = -1


def limits_of_block(limits: ScanLimits, order: int) -> ScanLimits:
    """Scale khugepaged's limits: of max_ptes_none only 0 and 511 count, which is all pages but one; MADV_COLLAPSE has none.

    Source: mm/khugepaged.c collapse_max_ptes_none(), collapse_max_ptes_swap(), collapse_max_ptes_shared() (v7.2).
    """
    none = {HPAGE_PMD_NR: 1 << order, HPAGE_PMD_NR - 1: (1 << order) - 1}.get(limits.max_ptes_none, 0)
    swap, shared = (
        HPAGE_PMD_NR if limit == HPAGE_PMD_NR else 0 for limit in (limits.max_ptes_swap, limits.max_ptes_shared)
    )
    return ScanLimits(none, swap, shared)


def choose(family: Family, mechanism: Mechanism, rows: Ints, limits: ScanLimits) -> tuple[Boards, Ints]:
    """Give the slots of each row's blocks that may be collapsed, and what refuses the first that holds a page and may not.

    A block that has a folio of the order, or a larger one, is done; a mechanism for all sharers leaves smaller ones alone,
    too. The rows are mapped by ptes. Shapes: (n,) -> (n, 8), (n,).
    """
    order, limits = mechanism.order, limits_of_block(limits, mechanism.order)
    records = family.record_of[rows].astype(np.int64)
    present, swapped = bits.at(family.records.present, records), bits.at(family.records.swapped, records)
    in_swap = shared_in_swap(family, records) if mechanism.all_sharers else swapped
    filled = bits.by_block(present | swapped, order)
    over = [
        (ScanResult.EXCEED_NONE_PTE, (1 << order) - filled > limits.max_ptes_none),
        (ScanResult.EXCEED_SWAP_PTE, bits.by_block(in_swap, order) > limits.max_ptes_swap),
        (ScanResult.PTE_MAPPED_HUGEPAGE, bits.by_block(_done(family, mechanism, records), order) > 0),
    ]
    if family.pins.in_use:
        over.append((ScanResult.PAGE_COUNT, bits.by_block(held_slots(family, records, swapped=True), order) > 0))
    if not mechanism.all_sharers:
        shared = bits.by_block(shared_slots(family, records), order)
        over.append((ScanResult.EXCEED_SHARED_PTE, shared > limits.max_ptes_shared))
    refused = np.select([flags for _, flags in over], [result for result, _ in over], int(ScanResult.SUCCEED))
    held = filled > 0
    chosen = held & (refused == ScanResult.SUCCEED)
    first = np.argmax(held & ~chosen, axis=1)
    why = np.where((held & ~chosen).any(axis=1), refused[np.arange(rows.size), first], ScanResult.PAGE_NULL)
    return bits.pack(np.repeat(chosen, 1 << order, axis=1)), why.astype(np.int64)


def _done(family: Family, mechanism: Mechanism, records: Ints) -> Boards:
    """Give the slots of each record in folios that keep their block from being collapsed. Shapes: (n,) -> (n, 8)."""
    boards, least = bits.empty(records.size), 0 if mechanism.all_sharers else mechanism.order
    for index, entry in family.walk(records):
        layer = family.entries.layer[entry].astype(np.int64)
        large = folio_boards(family, layer, lambda folios: family.folios.order[folios] >= least)
        boards[index] |= family.entries.slots[entry] & family.layers.compound[layer] & large
    return boards


def attempt_each(visit: Visit, order: int, chosen: Boards, attempt: Callable[[Visit], Ints]) -> Ints:
    """Attempt the chosen blocks of each row, lowest first; give SUCCEED where one did, else the last outcome.

    Shapes: (n, 8) -> (n,).
    """
    results = np.full(visit.rows.size, _NOT_ASKED)
    for block, slots in enumerate(bits.blocks(order)):
        some = bits.where(bits.any_slot(chosen & slots))
        if some.size:
            race_slots = visit.race_slots[some]
            here = np.where(race_slots >> order == block, race_slots, NOBODY)
            answer = attempt(dataclasses.replace(visit.where(some), race_slots=here, order=order, block=block))
            results[some] = np.where(results[some] == ScanResult.SUCCEED, ScanResult.SUCCEED, answer)
    return results


def rehearse(visit: Visit, mechanism: Mechanism) -> None:
    """Attempt all that a scan would let pass, without asking for what comes of it."""
    if mechanism.order == HPAGE_PMD_ORDER:
        mechanism.attempt(visit)
    else:
        chosen, _ = choose(visit.family, mechanism, visit.rows, visit.limits)
        attempt_each(visit, mechanism.order, chosen, mechanism.attempt)
