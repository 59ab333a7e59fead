"""Which regions of a tree would be collapsed, how much memory that takes, and what sharing it ends.

MADV_COLLAPSE gives the process that it is asked for a huge page of its own: whatever it shares there becomes a private
copy, and whatever has no page there gets one. The pages before are freed when nobody maps them any more.
Source: mm/khugepaged.c collapse_huge_page() (v6.18).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thpsweep.linux.activity import snapshot
from thpsweep.linux.activity.checks import zero_frame
from thpsweep.linux.activity.snapshot import PageTableSnapshot
from thpsweep.linux.capture.forbidden import read_advice
from thpsweep.linux.capture.provenance import enabled_for_pmds, is_thp_off
from thpsweep.linux.proc import pagemap
from thpsweep.linux.proc.kpage import FrameTable
from thpsweep.linux.proc.tree import Tree
from thpsweep.units import HPAGE_PMD_NR, HPAGE_PMD_SIZE_BYTES, PAGE_SIZE_BYTES


@dataclass(frozen=True)
class PlannedRegion:
    """One region of one process, with the pages that it takes more than it gives back, and that it ceases to share.

    process: position in the tree; region: its address / 2 MiB.
    """

    process: int
    region: int
    extra_pages: int
    unshared_pages: int


@dataclass(frozen=True)
class CollapsePlan:
    """What would be asked for, in order, and what not, process by process.

    is_bound: frame numbers are hidden, so that all that is shared is taken to stay with others: memory is an upper bound.
    """

    tree: Tree
    wanted: tuple[PlannedRegion, ...]
    n_beyond: int
    n_used: Sequence[int]
    n_huge: Sequence[int]
    n_forbidden: Sequence[int]
    is_bound: bool

    @property
    def extra_bytes(self) -> int:
        """Add up the memory that it takes."""
        return sum(each.extra_pages for each in self.wanted) * PAGE_SIZE_BYTES

    @property
    def unshared_bytes(self) -> int:
        """Add up what would be shared no more."""
        return sum(each.unshared_pages for each in self.wanted) * PAGE_SIZE_BYTES

    def of(self, process: int) -> list[PlannedRegion]:
        """List what is wanted of one process."""
        return [each for each in self.wanted if each.process == process]


def planned(tree: Tree, max_bytes: int, hidden: str) -> CollapsePlan:
    """Look at a tree, and plan what fits into the memory. hidden: why frame numbers are hidden, nothing if they are not.

    Raises: VanishedError; CaptureError where it may not be looked into.
    """
    pids = [process.pid for process in tree.processes]
    zero, scans = 0 if hidden else zero_frame(), pagemap.scan_works()
    taken = [snapshot.take(pid, zero, scans) for pid in pids]
    advice = read_advice(pids, tree.parents, enabled_for_pmds())
    forbidden = [
        np.isin(mine.region, regions) | is_thp_off(pid)
        for pid, mine, regions in zip(pids, taken, advice.forbidden, strict=True)
    ]
    usable = [np.flatnonzero(~mine.huge & ~no) for mine, no in zip(taken, forbidden, strict=True)]
    candidates = [mine.at(rows) for mine, rows in zip(taken, usable, strict=True)]
    costs = _shown_costs(candidates) if not hidden else _bounds(candidates)
    wanted, n_beyond = _fitting(costs, max_bytes)
    return CollapsePlan(
        tree, tuple(wanted), n_beyond,
        n_used=[len(mine.region) for mine in taken],
        n_huge=[int(mine.huge.sum()) for mine in taken],
        n_forbidden=[int((no & ~mine.huge).sum()) for mine, no in zip(taken, forbidden, strict=True)],
        is_bound=bool(hidden),
    )  # fmt: skip


def _bounds(candidates: Sequence[PageTableSnapshot]) -> list[PlannedRegion]:
    """Take all that is shared to stay with others. The cheapest come first."""
    found = []
    for process, mine in enumerate(candidates):
        present, shared = (mine.frames != 0) | mine.shared, mine.shared
        freed = (present & ~shared).sum(axis=1)
        rows = zip(mine.region.tolist(), freed.tolist(), shared.sum(axis=1).tolist(), strict=True)
        found += [PlannedRegion(process, region, HPAGE_PMD_NR - n, lost) for region, n, lost in rows]
    return sorted(found, key=lambda each: (each.extra_pages, each.process, each.region))


def _shown_costs(candidates: Sequence[PageTableSnapshot]) -> list[PlannedRegion]:
    """Count who maps each frame, and let them go one region after another: the last one who maps a page frees it."""
    frames = np.unique(np.concatenate([np.zeros(1, np.uint32), *(mine.frames.ravel() for mine in candidates)]))[1:]
    with FrameTable("kpagecount") as counts:
        left = counts.read(frames.astype(np.int64)).astype(np.int64)
    found = []
    for alone in _bounds(candidates):
        mine = candidates[alone.process]
        row = mine.frames[np.searchsorted(mine.region, alone.region)]
        at = np.searchsorted(frames, row[row != 0])
        freed, unshared = int((left[at] <= 1).sum()), int((left[at] > 1).sum())
        left[at] -= 1
        found.append(PlannedRegion(alone.process, alone.region, HPAGE_PMD_NR - freed, unshared))
    return found


def _fitting(costs: Sequence[PlannedRegion], max_bytes: int) -> tuple[list[PlannedRegion], int]:
    """Keep regions, in order, as long as all of them fit; count the others."""
    total = np.cumsum([each.extra_pages for each in costs]) * PAGE_SIZE_BYTES
    n_kept = int(np.searchsorted(total, max_bytes, side="right"))
    return list(costs[:n_kept]), len(costs) - n_kept


def huge_now(tree: Tree, wanted: Sequence[PlannedRegion]) -> int:
    """Count the regions of a plan that a PMD maps now; those of processes that have ended are none."""
    scans, found = pagemap.scan_works(), 0
    for process, each in snapshot.snapshots([one.pid for one in tree.processes], 0, scans).items():
        mine = [one.region for one in wanted if tree.processes[one.process].pid == process]
        found += int(np.isin(each.region[each.huge], mine).sum())
    return found


def bytes_of(n_regions: int) -> int:
    """Give the memory of so many regions."""
    return n_regions * HPAGE_PMD_SIZE_BYTES
