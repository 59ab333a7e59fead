"""Read some regions of a living family and keep those that held still meanwhile."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thpsweep.linux.capture.folios import Census, count
from thpsweep.linux.capture.sharing import Frames, group_frames, members_of
from thpsweep.linux.proc import kpage
from thpsweep.linux.proc.maps import Span
from thpsweep.linux.proc.pagemap import CHUNK_REGIONS, Pagemap, Rows, boards, mark_huge
from thpsweep.units import BOARD_WORDS, HPAGE_PMD_NR

Plan = Sequence[npt.NDArray[np.int64]]
"""For each process the numbers of the regions that can be read, ascending."""


@dataclass(frozen=True)
class CaptureSources:
    """Keep what a capture reads from: open tables, one random key a process, whether PAGEMAP_SCAN works."""

    pagemaps: Sequence[Pagemap]
    counts: kpage.FrameTable
    flags: kpage.FrameTable
    keys: npt.NDArray[np.uint64]
    has_scan: bool


@dataclass(frozen=True)
class Cells:
    """Hold cells as they are found; `head` is the first frame of a folio or 0, and is never stored.

    Shapes: (cells,), slots (cells, 8). Regions are numbered by address.
    """

    region: npt.NDArray[np.int64]
    signature: npt.NDArray[np.uint64]
    slots: npt.NDArray[np.uint64]
    head: npt.NDArray[np.int64]
    outside: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """Hold what was learnt of some regions: their rows, their cells, and the processes behind each signature.

    n_mapped_outside: pages that processes which are not in the tree, or other addresses, map too; census: their folios.
    Both need frame numbers.
    Shapes: process, region, huge (rows,); present, swapped (rows, 8); signatures (sets,); members (sets, processes).
    """

    process: npt.NDArray[np.int64]
    region: npt.NDArray[np.int64]
    present: npt.NDArray[np.uint64]
    swapped: npt.NDArray[np.uint64]
    huge: npt.NDArray[np.bool_]
    cells: Cells
    signatures: npt.NDArray[np.uint64]
    members: npt.NDArray[np.bool_]
    n_zero_ptes: int
    n_ksm_frames: int
    n_mapped_outside: int = 0
    census: Census | None = None


def read_window(
    sources: CaptureSources, plan: Plan, window: npt.NDArray[np.int64], lenient: bool
) -> tuple[Part, npt.NDArray[np.int64]]:
    """Read the regions of a window in every process; return what held still, and the regions that did not.

    `lenient` accepts large folios with fewer mappings than were seen: without CONFIG_PAGE_MAPCOUNT the kernel gives the
    average over a folio.
    Raises: VanishedError if a process is gone.
    """
    rows = _read_rows(sources, plan, window)
    regions, region = np.unique(rows.region, return_inverse=True)
    frames = group_frames(rows, region, sources.keys)
    flags, counts = _look_up(sources, frames)
    zero = (flags & kpage.KPF_ZERO_PAGE) != 0
    zeros = frames.where(zero)
    if zero.any():  # the kernel counts the zero page as none, and so do we
        _forget(rows, region, zeros)
        frames, flags, counts = frames.where(~zero), flags[~zero], counts[~zero]
    compound = (flags & kpage.KPF_COMPOUND) != 0
    folios = kpage.find_folios(sources.flags, frames.frame[compound])
    heads = folios.pmd_heads
    whole = _maps_whole_folio(rows, heads)
    rows.huge[:] = rows.huge & rows.frames.any(axis=1) if sources.has_scan else whole

    stale = ((frames.n_mappers > counts) & ~(compound & lenient)) | ((flags & kpage.KPF_ANON) == 0)
    moving = np.zeros(len(regions), np.bool_)
    for places in (frames.region[stale], region[~rows.settled], region[rows.huge & ~whole]):
        moving[places] = True
    still = ~moving[frames.region]
    frames, flags, counts = frames.where(still), flags[still], counts[still]
    signatures, first = np.unique(frames.signature, return_index=True)
    kept = ~moving[region] & (rows.frames.any(axis=1) | rows.swapped.any(axis=1))
    part = Part(
        process=rows.process[kept],
        region=rows.region[kept],
        present=boards(rows.frames[kept] != 0),
        swapped=rows.swapped[kept],
        huge=rows.huge[kept],
        cells=_condense(frames, regions, counts, heads),
        signatures=signatures,
        members=members_of(rows, region, frames.where(first), len(plan)),
        n_zero_ptes=int(zeros.n_mappers[~moving[zeros.region]].sum()),
        n_ksm_frames=len(np.unique(frames.frame[(flags & kpage.KPF_KSM) != 0])),
        n_mapped_outside=int((counts > frames.n_mappers).sum()),
        census=count(rows, kept, frames.frame, folios),
    )
    return part, regions[moving]


def _read_rows(sources: CaptureSources, plan: Plan, window: npt.NDArray[np.int64]) -> Rows:
    """Read the page tables of a window, and list the rows by region, then process."""
    mine = [np.intersect1d(regions, window, assume_unique=True) for regions in plan]
    process = np.repeat(np.arange(len(plan)), [len(regions) for regions in mine])
    n = len(process)
    rows = Rows(
        process=process,
        region=np.concatenate(mine),
        frames=np.empty((n, HPAGE_PMD_NR), np.uint32),
        swapped=np.zeros((n, BOARD_WORDS), np.uint64),
        huge=np.zeros(n, np.bool_),
        settled=np.ones(n, np.bool_),
    )
    buffer = np.empty(CHUNK_REGIONS * HPAGE_PMD_NR, np.uint64)
    at = 0
    for pagemap, regions in zip(sources.pagemaps, mine, strict=True):
        for span in _spans(regions):
            pagemap.read(span, buffer, rows, at)
            if sources.has_scan:
                mark_huge(pagemap, span, rows.huge[at : at + span[1] - span[0]])
            at += span[1] - span[0]
    touched = np.flatnonzero(rows.frames.any(axis=1) | rows.swapped.any(axis=1) | ~rows.settled)
    order = touched[np.lexsort((rows.process[touched], rows.region[touched]))]
    return Rows(
        rows.process[order], rows.region[order], rows.frames[order], rows.swapped[order], rows.huge[order],
        rows.settled[order],
    )  # fmt: skip


def _spans(regions: npt.NDArray[np.int64]) -> Iterator[Span]:
    """Cut ascending region numbers into spans without gaps."""
    for run in np.split(regions, np.flatnonzero(np.diff(regions) != 1) + 1):
        if len(run):
            yield int(run[0]), int(run[-1]) + 1


def _look_up(sources: CaptureSources, frames: Frames) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Ask the kernel for flags and number of mappings of each frame."""
    numbers, index = np.unique(frames.frame, return_inverse=True)
    flags, counts = sources.flags.read(numbers), sources.counts.read(numbers)
    return flags[index], counts.astype(np.int64)[index]


