"""What the kernel knows about frames: /proc/kpagecount and /proc/kpageflags.

Source: Documentation/admin-guide/mm/pagemap.rst, include/uapi/linux/kernel-page-flags.h (Linux 6.18).
"""

import os
from dataclasses import dataclass
from types import TracebackType

import numpy as np
import numpy.typing as npt

from thpsweep.errors import CaptureError
from thpsweep.units import HPAGE_PMD_NR

KPF_ANON = np.uint64(1 << 12)
KPF_COMPOUND_HEAD = np.uint64(1 << 15)
KPF_COMPOUND_TAIL = np.uint64(1 << 16)
KPF_COMPOUND = KPF_COMPOUND_HEAD | KPF_COMPOUND_TAIL
KPF_KSM = np.uint64(1 << 21)
KPF_ZERO_PAGE = np.uint64(1 << 24)
KPF_IDLE = np.uint64(1 << 25)

_ENTRY_BYTES = 8
_BLOCK_FRAMES = 4_096
"""Most frames a read."""

_GAP_FRAMES = 64
"""Frames between two wanted ones that are read too rather than skipped: a call costs about as much as so many entries."""


class FrameTable:
    """Keep a table with one 64-bit word a frame open."""

    def __init__(self, name: str) -> None:
        try:
            self._fd = os.open(f"/proc/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError as error:
            raise CaptureError(f"/proc/{name} may not be read: run as root (CAP_SYS_ADMIN)") from error
        except FileNotFoundError as error:
            raise CaptureError(f"this kernel has no /proc/{name} (CONFIG_PROC_PAGE_MONITOR)") from error

    def __enter__(self) -> "FrameTable":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def read(self, frames: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
        """Look up ascending frame numbers, in a few large reads.

        Shapes: frames (n,) -> (n,); a frame beyond the table reads as 0.
        """
        words = np.zeros(len(frames), np.uint64)
        blocks = frames // _BLOCK_FRAMES
        apart = (np.diff(blocks) != 0) | (np.diff(frames) > _GAP_FRAMES)
        starts = np.flatnonzero(np.append(np.ones(min(1, len(frames)), np.bool_), apart))
        buffer = np.empty(_BLOCK_FRAMES, np.uint64)
        for start, stop in zip(starts, np.append(starts, len(frames))[1:], strict=True):
            first = int(frames[start])
            wanted = int(frames[stop - 1]) - first + 1
            n_read = os.preadv(self._fd, [buffer[:wanted].data], first * _ENTRY_BYTES) // _ENTRY_BYTES
            buffer[n_read:wanted] = 0
            words[start:stop] = buffer[frames[start:stop] - first]
        return words


@dataclass(frozen=True)
class FolioSpans:
    """Hold the folios of some frames: the first frame of each, ascending, and its pages. Shapes: each (n,)."""

    head: npt.NDArray[np.int64]
    n_pages: npt.NDArray[np.int64]

    @property
    def pmd_heads(self) -> npt.NDArray[np.int64]:
        """List the heads of those of 2 MiB."""
        return np.asarray(self.head[self.n_pages == HPAGE_PMD_NR])

    def of(self, frames: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Give head and pages of the folio of each frame; a frame in none of these is a folio of its own."""
        if not len(self.head):
            return frames, np.ones(len(frames), np.int64)
        at = np.maximum(np.searchsorted(self.head, frames, side="right") - 1, 0)
        inside = (frames >= self.head[at]) & (frames < self.head[at] + self.n_pages[at])
        return np.where(inside, self.head[at], frames), np.where(inside, self.n_pages[at], 1)


def find_folios(flags: FrameTable, frames: npt.NDArray[np.int64]) -> FolioSpans:
    """Find the folios of more than one page in the blocks of 512 frames that hold these frames.

    No anonymous folio is larger than such a block, and each is aligned to its size: it is a head and the tails behind it.
    """
    first = np.unique(frames - frames % HPAGE_PMD_NR)
    numbers = (first[:, None] + np.arange(HPAGE_PMD_NR)).ravel()
    words = flags.read(numbers)
    tail = (words & KPF_COMPOUND_TAIL) != 0
    heads = np.flatnonzero((words & KPF_COMPOUND_HEAD) != 0)
    starts = np.flatnonzero(~tail | (numbers % HPAGE_PMD_NR == 0))
    n_pages = np.diff(starts, append=len(numbers))[np.searchsorted(starts, heads)]
    return FolioSpans(numbers[heads], n_pages)


def pmd_folio_heads(flags: FrameTable, frames: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Find the heads of the 2 MiB folios among the blocks of 512 frames that hold these frames."""
    return find_folios(flags, frames).pmd_heads
