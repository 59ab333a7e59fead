"""The kernel's own pace: one daemon, pages_to_scan a pass, a cursor over the mms."""

import dataclasses
import math

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Bools, Ints
from thpsweep.model.checks import whole
from thpsweep.model.collapse.allocation import NOT_REACHED
from thpsweep.model.collapse.cursors import Cursors, earliest
from thpsweep.model.collapse.forward import EXCITED, Stretch, advance, stretches, tapes
from thpsweep.model.collapse.lookahead import AT_ONCE, look_ahead
from thpsweep.model.gates.base import is_steady
from thpsweep.model.mechanisms.visit import ScanLimits
from thpsweep.model.triggers.base import Collapser, Trigger
from thpsweep.outcomes import ScanResult
from thpsweep.units import HPAGE_PMD_NR, MS_PER_S

_UINT_MAX = (1 << 32) - 1
"""Most that the kernel takes for pages and sleeps. It takes scan_sleep_millisecs=0 too: passes without a pause, of which no
tick would see the end."""


@dataclasses.dataclass
class _Clock:
    """When each replicate's daemon wakes: pass k at k * scan_sleep, later by all the time it slept in passes.

    Shapes: next_pass, slept_ms (n_replicates,). The cursors come with the first tick, as soon as a family is there.
    """

    next_pass: Ints
    slept_ms: Ints
    ticks: int = 0
    cursors: Cursors | None = None


