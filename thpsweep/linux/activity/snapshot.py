"""Two looks at the page tables of living processes, and what was written, moved or swapped between them."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thpsweep.linux.proc.maps import anonymous_spans
from thpsweep.linux.proc.pagemap import CHUNK_REGIONS, Pagemap, Seen, decode, mark_huge
from thpsweep.linux.proc.tree import VanishedError
from thpsweep.units import HPAGE_PMD_NR

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

_PLACE = np.dtype([("page", np.int64), ("frame", np.int64)])


@dataclass(frozen=True)
class Snapshot:
    """Hold what a process maps in its private anonymous regions, those that it maps anything in, ascending.

    Shapes: region, huge (n,); frames (n, 512) PFN or 0; shared, swapped, dirty (n, 512). Units: at_s, monotonic clock.
    """

    at_s: float
    region: Ints
    frames: npt.NDArray[np.uint32]
    shared: Bools
    swapped: Bools
    dirty: Bools
    huge: Bools

    def at(self, index: Ints) -> "Snapshot":
        """Keep some regions."""
        return Snapshot(
            self.at_s, self.region[index], self.frames[index], self.shared[index], self.swapped[index], self.dirty[index],
            self.huge[index],
        )  # fmt: skip


@dataclass(frozen=True)
class Changes:
    """Count, region by region, the pages of one process that a write could show on, those that it did, and swap.

    Shapes: each (n,); `moved_to` (k,) has the new frame of each written page, `page` (k,) its number (region * 512 + slot).
    """

    region: Ints
    at_risk: Ints
    written: Ints
    present: Ints
    swapped_out: Ints
    page: Ints
    moved_to: Ints


def take(pid: int, zero_frame: int, scans: bool) -> Snapshot:
    """Read a process's page tables; the zero page counts as none. Raises: VanishedError."""
    parts: list[tuple[Ints, Seen, Bools]] = []
    buffer = np.empty(CHUNK_REGIONS * HPAGE_PMD_NR, np.uint64)
    with Pagemap(pid) as pagemap:
        for span in anonymous_spans(pid):
            huge = np.zeros(span[1] - span[0], np.bool_)
            if scans:
                mark_huge(pagemap, span, huge)
            for first, entries in pagemap.chunks(span, buffer):
                seen = decode(entries)
                seen.frames[seen.frames == zero_frame] = 0
                used = np.flatnonzero(seen.frames.any(axis=1) | seen.swapped.any(axis=1))
                kept = Seen(seen.frames[used], seen.swapped[used], seen.exclusive[used], seen.dirty[used])
                parts.append((first + used, kept, huge[first - span[0] + used]))
    return _joined(parts)


def _joined(parts: Sequence[tuple[Ints, Seen, Bools]]) -> Snapshot:
    slots = np.zeros((0, HPAGE_PMD_NR), np.bool_)
    empty = Seen(slots.astype(np.uint32), slots, slots, slots)
    every = [(np.zeros(0, np.int64), empty, np.zeros(0, np.bool_)), *parts]
    frames = np.concatenate([seen.frames for _, seen, _ in every])
    return Snapshot(
        at_s=time.monotonic(),
        region=np.concatenate([region for region, _, _ in every]),
        frames=frames,
        shared=(frames != 0) & ~np.concatenate([seen.exclusive for _, seen, _ in every]),
        swapped=np.concatenate([seen.swapped for _, seen, _ in every]),
        dirty=np.concatenate([seen.dirty for _, seen, _ in every]),
        huge=np.concatenate([huge for _, _, huge in every]),
    )


def snapshots(pids: Sequence[int], zero_frame: int, scans: bool) -> dict[int, Snapshot]:
    """Take a snapshot of each process that still lives."""
    found = {}
    for pid in pids:
        with contextlib.suppress(VanishedError):
            found[pid] = take(pid, zero_frame, scans)
    _correct_pmds(list(found.values()))
    return found


def _correct_pmds(every: Sequence[Snapshot]) -> None:
    """Tell which pages under PMDs others map too, from the frames of all: pagemap tells of them what the first one is.

    A PMD that nobody else was seen to share with is left as it is told: others may be outside the tree. Changes the
    snapshots. Seen on Linux 6.18, where bit 56 of a page under a PMD is that of the folio's first page.
    """
    if not any(each.huge.any() for each in every):
        return
    mappers = np.zeros(1 + max(int(each.frames.max(initial=0)) for each in every), np.uint16)
    for each in every:
        mappers[each.frames[each.frames != 0]] += 1  # a frame is in one place of a process
    for each in every:
        rows = np.flatnonzero(each.huge)
        shared = mappers[each.frames[rows]] > 1
        known = rows[shared.any(axis=1)]
        each.shared[known] = shared[shared.any(axis=1)]


def changes(before: Snapshot, after: Snapshot, soft_dirty: bool) -> Changes:
    """Compare two snapshots of one process.

    With soft-dirty bits every page that stayed shows a write; without, a page that others map too does, by its new frame
    (copy-on-write). A region that became huge meanwhile was collapsed, which changes frames without a write.
    """
    _, mine, theirs = np.intersect1d(before.region, after.region, assume_unique=True, return_indices=True)
    one, two = before.at(mine), after.at(theirs)
    stayed = (one.frames != 0) & (two.frames != 0) & ~(two.huge & ~one.huge)[:, None]
    at_risk = stayed if soft_dirty else stayed & one.shared
    written = at_risk & (two.dirty if soft_dirty else one.frames != two.frames)
    row, slot = np.nonzero(written)
    return Changes(
        region=one.region,
        at_risk=at_risk.sum(axis=1),
        written=written.sum(axis=1),
        present=(one.frames != 0).sum(axis=1),
        swapped_out=((one.frames != 0) & two.swapped).sum(axis=1),
        page=one.region[row] * HPAGE_PMD_NR + slot,
        moved_to=two.frames[row, slot].astype(np.int64),
    )


def without_moves(found: Mapping[int, Changes]) -> dict[int, Changes]:
    """Leave out pages that came to lie on one new frame in two processes: migrated, since no two copies do that."""
    keys = [np.zeros(0, _PLACE), *(_keys(each.page, each.moved_to) for each in found.values())]
    distinct, count = np.unique(np.concatenate(keys), return_counts=True)
    moved = distinct[count > 1]
    if not len(moved):
        return dict(found)
    return {pid: _less(each, moved) for pid, each in found.items()}


def _keys(page: Ints, frame: Ints) -> npt.NDArray[np.void]:
    found = np.zeros(len(page), _PLACE)
    found["page"], found["frame"] = page, frame
    return found


def _less(each: Changes, moved: npt.NDArray[np.void]) -> Changes:
    stays = ~np.isin(_keys(each.page, each.moved_to), moved)
    row = np.searchsorted(each.region, each.page[~stays] // HPAGE_PMD_NR)
    fewer = np.bincount(row, minlength=len(each.region))
    return Changes(
        each.region, each.at_risk, each.written - fewer, each.present, each.swapped_out, each.page[stays],
        each.moved_to[stays],
    )  # fmt: skip
