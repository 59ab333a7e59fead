"""Two looks at the page tables of living processes, and what was written, moved or swapped between them."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from thpsweep.linux.proc.maps import SOFT_DIRTY, anonymous_ranges, anonymous_vmas, whole_regions
from thpsweep.linux.proc.pagemap import CHUNK_REGIONS, Pagemap, decode, mark_huge
from thpsweep.linux.proc.tree import VanishedError
from thpsweep.units import HPAGE_PMD_NR

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

_PLACE = np.dtype([("page", np.int64), ("frame", np.int64)])


@dataclass(frozen=True)
class PageTableSnapshot:
    """Hold what a process maps in its private anonymous regions, those that it maps anything in, ascending.

    `vma` has the addresses of the VMA that each region lies in; `vma_dirty` tells whether that VMA is VM_SOFTDIRTY, so that
    all its pages read as soft-dirty.
    Shapes: region, huge, vma_dirty (n,); vma (n, 2); frames (n, 512) PFN or 0; shared, swapped, dirty (n, 512).
    Units: at_s, monotonic clock; vma, bytes.
    """

    at_s: float
    region: Ints
    frames: npt.NDArray[np.uint32]
    shared: Bools
    swapped: Bools
    dirty: Bools
    huge: Bools
    vma: Ints
    vma_dirty: Bools

    def at(self, index: Ints) -> "PageTableSnapshot":
        """Keep some regions."""
        return PageTableSnapshot(self.at_s, *(getattr(self, field.name)[index] for field in fields(self)[1:]))


@dataclass(frozen=True)
class Changes:
    """Count, region by region, the pages of one process that a write could show on, those that it did, and swap.

    `by_copies` tells for which regions only a copied page shows a write although soft-dirty bits were asked for;
    n_unwritten counts pages that were copied without a write fault of the process, which are not among those written.
    Shapes: each (n,); `moved_to` (k,) has the new frame of each written page, `page` (k,) its number (region * 512 + slot).
    """

    region: Ints
    at_risk: Ints
    written: Ints
    present: Ints
    swapped_out: Ints
    by_copies: Bools
    n_unwritten: int
    page: Ints
    moved_to: Ints


def take(pid: int, zero_frame: int, scans: bool, soft_dirty: bool = False) -> PageTableSnapshot:
    """Read a process's page tables; the zero page counts as none. Raises: VanishedError.

    soft_dirty: whether the soft-dirty bits will be used, so that the VMAs' flags have to be known.
    """
    parts = [_empty()]
    buffer = np.empty(CHUNK_REGIONS * HPAGE_PMD_NR, np.uint64)
    with Pagemap(pid) as pagemap:
        for vma in anonymous_ranges(pid):
            span = whole_regions(*vma)
            huge = np.zeros(max(0, span[1] - span[0]), np.bool_)
            if scans and len(huge):
                mark_huge(pagemap, span, huge)
            for first, entries in pagemap.chunks(span, buffer):
                parts.append(_regions(first, entries, zero_frame, huge[first - span[0] :] if scans else None, vma))
    joined = PageTableSnapshot(
        time.monotonic(),
        *(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(PageTableSnapshot)[1:]),
    )
    if soft_dirty:
        _mark_dirty_vmas(pid, joined)
    return joined


def _empty() -> PageTableSnapshot:
    none, slots = np.zeros(0, np.int64), np.zeros((0, HPAGE_PMD_NR), np.bool_)
    flags = none.astype(np.bool_)
    return PageTableSnapshot(
        0.0, none, slots.astype(np.uint32), slots, slots, slots, flags, np.zeros((0, 2), np.int64), flags
    )


def _regions(
    first: int, entries: npt.NDArray[np.uint64], zero_frame: int, huge: Bools | None, vma: tuple[int, int]
) -> PageTableSnapshot:
    """Decode some regions of a VMA, and keep those that it maps anything in."""
    seen = decode(entries)
    seen.frames[seen.frames == zero_frame] = 0
    used = np.flatnonzero(seen.frames.any(axis=1) | seen.swapped.any(axis=1))
    frames = seen.frames[used]
    return PageTableSnapshot(
        at_s=0.0,
        region=first + used,
        frames=frames,
        shared=(frames != 0) & ~seen.exclusive[used],
        swapped=seen.swapped[used],
        dirty=seen.dirty[used],
        huge=_in_order(frames) if huge is None else huge[used],
        vma=np.tile(np.array(vma, np.int64), (len(used), 1)),
        vma_dirty=np.zeros(len(used), np.bool_),
    )


def _in_order(frames: npt.NDArray[np.uint32]) -> Bools:
    """Tell which regions map 512 frames as a 2 MiB folio has them: where no PMD shows, these are taken to be huge."""
    wanted = frames[:, :1] + np.arange(HPAGE_PMD_NR, dtype=np.uint32)
    return np.asarray((frames[:, 0] != 0) & (frames[:, 0] % HPAGE_PMD_NR == 0) & (frames == wanted).all(axis=1))


def _mark_dirty_vmas(pid: int, taken: PageTableSnapshot) -> None:
    """Mark the regions whose VMA is VM_SOFTDIRTY: it was made, merged or grown since the bits were cleared.

    All pages of such a VMA read as soft-dirty, present or not, so that smaps has to be read only if all of some region do.
    Source: fs/proc/task_mmu.c pte_to_pagemap_entry(), pagemap_pte_hole() (v6.18).
    """
    full = np.flatnonzero(taken.dirty.all(axis=1))
    if not len(full):
        return
    spans = [vma.span for vma in anonymous_vmas(pid) if SOFT_DIRTY in vma.flags]
    marked = [
        taken.region[full] * 0 > 0,
        *((taken.region[full] >= low) & (taken.region[full] < high) for low, high in spans),
    ]
    taken.vma_dirty[full] = np.logical_or.reduce(marked)


def snapshots(
    pids: Sequence[int], zero_frame: int, scans: bool, soft_dirty: bool = False
) -> dict[int, PageTableSnapshot]:
    """Take a snapshot of each process that still lives."""
    taken = {}
    for pid in pids:
        with contextlib.suppress(VanishedError):
            taken[pid] = take(pid, zero_frame, scans, soft_dirty)
    _correct_pmds(list(taken.values()))
    return taken


def _correct_pmds(every: Sequence[PageTableSnapshot]) -> None:
    """Tell which pages under PMDs others map too, from the frames of all: pagemap tells of them what the first one is.

    A PMD that no other process was seen to share is left as pagemap has it: others may be outside the tree. Changes the
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