@dataclasses.dataclass
class Khugepaged(Trigger):
    """Scan the living mms in the order of their registration, region after region; wake every scan_sleep.

    The defaults are the kernel's. A new mm comes last, so that the cursor, which goes round, meets it after all others. The
    first allocation that fails in a pass makes the daemon sleep alloc_sleep, if the pass is not over with it; then the pass
    goes on behind that region. The second ends the pass.
    Rows are scanned some at a time, of several mms where nothing is attempted, in all replicates at once, and what a pass
    would not have reached is dropped; where something is, regions are distinct, so that no attempt changes another's scan.
    Source: mm/khugepaged.c khugepaged_do_scan(), collapse_scan_mm_slot() (torvalds/linux b2128290c299).
    """

    pages_to_scan: int = 8 * HPAGE_PMD_NR
    scan_sleep_millisecs: int = 10_000
    alloc_sleep_millisecs: int = 60_000
    max_ptes_none: int = HPAGE_PMD_NR - 1
    max_ptes_swap: int = HPAGE_PMD_NR // 8
    max_ptes_shared: int = HPAGE_PMD_NR // 2

    def __post_init__(self) -> None:
        whole("policy.trigger.pages_to_scan", self.pages_to_scan, 1, _UINT_MAX)
        whole("policy.trigger.scan_sleep_millisecs", self.scan_sleep_millisecs, 1, _UINT_MAX)
        whole("policy.trigger.alloc_sleep_millisecs", self.alloc_sleep_millisecs, 0, _UINT_MAX)
        for name in ("max_ptes_none", "max_ptes_swap", "max_ptes_shared"):
            whole(f"policy.trigger.{name}", getattr(self, name), 0, HPAGE_PMD_NR - 1)

    def passes(self, duration_s: float) -> float:
        """Count the times that the daemon wakes."""
        return duration_s * MS_PER_S / self.scan_sleep_millisecs

    def begin(self, n_replicates: int) -> _Clock:
        """Set the clocks to the first pass."""
        return _Clock(np.ones(n_replicates, np.int64), np.zeros(n_replicates, np.int64))

    def act(self, state: _Clock, collapser: Collapser, tick: int, tick_s: float) -> None:
        """Make the passes that are due in this tick, and go on with those that slept."""
        state.ticks += 1
        if state.cursors is None:
            state.cursors = Cursors.before_first(collapser.family.n_replicates, collapser.family.n_sharers)
        while True:
            due = self._due(state, tick_s)
            if (due > 0).any():
                made = self._forward(state.cursors, collapser, tick, due)
                state.next_pass += made
                due -= made
            awake = due > 0
            if not awake.any():
                return
            self._pass(state.cursors, collapser, tick, awake)
            state.slept_ms[awake & state.cursors.asleep] += self.alloc_sleep_millisecs
            state.next_pass[awake & ~state.cursors.asleep] += 1

    def _due(self, state: _Clock, tick_s: float) -> Ints:
        """Count the passes that are to begin, or to go on, by the end of this tick. Shapes: -> (n_replicates,)."""
        last = (math.floor(state.ticks * (tick_s * MS_PER_S)) - state.slept_ms) // self.scan_sleep_millisecs
        return np.asarray(np.maximum(0, last + 1 - state.next_pass))

    def _forward(self, cursors: Cursors, collapser: Collapser, tick: int, due: Ints) -> Ints:
        """Make passes that attempt nothing at once; give how many of those due were made. Shapes: -> (n_replicates,)."""
        made, family = np.zeros(due.size, np.int64), collapser.family
        parts = stretches(family, cursors, due, self.pages_to_scan, self._dearest_row(collapser))
        if not parts:
            return made
        rows = np.concatenate([part.rows[part.chosen] for part in parts])
        found = collapser.look(rows, self._limits(), tick, khugepaged=True)
        steady = collapser.guard is None or is_steady(collapser.guard.gate)
        if steady:
            found = collapser.ask_in_turn(found, self._limits(), np.concatenate([part.turns for part in parts]))
        busy = [self._busy_ahead(collapser, part, tick) for part in parts]
        on_tapes = tapes(parts, found, self.pages_to_scan, busy, asked_ahead=not steady)
        for part, (tape, results) in zip(parts, on_tapes, strict=True):
            known = (part, tape, results, int(due[part.replicate]))
            made[part.replicate] = advance(cursors, family, collapser.counts, collapser.outcomes, *known)
        return made

    @staticmethod
    def _busy_ahead(collapser: Collapser, part: Stretch, tick: int) -> Bools:
        """Tell where mms ahead have their lock held, behind their last region, too. Shapes: -> (n_mms, n_regions + 1)."""
        shape = part.mms.size, part.rows.shape[1] + 1
        if collapser.locked is None:
            return np.zeros(shape, bool)
        sharers, regions = part.mms.repeat(shape[1]), np.tile(np.arange(shape[1]), shape[0])
        return collapser.locked(tick, np.full(sharers.size, part.replicate), sharers, regions).reshape(shape)

    def _pass(self, cursors: Cursors, collapser: Collapser, tick: int, awake: Bools) -> None:
        """Scan where awake until pages_to_scan is used up, the list of mms has been begun twice, or allocations fail."""
        fresh = awake & ~cursors.asleep
        cursors.progress[fresh], cursors.wraps[fresh], cursors.inside[fresh], cursors.going[:] = 0, 0, False, awake
        waited = awake & cursors.asleep
        cursors.asleep[awake] = False
        cursors.calm[awake] += 1
        while self._place(cursors, collapser, tick):
            failed = self._scan(cursors, collapser, tick)
            cursors.asleep |= failed & ~waited & (cursors.progress < self.pages_to_scan)
            cursors.going &= ~failed

    def _place(self, cursors: Cursors, collapser: Collapser, tick: int) -> bool:
        """Bring every cursor whose pass is not over to the next region to scan; False where all are over."""
        family = collapser.family
        replicates = np.arange(family.n_replicates)
        moving = cursors.going.copy()
        while moving.any():
            cursors.going &= ~(moving & (cursors.progress >= self.pages_to_scan))
            moving &= cursors.going
            fresh = moving & (cursors.sharer == family.n_sharers)
            if fresh.any():
                cursors.wraps[fresh] += 1
                cursors.going &= ~(fresh & ((cursors.wraps >= 2) | ~family.alive.any(axis=1)))
                fresh &= cursors.going
                first, registered = earliest(family, family.alive)
                cursors.sharer[fresh], cursors.registered[fresh] = first[fresh], registered[fresh]
                cursors.region[fresh] = 0
                moving &= cursors.going
            if not moving.any():
                break
            at = replicates, np.minimum(cursors.sharer, family.n_sharers - 1)
            gone = moving & ~(family.alive[at] & (family.registered[at] == cursors.registered))
            enter = moving & ~gone & ~cursors.inside
            busy = self._busy(cursors, enter, collapser, tick)
            enter, gone = enter & ~busy, gone | busy
            cursors.progress[enter] += 1
            cursors.inside[enter] = True
            moving &= gone | (cursors.region >= family.n_regions)
            self._next_mm(cursors, moving, collapser)
        return bool(cursors.going.any())

    @staticmethod
    def _busy(cursors: Cursors, enter: Bools, collapser: Collapser, tick: int) -> Bools:
        """Tell which mms that are to be entered have their lock held: mmap_read_trylock() fails, they are passed over."""
        busy = np.zeros(enter.size, bool)
        tried = bits.where(enter)
        if collapser.locked is not None and tried.size:
            busy[tried] = collapser.locked(tick, tried, cursors.sharer[tried], cursors.region[tried])
            collapser.counts.total["trylocks_failed"] += busy
        return busy

    @staticmethod
    def _locked(collapser: Collapser, rows: Ints, tried: Bools, tick: int) -> Bools:
        """Tell at which of the rows where a lock is tried it is not to be had. Shapes: (n, k), (n, k) -> (n, k)."""
        locked = np.zeros(rows.shape, bool)
        if collapser.locked is not None and tried.any():
            family, some = collapser.family, rows[tried]
            place = family.replicate_of(some), some % family.n_sharers, family.region_of(some) % family.n_regions
            locked[tried] = collapser.locked(tick, *place)
        return locked

    def _scan(self, cursors: Cursors, collapser: Collapser, tick: int) -> Bools:
        """Scan the rows ahead of each cursor, cut where its pass ends, and attempt what passed up to a failed allocation.

        Shapes: inside (cursors that go on, rows ahead) -> whether an allocation failed (n_replicates,).
        """
        going = bits.where(cursors.going)
        left = self.pages_to_scan - cursors.progress[going]
        place = cursors.sharer[going], cursors.region[going]
        pages, dearest, mms = np.maximum(1, left), self._dearest_row(collapser), int(cursors.together[going].max())
        ahead = look_ahead(collapser.family, going, *place, pages, dearest, mms)
        found = collapser.look(ahead.rows[ahead.chosen], self._limits(), tick, khugepaged=True)
        progress, passed = np.zeros(ahead.rows.shape, np.int64), np.zeros(ahead.rows.shape, bool)
        progress[ahead.chosen], passed[ahead.chosen] = found.progress, found.passed
        cursors.together[going] = np.where(passed.any(axis=1), 0, np.minimum(AT_ONCE, 2 * cursors.together[going] + 1))
        entered = ahead.entered
        usable = ahead.usable(progress, passed, self._locked(collapser, ahead.rows, entered, tick), left)
        if usable is not ahead.chosen:
            found = found.where(usable[ahead.chosen])
        found = collapser.ask(found, self._limits())
        passed[:] = False
        passed[usable] = found.passed
        cursors.calm[going[passed.any(axis=1)]] //= EXCITED
        # After an attempt the lock is taken anew, which costs 1 before the next region is looked at; so does entering an mm.
        taken = entered.copy()
        taken[:, 1:] |= passed[:, :-1]
        used = cursors.progress[going][:, None] + np.cumsum(progress, axis=1) + np.cumsum(taken, axis=1)
        before = used - progress - taken
        before[:, 0] = 0
        locked = np.logical_or.accumulate(self._locked(collapser, ahead.rows, taken & ~entered, tick), axis=1)
        reached = usable & (before < self.pages_to_scan) & ~locked
        results = np.full(ahead.rows.shape, NOT_REACHED, np.int64)
        results[reached] = collapser.attempt(found.where(reached[usable]), self._limits(), until_failure=True)
        done = results != NOT_REACHED
        _hold(collapser, ahead.rows, progress, taken, done)
        last = np.arange(going.size), done.shape[1] - 1 - np.argmax(done[:, ::-1], axis=1)
        cursors.progress[going] = used[last]
        cursors.inside[going] = ~passed[last]
        cursors.sharer[going], cursors.region[going] = ahead.sharers[last], ahead.regions[last] + 1
        cursors.registered[going] = collapser.family.registered[going, cursors.sharer[going]]
        failed = np.zeros(cursors.going.size, bool)
        failed[going] = results[last] == ScanResult.ALLOC_HUGE_PAGE_FAIL
        return failed

    @property
    def underused_beyond(self) -> int:
        """Pages of zeroes beyond which reclaim splits a folio. Source: mm/huge_memory.c thp_underused() (v6.18)."""
        return self.max_ptes_none

    def _dearest_row(self, collapser: Collapser) -> int:
        """Give what a row costs as a rule that is neither mapped by a PMD nor without a table."""
        return HPAGE_PMD_NR if collapser.mechanism.all_sharers else min(HPAGE_PMD_NR, self.max_ptes_shared + 1)

    def _limits(self) -> ScanLimits:
        return ScanLimits(self.max_ptes_none, self.max_ptes_swap, self.max_ptes_shared)

    def _next_mm(self, cursors: Cursors, chosen: Bools, collapser: Collapser) -> None:
        """Move cursors on to the next living mm, or to before the first, which ends a full scan."""
        if not chosen.any():
            return
        family = collapser.family
        onward, registered = earliest(family, family.alive & (family.registered > cursors.registered[:, None]))
        cursors.sharer[chosen], cursors.registered[chosen] = onward[chosen], registered[chosen]
        cursors.region[chosen], cursors.inside[chosen] = 0, False
        collapser.counts.add("full_scans", bits.where(chosen & (onward == family.n_sharers)), 1)


def _hold(collapser: Collapser, rows: Ints, progress: Ints, again: Bools, done: Bools) -> None:
    """Tell for how many ptes each hold of an mmap_lock lasted: from where it was taken to the next attempt.

    Shapes: each (cursors, regions ahead); again: the lock was taken anew; done: the region was scanned.
    """
    taken = again.copy()
    taken[:, 0] = True
    begins = taken[done]
    scanned = np.bincount(np.cumsum(begins) - 1, progress[done], int(np.count_nonzero(begins)))
    collapser.counts.hold(rows[done][begins], scanned=scanned.astype(np.int64))
