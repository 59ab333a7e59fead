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
    """Where the daemon stands in one replicate, and how far its pass is; no sharer = before the first mm."""

    replicate: int
    sharer: int | None = None
    region: int = 0
    progress: int = 0
    heads: int = 0
    inside: bool = False
    """The mmap lock is held: going on costs nothing. Taking it, also again after an attempt, costs 1."""


@dataclasses.dataclass
class Khugepaged(Trigger):
    """Scan the mms in the order of their numbers, living ones only, region after region; wake every scan_sleep.

    The defaults are the kernel's. A new mm keeps its number's place in the order, where the kernel puts it just behind
    the cursor. Failed allocations, and so alloc_sleep, do not occur yet.
    Regions are scanned some at a time, in all replicates at once, and what a pass would not have reached is dropped:
    they are distinct, so that no attempt changes another's scan.
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
        return [_Cursor(replicate) for replicate in range(n_replicates)]

    def act(self, state: list[_Cursor], collapser: Collapser, tick: int, tick_s: float) -> None:
        """Make the passes that are due in this tick."""
        tick_ms = tick_s * MS_PER_S
        due = int((tick + 1) * tick_ms // self.scan_sleep_millisecs) - int(tick * tick_ms // self.scan_sleep_millisecs)
        for _ in range(due):
            self._pass(state, collapser, tick)

    def _pass(self, cursors: list[_Cursor], collapser: Collapser, tick: int) -> None:
        """Scan in every replicate until pages_to_scan is used up, or its list of mms has been begun twice."""
        for cursor in cursors:
            cursor.progress, cursor.heads, cursor.inside = 0, 0, False
        while True:
            going = [cursor for cursor in cursors if self._place(cursor, collapser)]
            if not going:
                return
            self._scan(going, [self._ahead(cursor, collapser) for cursor in going], collapser, tick)

    def _place(self, cursor: _Cursor, collapser: Collapser) -> bool:
        """Bring the cursor to the next region to scan; False where the pass is over."""
        alive = collapser.family.alive[cursor.replicate]
        while cursor.progress < self.pages_to_scan:
            if cursor.sharer is None:
                cursor.heads += 1
                if cursor.heads >= 2 or not alive.any():
                    return False
                cursor.sharer, cursor.region = int(np.argmax(alive)), 0
            if not alive[cursor.sharer]:
                self._next_mm(cursor, collapser)
                continue
            if not cursor.inside:
                cursor.progress += 1
                cursor.inside = True
            if cursor.region < collapser.family.n_regions:
                return True
            self._next_mm(cursor, collapser)
        return False

    def _ahead(self, cursor: _Cursor, collapser: Collapser) -> Ints:
        """List the rows that the pass may get through before the mm ends: a guess on the high side is cut later."""
        assert cursor.sharer is not None
        family = collapser.family
        rows = family.rows_of(cursor.replicate, cursor.sharer)[cursor.region :]
        left = max(1, self.pages_to_scan - cursor.progress)
        # One that is passed over costs 1; of the others most cost what the first limit lets pass, or all.
        dear = HPAGE_PMD_NR if collapser.mechanism.all_sharers else min(HPAGE_PMD_NR, self.max_ptes_shared + 1)
        cost = np.where(family.pmd[rows] | (family.record_of[rows] == 0), 1, dear)
        return rows[: int(np.searchsorted(np.cumsum(cost), left)) + 1]

    def _scan(self, cursors: list[_Cursor], ahead: list[Ints], collapser: Collapser, tick: int) -> None:
        """Scan the rows ahead of each cursor, cut where its pass ends, and attempt what passed."""
        bounds = np.cumsum([0, *(rows.size for rows in ahead)])
        found = collapser.scan(np.concatenate(ahead), self._limits(), tick, khugepaged=True)
        reached = np.zeros(found.rows.size, bool)
        for cursor, first, last in zip(cursors, bounds[:-1], bounds[1:], strict=True):
            passed = found.passed[first:last]
            again = np.concatenate(([0], np.cumsum(passed)[:-1]))
            used = cursor.progress + np.cumsum(found.progress[first:last]) + again
            n = min(int(np.searchsorted(used, self.pages_to_scan)) + 1, used.size)
            reached[first : first + n] = True
            cursor.progress, cursor.region = int(used[n - 1]), cursor.region + n
            cursor.inside = not passed[n - 1]
        collapser.attempt(found.where(reached), self._limits())

    def _limits(self) -> Limits:
        return Limits(self.max_ptes_none, self.max_ptes_swap, self.max_ptes_shared)

    def _next_mm(self, cursor: _Cursor, collapser: Collapser) -> None:
        """Move on to the next living mm, or to before the first, which ends a full scan."""
        assert cursor.sharer is not None
        later = np.flatnonzero(collapser.family.alive[cursor.replicate, cursor.sharer + 1 :])
        cursor.inside, cursor.region = False, 0
        cursor.sharer = cursor.sharer + 1 + int(later[0]) if later.size else None
        if cursor.sharer is None:
            collapser.counts.add_one("full_scans", cursor.replicate)
