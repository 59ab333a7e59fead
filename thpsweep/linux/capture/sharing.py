"""Who shares which frame: rows of frame numbers -> groups of any shape, grandchildren and cousins included."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from thpsweep.linux.proc.pagemap import Rows
from thpsweep.units import HPAGE_PMD_NR

_SLOT_SHIFT, _FRAME_SHIFT = np.uint64(44), np.uint64(12)
_BATCH_ROWS = 1_024
"""Rows sorted at once: 2^19 (region, slot) pairs fit above 32 bits of frame and 12 bits of process in one key."""


@dataclass(frozen=True)
class Frames:
    """List the frames that stand in a slot: where, and by which processes of the tree, as a signature of 64 bits.

    Shapes: all (n,). `region` is a position in the regions of the rows; `n_mappers` counts processes of the tree.
    """

    region: npt.NDArray[np.int64]
    slot: npt.NDArray[np.int64]
    frame: npt.NDArray[np.int64]
    signature: npt.NDArray[np.uint64]
    n_mappers: npt.NDArray[np.int64]

    def where(self, wanted: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> "Frames":
        """Keep some."""
        return Frames(*(getattr(self, field.name)[wanted] for field in fields(self)))


def group_frames(rows: Rows, region: npt.NDArray[np.int64], keys: npt.NDArray[np.uint64]) -> Frames:
    """Group the ptes of all rows by (region, slot, frame); the signature of a group is the XOR of its processes' keys.

    Shapes: region (n rows,), ascending; keys (n processes,), random. The address is part of the group, so a frame that
    one process has moved (mremap) or KSM has merged is a group at each address.
    """
    parts = [_no_frames(), *(_group_batch(rows, region, keys, batch) for batch in _batches(region))]
    return Frames(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Frames)))


def _no_frames() -> Frames:
    none = np.zeros(0, np.int64)
    return Frames(none, none, none, none.astype(np.uint64), none)


def _batches(region: npt.NDArray[np.int64]) -> Iterator[slice]:
    """Cut ascending rows into batches that do not cut a region."""
    start = 0
    while start < len(region):
        stop = min(start + _BATCH_ROWS, len(region))
        if stop < len(region):
            boundary = int(np.searchsorted(region, region[stop]))
            stop = boundary if boundary > start else int(np.searchsorted(region, region[start], side="right"))
        yield slice(start, stop)
        start = stop


def _group_batch(rows: Rows, region: npt.NDArray[np.int64], keys: npt.NDArray[np.uint64], batch: slice) -> Frames:
    first = region[batch.start]
    slots = (region[batch, None] - first) * HPAGE_PMD_NR + np.arange(HPAGE_PMD_NR)
    frames = rows.frames[batch]
    packed = frames.astype(np.uint64) << _FRAME_SHIFT
    packed |= slots.astype(np.uint64) << _SLOT_SHIFT
    packed |= rows.process[batch, None].astype(np.uint64)
    ptes = np.sort(packed[frames != 0])
    places = ptes >> _FRAME_SHIFT
    if not len(ptes):
        return _no_frames()
    starts = np.flatnonzero(np.append(True, places[1:] != places[:-1]))
    signature = np.bitwise_xor.reduceat(keys[ptes & np.uint64((1 << 12) - 1)], starts)
    place = (ptes[starts] >> _SLOT_SHIFT).astype(np.int64)
    frame = (places[starts] & np.uint64(0xFFFFFFFF)).astype(np.int64)
    n_mappers = np.diff(starts, append=len(ptes))
    return Frames(place // HPAGE_PMD_NR + first, place % HPAGE_PMD_NR, frame, signature, n_mappers)


def members_of(rows: Rows, region: npt.NDArray[np.int64], some: Frames, n_processes: int) -> npt.NDArray[np.bool_]:
    """Look up in the rows which processes map each of some frames.

    Shapes: some (m,) -> (m, n_processes).
    """
    row_of = np.full((n_processes, int(region.max(initial=-1)) + 1), -1)
    row_of[rows.process, region] = np.arange(len(region))
    members = np.zeros((len(some.frame), n_processes), np.bool_)
    for process in range(n_processes):
        row = row_of[process, some.region]
        members[:, process] = (row >= 0) & (rows.frames[row, some.slot] == some.frame)
    return members
