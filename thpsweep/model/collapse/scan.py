"""A collapser's visit to regions of an mm: scan against the limits, then attempt."""

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from thpsweep.model import bits
from thpsweep.model.bits import Ints
from thpsweep.model.mechanisms.base import NOBODY, Flags, Mechanism
from thpsweep.model.mechanisms.blocks import attempt_each, choose
from thpsweep.model.mechanisms.visit import ALL_YOUNG, ScanLimits, View, Visit
from thpsweep.model.mm.folding import one_a_record
from thpsweep.model.mm.gup import held_slots
from thpsweep.model.mm.links import linked_slots
from thpsweep.model.mm.swap import bring_back, shared_in_swap
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family
from thpsweep.model.state.mm_slots import shared_slots
from thpsweep.outcomes import ScanResult
from thpsweep.units import HPAGE_PMD_NR, HPAGE_PMD_ORDER

FEW = 64
"""Rows up to which it is not worth it to look which of them map the same."""


@dataclasses.dataclass(frozen=True)
class VisitConditions:
    """What a visit meets that no policy decides. Shapes: each (n,), one a visited row.

    young: ptes accessed since the last aging round; referenced: there is an extra reference on a page of the
    row when it is scanned; race_slots: the slot on which one arrives during the attempt, 512 for none.
    """

    young: Ints
    referenced: Flags
    race_slots: Ints


@dataclasses.dataclass(frozen=True)
class Scanned:
    """What scans found, before any attempt, and the view that they had.

    Shapes: each (n,); results of ScanResult, progress in khugepaged's units.
    """

    rows: Ints
    results: npt.NDArray[np.int64]
    progress: Ints
    race_slots: Ints
    view: View = ALL_YOUNG

    @property
    def passed(self) -> Flags:
        """Rows that are to be attempted."""
        return np.asarray(self.results == ScanResult.SUCCEED)

    def where(self, kept: Flags | Ints) -> "Scanned":
        """Keep some of the rows."""
        return Scanned(self.rows[kept], self.results[kept], self.progress[kept], self.race_slots[kept], self.view)


