"""What the kernel tells a user of his own processes' page tables: present, swapped, mapped by one process; no frame.

Source: Documentation/admin-guide/mm/pagemap.rst, fs/proc/task_mmu.c pagemap_read(), pagemap_page_category() (v6.18).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thpsweep.linux.proc.maps import NO_HUGEPAGE, Vma
from thpsweep.linux.proc.pagemap import (
    CHUNK_REGIONS,
    PAGE_IS_PFNZERO,
    PAGE_IS_PRESENT,
    PAGE_IS_SWAPPED,
    Pagemap,
    boards,
    decode_hidden,
    mark_huge,
)  # fmt: skip
from thpsweep.units import BOARD_WORDS, HPAGE_PMD_NR, HPAGE_PMD_SIZE_BYTES, PAGE_SIZE_BYTES

SPARSE = 4
"""A VMA that is so many times its memory is scanned for what is there before it is read."""

Ints = npt.NDArray[np.int64]
Boards = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class AssumedRows:
    """Hold what VMAs map of each region, regions that lie in them only in part too; `vma` is a position in their list.

    `fit` tells where a huge page may be: the VMA covers the region and does not forbid it.
    Shapes: process, vma, region, fit, huge (n,); present, shared (mapped by another process, too), swapped (n, 8) boards.
    """

    process: Ints
    vma: Ints
    region: Ints
    fit: npt.NDArray[np.bool_]
    huge: npt.NDArray[np.bool_]
    present: Boards
    shared: Boards
    swapped: Boards
    n_zero_ptes: int


def read(tables: Sequence[Pagemap], vmas: Sequence[tuple[int, Vma]], has_scan: bool) -> AssumedRows:
    """Read the page tables of VMAs, each named with the position of its process. Raises: VanishedError; CaptureError."""
    parts = [_none()]
    for number, (process, vma) in enumerate(vmas):
        parts += [_named(part, process, number) for part in _read_vma(tables[process], vma, has_scan)]
    names = ("process", "vma", "region", "fit", "huge", "present", "shared", "swapped")
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return AssumedRows(**joined, n_zero_ptes=sum(part.n_zero_ptes for part in parts))


def _none() -> AssumedRows:
    no, flags, none = np.zeros(0, np.int64), np.zeros(0, np.bool_), np.zeros((0, BOARD_WORDS), np.uint64)
    return AssumedRows(no, no, no, flags, flags, none, none, none, 0)


def _named(rows: AssumedRows, process: int, vma: int) -> AssumedRows:
    number = np.ones(len(rows.region), np.int64)
    return AssumedRows(
        process * number, vma * number, rows.region, rows.fit, rows.huge, rows.present, rows.shared, rows.swapped,
        rows.n_zero_ptes,
    )  # fmt: skip


def _read_vma(table: Pagemap, vma: Vma, has_scan: bool) -> Iterator[AssumedRows]:
    """Read a VMA some regions at a time; regions in which it has nothing are left out."""
    fits = range(*vma.span) if NO_HUGEPAGE not in vma.flags else range(0)
    buffer = np.empty(CHUNK_REGIONS * HPAGE_PMD_NR, np.uint64)
    for first, stop in _populated(table, vma, has_scan):
        for start in range(first, stop, CHUNK_REGIONS):
            span = start, min(stop, start + CHUNK_REGIONS)
            (_, entries), *_ = table.chunks(span, buffer)
            inside = _inside(vma, span)
            zero = _zero_pages(table, span) & inside if has_scan else np.zeros_like(inside)
            seen = decode_hidden(entries)
            present, swapped = seen.present & inside & ~zero, seen.swapped & inside
            huge = np.zeros(span[1] - span[0], np.bool_)
            if has_scan:
                mark_huge(table, span, huge)
            used = np.flatnonzero(present.any(axis=1) | swapped.any(axis=1))
            region, none = used + span[0], np.zeros(len(used), np.int64)
            fit = (region >= fits.start) & (region < fits.stop)
            yield AssumedRows(
                none, none, region, fit, huge[used] & present[used].all(axis=1), boards(present[used]),
                boards(present[used] & ~seen.exclusive[used]), boards(swapped[used]), int(zero.sum()),
            )  # fmt: skip


def _populated(table: Pagemap, vma: Vma, has_scan: bool) -> Iterator[tuple[int, int]]:
    """Give spans of regions, cut at the VMA's outside, that hold all that it maps."""
    whole = vma.first_byte // HPAGE_PMD_SIZE_BYTES, -(-vma.end_byte // HPAGE_PMD_SIZE_BYTES)
    mapped_kib = vma.kib.get("Rss", 0) + vma.kib.get("Swap", 0)
    if not (has_scan and (vma.end_byte - vma.first_byte) // 1024 > SPARSE * mapped_kib):
        yield whole
        return
    done = whole[0]
    for start, end in table.scan(whole, 0, PAGE_IS_PRESENT | PAGE_IS_SWAPPED):
        first, stop = max(done, start // HPAGE_PMD_SIZE_BYTES), -(-end // HPAGE_PMD_SIZE_BYTES)
        if first < stop:
            yield first, stop
        done = max(done, stop)


def _inside(vma: Vma, span: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Mark the slots of a span that lie in the VMA. Shapes: (regions, 512)."""
    page = np.arange(span[0] * HPAGE_PMD_NR, span[1] * HPAGE_PMD_NR)
    within = (page >= vma.first_byte // PAGE_SIZE_BYTES) & (page < vma.end_byte // PAGE_SIZE_BYTES)
    return np.asarray(within.reshape(-1, HPAGE_PMD_NR))


def _zero_pages(table: Pagemap, span: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Mark the slots of a span that map the zero page, which the kernel counts as none. Shapes: (regions, 512)."""
    zero = np.zeros((span[1] - span[0]) * HPAGE_PMD_NR, np.bool_)
    first = span[0] * HPAGE_PMD_NR
    for start, end in table.scan(span, PAGE_IS_PFNZERO, 0):
        zero[start // PAGE_SIZE_BYTES - first : end // PAGE_SIZE_BYTES - first] = True
    return zero.reshape(-1, HPAGE_PMD_NR)
