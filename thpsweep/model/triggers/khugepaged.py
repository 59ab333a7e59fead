"""The kernel's own pace: one daemon, pages_to_scan a pass, a cursor over the mms."""

import dataclasses

import numpy as np

from thpsweep.model.bits import Ints
from thpsweep.model.mechanisms.base import Limits
from thpsweep.model.triggers.base import Collapser, Trigger
from thpsweep.model.workloads.base import whole
from thpsweep.units import HPAGE_PMD_NR, MS_PER_S


@dataclasses.dataclass
class _Cursor:
    """Where the daemon stands in one replicate; no sharer = before the first mm."""

    sharer: int | None = None
    region: int = 0


@dataclasses.dataclass
class Khugepaged(Trigger):
    """Scan the mms in the order of their numbers, living ones only, region after region; wake every scan_sleep.

    The defaults are the kernel's. A new mm keeps its number's place in the order, where the kernel puts it just behind
    the cursor. Failed allocations, and so alloc_sleep, do not occur yet.
    Source: mm/khugepaged.c khugepaged_do_scan(), collapse_scan_mm_slot() (torvalds/linux b2128290c299).
    """

    pages_to_scan: int = 8 * HPAGE_PMD_NR
    scan_sleep_millisecs: int = 10_000
    max_ptes_none: int = HPAGE_PMD_NR - 1
    max_ptes_swap: int = HPAGE_PMD_NR // 8
    max_ptes_shared: int = HPAGE_PMD_NR // 2

    def __post_init__(self) -> None:
        whole("policy.trigger.pages_to_scan", self.pages_to_scan, 1, 1 << 30)
        whole("policy.trigger.scan_sleep_millisecs", self.scan_sleep_millisecs, 1, 1 << 31)
        for name in ("max_ptes_none", "max_ptes_swap", "max_ptes_shared"):
            whole(f"policy.trigger.{name}", getattr(self, name), 0, HPAGE_PMD_NR - 1)

    def begin(self, n_replicates: int) -> list[_Cursor]:
        """Place a cursor before the first mm of each replicate."""
        return [_Cursor() for _ in range(n_replicates)]

    def act(self, state: list[_Cursor], collapser: Collapser, tick: int, tick_s: float) -> None:
        """Make the passes that are due in this tick."""
        tick_ms = tick_s * MS_PER_S
        due = int((tick + 1) * tick_ms // self.scan_sleep_millisecs) - int(tick * tick_ms // self.scan_sleep_millisecs)
        for replicate, cursor in enumerate(state):
            for _ in range(due):
                self._pass(cursor, collapser, replicate, tick)

    def _pass(self, cursor: _Cursor, collapser: Collapser, replicate: int, tick: int) -> None:
        """Scan until pages_to_scan is used up, or the list of mms has been begun twice."""
        progress, begun = 0, 0
        while progress < self.pages_to_scan:
            if cursor.sharer is None:
                begun += 1
                if begun >= 2:
                    return
            progress += self._scan_mm(cursor, collapser, replicate, tick, self.pages_to_scan - progress)

    def _scan_mm(self, cursor: _Cursor, collapser: Collapser, replicate: int, tick: int, budget: int) -> int:
        """Scan one mm from the cursor on, until an attempt drops the mmap lock or the budget is used up."""
        alive = collapser.family.alive[replicate]
        if cursor.sharer is None:
            self._next_mm(cursor, collapser, replicate, -1)
            if cursor.sharer is None:
                return budget
        if not alive[cursor.sharer]:
            self._next_mm(cursor, collapser, replicate, cursor.sharer)
            return 0
        progress = 1
        rows = collapser.family.rows_of(replicate, cursor.sharer)
        while cursor.region < rows.size:
            used, dropped = self._scan_chunk(cursor, collapser, rows, tick, max(1, budget - progress))
            progress += used
            if dropped or progress >= budget:
                return progress
        self._next_mm(cursor, collapser, replicate, cursor.sharer)
        return progress

    def _scan_chunk(
        self, cursor: _Cursor, collapser: Collapser, rows: Ints, tick: int, budget: int
    ) -> tuple[int, bool]:
        """Visit one region, or a run of regions that are passed over at a cost of 1: (progress, lock dropped)."""
        ahead = rows[cursor.region : cursor.region + min(budget, rows.size)]
        family = collapser.family
        cheap = family.pmd[ahead] | (family.record_of[ahead] == 0)
        run = int(np.argmin(cheap)) if not cheap.all() else ahead.size
        visited = collapser.visit(ahead[: max(run, 1)], self._limits(), tick, khugepaged=True)
        cursor.region += visited.results.size
        return int(visited.progress.sum()), bool(visited.attempted.any())

    def _limits(self) -> Limits:
        return Limits(self.max_ptes_none, self.max_ptes_swap, self.max_ptes_shared)

    def _next_mm(self, cursor: _Cursor, collapser: Collapser, replicate: int, sharer: int) -> None:
        """Move on to the next living mm, or to before the first, which ends a full scan."""
        living = np.flatnonzero(collapser.family.alive[replicate])
        later = living[living > sharer]
        cursor.sharer, cursor.region = (int(later[0]), 0) if later.size else (None, 0)
        if cursor.sharer is None:
            collapser.counts.add_one("full_scans", replicate)
