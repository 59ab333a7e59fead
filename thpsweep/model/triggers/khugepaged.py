"""The kernel's own pace: one daemon, pages_to_scan a pass, a cursor over the mms."""

import dataclasses

import numpy as np

from thpsweep.model.bits import Bools, Ints
from thpsweep.model.mechanisms.base import Limits
from thpsweep.model.triggers.base import Collapser, Trigger
from thpsweep.model.workloads.base import whole
from thpsweep.units import HPAGE_PMD_NR, MS_PER_S


@dataclasses.dataclass
class _Cursors:
    """Where the daemon stands in each replicate, and how far its pass is. Shapes: each (n_replicates,).

    A sharer of n_sharers means before the first mm. inside: the mmap lock is held, going on costs nothing; taking it,
    also again after an attempt, costs 1.
    """

    sharer: Ints
    region: Ints
    progress: Ints
    heads: Ints
    inside: Bools
    going: Bools


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

    def begin(self, n_replicates: int) -> list[_Cursors]:
        """Place the cursors before the first mm, as soon as a family is there."""
        del n_replicates
        return []

    def act(self, state: list[_Cursors], collapser: Collapser, tick: int, tick_s: float) -> None:
        """Make the passes that are due in this tick."""
        tick_ms = tick_s * MS_PER_S
        due = int((tick + 1) * tick_ms // self.scan_sleep_millisecs) - int(tick * tick_ms // self.scan_sleep_millisecs)
        if not state:
            n, none = collapser.family.n_replicates, np.zeros(collapser.family.n_replicates, np.int64)
            first = none + collapser.family.n_sharers
            state.append(_Cursors(first, none, none.copy(), none.copy(), np.zeros(n, bool), np.zeros(n, bool)))
        for _ in range(due):
            self._pass(state[0], collapser, tick)

    def _pass(self, cursors: _Cursors, collapser: Collapser, tick: int) -> None:
        """Scan in every replicate until pages_to_scan is used up, or its list of mms has been begun twice."""
        cursors.progress[:], cursors.heads[:], cursors.inside[:], cursors.going[:] = 0, 0, False, True
        while self._place(cursors, collapser):
            self._scan(cursors, collapser, tick)

    def _place(self, cursors: _Cursors, collapser: Collapser) -> bool:
        """Bring every cursor whose pass is not over to the next region to scan; False where all are over."""
        family = collapser.family
        replicates = np.arange(family.n_replicates)
        moving = cursors.going.copy()
        while moving.any():
            cursors.going &= ~(moving & (cursors.progress >= self.pages_to_scan))
            fresh = moving & cursors.going & (cursors.sharer == family.n_sharers)
            cursors.heads[fresh] += 1
            cursors.going &= ~(fresh & ((cursors.heads >= 2) | ~family.alive.any(axis=1)))
            fresh &= cursors.going
            cursors.sharer[fresh], cursors.region[fresh] = np.argmax(family.alive[fresh], axis=1), 0
            moving &= cursors.going
            gone = moving & ~family.alive[replicates, np.minimum(cursors.sharer, family.n_sharers - 1)]
            enter = moving & ~gone & ~cursors.inside
            cursors.progress[enter] += 1
            cursors.inside[enter] = True
            moving &= gone | (cursors.region >= family.n_regions)
            self._next_mm(cursors, moving, collapser)
        return bool(cursors.going.any())

    def _scan(self, cursors: _Cursors, collapser: Collapser, tick: int) -> None:
        """Scan the rows ahead of each cursor, cut where its pass ends, and attempt what passed.

        Shapes inside: (cursors that go on, regions ahead).
        """
        going = np.flatnonzero(cursors.going)
        rows, ahead = self._ahead(cursors, going, collapser)
        found = collapser.scan(rows[ahead], self._limits(), tick, khugepaged=True)
        progress, passed = np.zeros(rows.shape, np.int64), np.zeros(rows.shape, bool)
        progress[ahead], passed[ahead] = found.progress, found.passed
        # After an attempt the lock is taken anew, which costs 1 before the next region is looked at.
        used = cursors.progress[going][:, None] + np.cumsum(progress, axis=1) + np.cumsum(passed, axis=1) - passed
        before = used - progress - np.roll(passed, 1, axis=1)
        before[:, 0] = 0
        reached = ahead & (before < self.pages_to_scan)
        last = np.count_nonzero(reached, axis=1) - 1
        cursors.progress[going] = used[np.arange(going.size), last]
        cursors.inside[going] = ~passed[np.arange(going.size), last]
        cursors.region[going] += last + 1
        collapser.attempt(found.where(reached[ahead]), self._limits())

    def _ahead(self, cursors: _Cursors, going: Ints, collapser: Collapser) -> tuple[Ints, Bools]:
        """Lay out the rows that passes may get through before their mm ends: a guess on the high side is cut later."""
        family = collapser.family
        left = np.maximum(1, self.pages_to_scan - cursors.progress[going])
        regions = cursors.region[going][:, None] + np.arange(min(family.n_regions, int(left.max())))
        inside = regions < family.n_regions
        regions = np.minimum(regions, family.n_regions - 1) + (going * family.n_regions)[:, None]
        rows = regions * family.n_sharers + cursors.sharer[going][:, None]
        # One that is passed over costs 1; of the others most cost what the first limit lets pass, or all.
        dear = HPAGE_PMD_NR if collapser.mechanism.all_sharers else min(HPAGE_PMD_NR, self.max_ptes_shared + 1)
        cost = np.where(family.pmd[rows] | (family.record_of[rows] == 0), 1, dear)
        return rows, inside & (np.cumsum(cost, axis=1) - cost < left[:, None])

    def _limits(self) -> Limits:
        return Limits(self.max_ptes_none, self.max_ptes_swap, self.max_ptes_shared)

    def _next_mm(self, cursors: _Cursors, chosen: Bools, collapser: Collapser) -> None:
        """Move cursors on to the next living mm, or to before the first, which ends a full scan."""
        family = collapser.family
        later = family.alive & (np.arange(family.n_sharers) > cursors.sharer[:, None])
        onward = np.where(later.any(axis=1), np.argmax(later, axis=1), family.n_sharers)
        cursors.sharer[chosen], cursors.region[chosen], cursors.inside[chosen] = onward[chosen], 0, False
        collapser.counts.add("full_scans", np.flatnonzero(chosen & (onward == family.n_sharers)), 1)