def _forget(rows: Rows, region: npt.NDArray[np.int64], frames: Frames) -> None:
    """Take frames out of the rows of their regions."""
    concerned = np.isin(region, frames.region)
    numbers = rows.frames[concerned]
    numbers[np.isin(numbers, frames.frame)] = 0
    rows.frames[concerned] = numbers


def _maps_whole_folio(rows: Rows, heads: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Tell which rows map all subpages of one 2 MiB folio in their order."""
    whole = np.isin(rows.frames[:, 0], heads)
    candidates = rows.frames[whole]
    whole[whole] = (candidates == candidates[:, :1] + np.arange(HPAGE_PMD_NR, dtype=np.uint32)).all(axis=1)
    return whole


def _condense(
    frames: Frames, regions: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], heads: npt.NDArray[np.int64]
) -> Cells:
    """Gather the frames of a region with the same mappers and the same folio into cells, in the order of regions."""
    head = frames.frame - frames.slot
    head[~np.isin(head, heads)] = 0
    order = np.lexsort((head, frames.signature, frames.region))
    region, slot, signature, head = frames.region[order], frames.slot[order], frames.signature[order], head[order]
    outside = np.maximum(counts - frames.n_mappers, 0)[order]
    begins = np.ones(len(order), np.bool_)
    begins[1:] = (np.diff(region) != 0) | (np.diff(signature) != 0) | (np.diff(head) != 0)
    starts = np.flatnonzero(begins)
    slots = np.zeros(len(starts) * BOARD_WORDS, np.uint64)
    word = (np.cumsum(begins) - 1) * BOARD_WORDS + slot // 64
    np.bitwise_or.at(slots, word, np.uint64(1) << (slot % 64).astype(np.uint64))
    return Cells(
        region=regions[region[starts]],
        signature=signature[starts],
        slots=slots.reshape(-1, BOARD_WORDS),
        head=head[starts],
        outside=np.maximum.reduceat(outside, starts) if len(starts) else outside,
    )