def changes(
    before: PageTableSnapshot, after: PageTableSnapshot, soft_dirty: bool, faulted: Ints | None = None
) -> Changes:
    """Compare two snapshots of one process.

    A soft-dirty bit shows a write to any page that stayed, but not where the whole VMA is VM_SOFTDIRTY, where it is not the
    VMA that it was (mremap() marks what it moves), or where a PMD has one bit for 512 pages. Without it, a page that others
    map too shows a write by its new frame (copy-on-write). A region that became huge meanwhile was collapsed, which changes
    frames without a write. faulted: the pages that the process had write faults on, where these were traced: a page
    that was copied without one was copied for get_user_pages() (FOLL_PIN, FOLL_WRITE), or migrated.
    Source: mm/memory.c wp_page_copy(), mm/gup.c gup_must_unshare(), mm/mremap.c move_soft_dirty_pte() (v6.18).
    """
    _, mine, theirs = np.intersect1d(before.region, after.region, assume_unique=True, return_indices=True)
    one, two = before.at(mine), after.at(theirs)
    by_bits = soft_dirty & (one.vma == two.vma).all(axis=1) & ~two.vma_dirty & ~one.huge & ~two.huge
    stayed = (one.frames != 0) & (two.frames != 0) & ~(two.huge & ~one.huge)[:, None]
    at_risk = stayed & (one.shared | by_bits[:, None])
    copied = at_risk & (one.frames != two.frames) & ~by_bits[:, None]
    wrote = copied if faulted is None else copied & _among(one.region, faulted)
    written = wrote | (at_risk & two.dirty & by_bits[:, None])
    row, slot = np.nonzero(written)
    return Changes(
        region=one.region,
        at_risk=at_risk.sum(axis=1),
        written=written.sum(axis=1),
        present=(one.frames != 0).sum(axis=1),
        swapped_out=((one.frames != 0) & two.swapped).sum(axis=1),
        by_copies=~by_bits & soft_dirty,
        n_unwritten=int((copied & ~wrote & ~two.shared).sum()),
        page=one.region[row] * HPAGE_PMD_NR + slot,
        moved_to=two.frames[row, slot].astype(np.int64),
    )


def _among(region: Ints, pages: Ints) -> Bools:
    """Mark the slots of regions whose page numbers are listed. Shapes: region (n,) -> (n, 512)."""
    return np.isin(region[:, None] * HPAGE_PMD_NR + np.arange(HPAGE_PMD_NR), pages)


def without_moves(every: Mapping[int, Changes]) -> dict[int, Changes]:
    """Leave out pages that came to lie on one new frame in two processes: migrated, since no two copies do that."""
    keys = [np.zeros(0, _PLACE), *(_keys(each.page, each.moved_to) for each in every.values())]
    distinct, count = np.unique(np.concatenate(keys), return_counts=True)
    moved = distinct[count > 1]
    if not len(moved):
        return dict(every)
    return {pid: _less(each, moved) for pid, each in every.items()}


def _keys(page: Ints, frame: Ints) -> npt.NDArray[np.void]:
    keys = np.zeros(len(page), _PLACE)
    keys["page"], keys["frame"] = page, frame
    return keys


def _less(each: Changes, moved: npt.NDArray[np.void]) -> Changes:
    stays = ~np.isin(_keys(each.page, each.moved_to), moved)
    row = np.searchsorted(each.region, each.page[~stays] // HPAGE_PMD_NR)
    fewer = np.bincount(row, minlength=len(each.region))
    return replace(each, written=each.written - fewer, page=each.page[stays], moved_to=each.moved_to[stays])
