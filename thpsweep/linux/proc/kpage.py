"""What the kernel knows about frames: /proc/kpagecount and /proc/kpageflags.

Source: Documentation/admin-guide/mm/pagemap.rst, include/uapi/linux/kernel-page-flags.h (Linux 6.18).
"""

import os
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


def pmd_folio_heads(flags: FrameTable, frames: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Find the heads of the 2 MiB folios among the blocks of 512 frames that hold these frames.

    Such a folio is aligned to its size; a block of smaller folios has a second head.
    """
    heads = np.unique(frames - frames % HPAGE_PMD_NR)
    words = flags.read((heads[:, None] + np.arange(HPAGE_PMD_NR)).ravel()).reshape(-1, HPAGE_PMD_NR)
    tails = ((words[:, 1:] & KPF_COMPOUND_TAIL) != 0).all(axis=1)
    whole: npt.NDArray[np.int64] = heads[tails & ((words[:, 0] & KPF_COMPOUND_HEAD) != 0)]
    return whole
