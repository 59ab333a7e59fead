"""The two triggers of the slow twin: khugepaged's walk over the mms, and one round of madvise calls."""

from collections.abc import Callable, Collection
from fractions import Fraction
from typing import Any

from tests.reference.twin import Twin

Inputs = Callable[[int, int], tuple[int, bool, int]]
"""inputs(region, sharer) -> (young, extra_reference, race_slot): drawn blind to the policy."""


class Khugepaged:
    """Walk the living mms in the order of their registration as khugepaged_do_scan() and khugepaged_scan_mm_slot() do."""

    def __init__(
        self,
        pages_to_scan: int = 4096,
        max_ptes_none: int = 511,
        max_ptes_swap: int = 64,
        max_ptes_shared: int = 256,
    ) -> None:
        self.pages_to_scan = pages_to_scan
        self.limits = {
            "max_ptes_none": max_ptes_none,
            "max_ptes_swap": max_ptes_swap,
            "max_ptes_shared": max_ptes_shared,
        }
        self.sharer: int | None = None  # the cursor: the current mm and the region that comes next in it
        self.region = 0
        self.registered = -1
        self.full_scans = 0

    def pass_(
        self,
        twin: Twin,
        mechanism: str,
        options: dict[str, Any],
        inputs: Inputs,
        locked: Collection[tuple[int, int]] = (),
    ) -> int:
        """Scan until pages_to_scan is used up or the head of the mm list is met twice: the progress made."""
        progress = heads = 0
        while mechanism != "none" and twin.alive:
            if self.sharer is None:
                heads += 1
            if heads >= 2:
                break
            progress = self._scan_mm(twin, mechanism, options, inputs, progress, locked)
            if progress >= self.pages_to_scan:
                break
        return progress

    def _scan_mm(
        self,
        twin: Twin,
        mechanism: str,
        options: dict[str, Any],
        inputs: Inputs,
        progress: int,
        locked: Collection[tuple[int, int]],
    ) -> int:
        if self.sharer is None:
            self.sharer, self.region = min(twin.alive, key=lambda mm: twin.registered[mm]), 0
            self.registered = twin.registered[self.sharer]
        if self.sharer not in twin.alive or twin.registered[self.sharer] != self.registered:
            self._next_mm(twin)
            return progress
        if (self.region, self.sharer) in locked:  # mmap_read_trylock() fails: no wait, and no progress
            twin._count("trylocks_failed")
            self._next_mm(twin)
            return progress
        progress += 1
        while self.region < twin.n_regions:
            region = self.region
            self.region += 1
            young, extra_reference, race_slot = inputs(region, self.sharer)
            _, scanned, attempted = twin.collapse(
                mechanism,
                region,
                self.sharer,
                khugepaged=True,
                young=young,
                extra_reference=extra_reference,
                race_slot=race_slot,
                **self.limits,
                **options,
            )
            progress += scanned
            if attempted or progress >= self.pages_to_scan:
                return progress  # the mmap lock was dropped, or the pass is over: go on from here next time
        self._next_mm(twin)
        return progress

    def _next_mm(self, twin: Twin) -> None:
        assert self.sharer is not None
        later = [mm for mm in twin.alive if twin.registered[mm] > self.registered]
        self.region = 0
        if later:
            self.sharer = min(later, key=lambda mm: twin.registered[mm])
            self.registered = twin.registered[self.sharer]
        else:
            self.sharer = None
            self.full_scans += 1


def passes_in_tick(tick: int, tick_ms: int | Fraction, scan_sleep_millisecs: int | Fraction) -> int:
    """Return how many passes fall into tick t: floor((t+1) tick/sleep) - floor(t tick/sleep), without rounding."""
    per_tick = Fraction(tick_ms) / Fraction(scan_sleep_millisecs)
    return int((tick + 1) * per_tick) - int(tick * per_tick)


def madvise(twin: Twin, mechanism: str, options: dict[str, Any], inputs: Inputs, callers: str = "all") -> None:
    """Let every living caller in sharer order (root: sharer 0 only) try every region once, without limits."""
    for sharer in sorted(twin.alive):
        if callers == "all" or sharer == 0:
            for region in range(twin.n_regions):
                _, extra_reference, race_slot = inputs(region, sharer)
                twin.collapse(
                    mechanism, region, sharer, extra_reference=extra_reference, race_slot=race_slot, **options
                )