def look(
    family: Family, mechanism: Mechanism, rows: Ints, limits: ScanLimits, conditions: Callable[[Ints], VisitConditions]
) -> Scanned:
    """Scan rows, of any regions; nothing changes and nothing is counted. Conditions are only asked for where they matter.

    Source: mm/khugepaged.c collapse_scan_pmd() (torvalds/linux b2128290c299). The tests for an extra reference and for
    young ptes are made after the walk here, in the kernel during it: the pte count of such a visit is 512 at most.
    """
    results, progress = scan(family, rows, limits, mechanism)
    race_slots, passed = np.full(rows.size, NOBODY), results == ScanResult.SUCCEED
    linked = np.zeros(rows.size, bool)
    if family.linking:
        linked = bits.any_slot(linked_slots(family, family.record_of[rows].astype(np.int64)))
    asked = bits.where(passed | linked)
    if asked.size:
        met = conditions(rows[asked])
        race_slots[asked] = met.race_slots
        swapped = bits.any_slot(bits.at(family.records.swapped, family.record_of[rows[asked]]))
        old = (met.young == 0) | (swapped & (met.young < HPAGE_PMD_NR // 2))
        results[asked[passed[asked] & met.referenced]] = ScanResult.PAGE_COUNT
        results[asked[passed[asked] & old]] = ScanResult.LACK_REFERENCED_PAGE
        if family.rules.needs_writable_pte and not mechanism.all_sharers:
            results[asked[passed[asked] & ~met.referenced & ~_writable(family, rows[asked])]] = ScanResult.PAGE_RO
    if linked.any():  # go on with them where the mechanism can, else their references refuse
        results[linked] = ScanResult.SUCCEED if mechanism.resumes else ScanResult.PAGE_COUNT
        progress[linked] = HPAGE_PMD_NR
    if mechanism.order < HPAGE_PMD_ORDER:
        _choose_blocks(family, mechanism, rows, limits, results)
    elif family.pins.in_use and mechanism.reads_swap_first:
        _meet_later(family, rows, results, race_slots)
    return Scanned(rows, results, progress, race_slots)


def _choose_blocks(
    family: Family, mechanism: Mechanism, rows: Ints, limits: ScanLimits, results: npt.NDArray[np.int64]
) -> None:
    """Refuse rows that passed and have no block that may be collapsed."""
    passed = bits.where(results == ScanResult.SUCCEED)
    chosen, why = choose(family, mechanism, rows[passed], limits)
    none = ~bits.any_slot(chosen)
    results[passed[none]] = why[none]


def _writable(family: Family, rows: Ints) -> Flags:
    """Tell which rows have a pte that may be written without a fault. Shapes: (n,) -> (n,)."""
    records = family.record_of[rows].astype(np.int64)
    return np.asarray((family.records.rows[records] == 1) & bits.any_slot(family.records.exclusive[records]))


def _meet_later(family: Family, rows: Ints, results: npt.NDArray[np.int64], race_slots: Ints) -> None:
    """Let an attempt meet the references that others hold on what its row has in swap: all of it is read in before.

    Source: mm/khugepaged.c __collapse_huge_page_swapin(), __collapse_huge_page_isolate() (v6.18).
    """
    passed = bits.where(results == ScanResult.SUCCEED)
    held = held_slots(family, family.record_of[rows[passed]].astype(np.int64), swapped=True)
    some = bits.where(bits.any_slot(held))
    first = np.argmax(bits.expand(held[some]), axis=1)
    race_slots[passed[some]] = np.minimum(first, race_slots[passed[some]])


def attempt(
    family: Family, counts: Counts, mechanism: Mechanism, scanned: Scanned, limits: ScanLimits
) -> npt.NDArray[np.int64]:
    """Collapse where the scan passed; count ptes and give the final results. Shapes: -> (n,)."""
    counts.add("ptes_scanned", family.replicate_of(scanned.rows), scanned.progress)
    results = scanned.results.copy()
    tried = bits.where(scanned.passed)
    if tried.size:
        visit = Visit(family, counts, scanned.rows[tried], scanned.race_slots[tried], limits, scanned.view)
        chosen = bits.full(tried.size)
        if mechanism.order < HPAGE_PMD_ORDER:
            chosen, _ = choose(family, mechanism, visit.rows, limits)
        if mechanism.all_sharers:
            _bring_back(family, counts, visit.rows, chosen)
        if mechanism.order < HPAGE_PMD_ORDER:
            results[tried] = attempt_each(visit, mechanism.order, chosen, lambda part: outcomes(mechanism, part))
        else:
            results[tried] = outcomes(mechanism, visit)
    return results


def outcomes(mechanism: Mechanism, visit: Visit) -> Ints:
    """Attempt, and check the answer. Shapes: -> (n,). Raises: ValueError for one that is none."""
    answer = mechanism.attempt(visit)
    shape = visit.rows.shape
    if not isinstance(answer, np.ndarray) or answer.dtype.kind not in "iu" or answer.shape != shape:
        given = f"{answer.dtype} of shape {answer.shape}" if isinstance(answer, np.ndarray) else repr(answer)
        raise ValueError(f"{type(mechanism).__name__}.attempt() gave {given}; expected outcomes, int of shape {shape}")
    return answer


def _bring_back(family: Family, counts: Counts, rows: Ints, within: bits.Boards) -> None:
    """Swap in what all sharers have in swap of the rows' pages; old pages with a link are in no process's swap."""
    if family.layers.link.any():
        unlinked = ~bits.any_slot(linked_slots(family, family.record_of[rows].astype(np.int64)))
        rows, within = rows[unlinked], within[unlinked]
    bring_back(family, counts, rows, within)


def scan(family: Family, rows: Ints, limits: ScanLimits, mechanism: Mechanism) -> tuple[npt.NDArray[np.int64], Ints]:
    """Look at the rows' ptes without changing anything: (result, ptes looked at). Shapes: (n,) -> (n,), (n,).

    For all sharers, max_ptes_swap counts the slots in which any sharer of the row's pages has them in swap. Where swap is
    read first, references on what is in swap are not met here, but in the attempt. Below PMD order max_ptes_none is left to
    the blocks. Source: mm/khugepaged.c collapse_scan_pmd() (v7.2).
    """
    records = family.record_of[rows].astype(np.int64)
    results = np.full(rows.size, ScanResult.SUCCEED, np.int64)
    results[records == 0] = ScanResult.NO_PTE_TABLE
    results[family.pmd[rows]] = ScanResult.PMD_MAPPED
    progress = np.ones(rows.size, np.int64)
    by_pte = bits.where(results == ScanResult.SUCCEED)
    if by_pte.size:
        records, which = _distinct(records[by_pte])
        seen = _scan_records(family, records, limits, mechanism)
        results[by_pte], progress[by_pte] = (each[which] for each in seen)
    return results, progress


def _distinct(records: Ints) -> tuple[Ints, Ints]:
    """Drop repetitions where there are many records; give where each was put. Shapes: (n,) -> (k,), (n,)."""
    if records.size <= FEW:
        return records, np.arange(records.size)
    chosen = one_a_record(records)
    place = np.zeros(int(records.max()) + 1, np.int64)
    place[records[chosen]] = np.arange(chosen.size)
    return records[chosen], place[records]


def _scan_records(
    family: Family, records: Ints, limits: ScanLimits, mechanism: Mechanism
) -> tuple[npt.NDArray[np.int64], Ints]:
    """Scan what is mapped by ptes, record by record: (result, ptes looked at). Shapes: (n,) -> (n,), (n,)."""
    results, progress = np.full(records.size, ScanResult.SUCCEED, np.int64), np.full(records.size, HPAGE_PMD_NR)
    present, swapped = bits.at(family.records.present, records), bits.at(family.records.swapped, records)
    all_sharers, whole = mechanism.all_sharers, mechanism.order == HPAGE_PMD_ORDER
    kinds = [
        (ScanResult.EXCEED_NONE_PTE, ~(present | swapped), limits.max_ptes_none if whole else HPAGE_PMD_NR),
        (
            ScanResult.EXCEED_SWAP_PTE,
            shared_in_swap(family, records) if all_sharers else swapped,
            limits.max_ptes_swap,
        ),
    ]
    if not all_sharers and limits.max_ptes_shared < HPAGE_PMD_NR:
        kinds.append((ScanResult.EXCEED_SHARED_PTE, shared_slots(family, records), limits.max_ptes_shared))
    if family.pins.in_use:
        kinds.append((ScanResult.PAGE_COUNT, held_slots(family, records, not mechanism.reads_swap_first), 0))
    for result, boards, limit in kinds:
        refuse_beyond(results, progress, np.arange(records.size), boards, limit, result)
    if all_sharers and whole:
        left = bits.where(results == ScanResult.SUCCEED)
        chosen = records[left]
        results[left[~bits.any_slot((present | swapped)[left])]] = ScanResult.PAGE_NULL
        results[left[bits.any_slot(family.compound_slots(chosen))]] = ScanResult.PTE_MAPPED_HUGEPAGE
    return results, progress


def refuse_beyond(
    results: npt.NDArray[np.int64],
    progress: Ints,
    index: Ints,
    boards: bits.Boards,
    limit: int,
    result: ScanResult,
) -> None:
    """Refuse rows with more than `limit` slots on their board, at the first slot beyond it, unless refused earlier."""
    over = bits.where(bits.count(boards) > limit)
    if over.size:
        looked_at = bits.nth(boards[over], limit) + 1
        earlier = looked_at < progress[index[over]]
        # A last slot beyond the limit makes 512 looked at, as a full walk does; only the result tells them apart.
        earlier |= (looked_at == HPAGE_PMD_NR) & (results[index[over]] == ScanResult.SUCCEED)
        progress[index[over[earlier]]] = looked_at[earlier]
        results[index[over[earlier]]] = result
