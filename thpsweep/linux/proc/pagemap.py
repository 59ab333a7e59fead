"""Read page tables in bulk: /proc/PID/pagemap and its PAGEMAP_SCAN ioctl.

Source: Documentation/admin-guide/mm/pagemap.rst, include/uapi/linux/fs.h (Linux 6.18).
"""

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

import numpy as np
import numpy.typing as npt

from thpsweep.errors import CaptureError
from thpsweep.linux.proc.maps import Span
from thpsweep.linux.proc.tree import Tree, TreeProcess, VanishedError, keep, look_up
from thpsweep.units import BOARD_WORDS, HPAGE_PMD_NR, HPAGE_PMD_SIZE_BYTES, PAGE_SIZE_BYTES

ENTRY_BYTES = 8
CHUNK_REGIONS = 512
"""Regions a read: a buffer of 2 MiB stays in the cache, and NumPy madvises it not (it does so from 4 MiB on)."""

PAGE_IS_PRESENT, PAGE_IS_SWAPPED, PAGE_IS_PFNZERO, PAGE_IS_HUGE = 1 << 3, 1 << 4, 1 << 5, 1 << 6
_PAGEMAP_SCAN = 0xC0606610
_SCAN_ARG = struct.Struct("=12Q")
_PAGE_REGION_BYTES, _SCAN_ROOM = 24, 1_024

# The upper half of an entry: present 63, swapped 62, file or shared 61, guard region 58, mapped by one process 56,
# soft-dirty 55, frame number 0-54.
_EXCLUSIVE_BIT, _SOFT_DIRTY_BIT = np.uint32(1 << 24), np.uint32(1 << 23)
_KIND_SHIFT, _ANON_PRESENT, _GUARD_BIT, _FRAME_HIGH = np.uint32(29), 0b100, np.uint32(1 << 26), np.uint32(0x7FFFFF)
_SWAP_TYPE, _FIRST_SPECIAL_TYPE = np.uint32(31), 23
"""Swap types from 23 on are no swap area but migration, poison and marker entries (include/linux/swap.h)."""


_WITHOUT = (
    "without it no process can be captured; workloads that are drawn (workload=prefork), and files captured elsewhere "
    "(workload=captured, advise --capture), need none"
)


@dataclass(frozen=True)
class Rows:
    """Hold the page tables of (process, region) rows; a frame is a PFN or 0, `settled` tells if none was moving.

    Shapes: process, region, huge, settled (n,); frames (n, 512); swapped (n, 8) boards.
    """

    process: npt.NDArray[np.int64]
    region: npt.NDArray[np.int64]
    frames: npt.NDArray[np.uint32]
    swapped: npt.NDArray[np.uint64]
    huge: npt.NDArray[np.bool_]
    settled: npt.NDArray[np.bool_]


class Pagemap:
    """Keep one process's pagemap open, so that a pid used again cannot be mistaken for it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self._fd = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError as error:
            raise CaptureError(
                f"pid {pid}: its pagemap may not be read: another user's, or guarded: run as root"
            ) from error
        except (FileNotFoundError, ProcessLookupError) as error:
            if os.path.exists("/proc/self/pagemap"):
                raise VanishedError(pid) from error
            raise CaptureError(
                f"this kernel has no /proc/PID/pagemap (CONFIG_PROC_PAGE_MONITOR): {_WITHOUT}"
            ) from error

    def __enter__(self) -> "Pagemap":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def read(self, span: Span, buffer: npt.NDArray[np.uint64], rows: Rows, at: int) -> None:
        """Read the page tables of a span into `rows` from row `at` on.

        Raises: VanishedError if the process is gone.
        """
        for _, entries in self.chunks(span, buffer):
            n_regions = len(entries) // HPAGE_PMD_NR
            _decode(entries, rows, slice(at, at + n_regions))
            at += n_regions

    def entry(self, address: int) -> int:
        """Read the entry of one page. Raises: VanishedError if the process is gone."""
        entry = np.zeros(1, np.uint64)
        if os.preadv(self._fd, [entry.data], address // PAGE_SIZE_BYTES * ENTRY_BYTES) != entry.nbytes:
            raise self._empty()
        return int(entry[0])

    def chunks(self, span: Span, buffer: npt.NDArray[np.uint64]) -> Iterator[tuple[int, npt.NDArray[np.uint64]]]:
        """Read the page tables of a span, some regions at a time: the first region, and the entries in the buffer.

        Raises: VanishedError if the process is gone.
        """
        for first in range(*span, CHUNK_REGIONS):
            entries = buffer[: min(CHUNK_REGIONS, span[1] - first) * HPAGE_PMD_NR]
            try:
                n_bytes = os.preadv(self._fd, [entries.data], first * HPAGE_PMD_NR * ENTRY_BYTES)
            except ProcessLookupError as error:
                raise VanishedError(self.pid) from error
            if n_bytes != entries.nbytes:
                raise self._empty()
            yield first, entries

    def _empty(self) -> Exception:
        """Tell why less was read than asked for: the process is gone, or the file is another one than it should be."""
        process = look_up(self.pid)
        if process is None or process.state in "ZX" or process.vsize_bytes == 0:
            return VanishedError(self.pid)
        return CaptureError(f"pid {self.pid}: /proc/{self.pid}/pagemap is empty, a container masks it: {_WITHOUT}")

    def scan(self, span: Span, all_of: int, any_of: int) -> Iterator[tuple[int, int]]:
        """Find the address ranges in a span whose pages have all of one and any of the other categories.

        Raises: OSError with ENOTTY before Linux 6.7; VanishedError if the process is gone.
        """
        ranges = ctypes.create_string_buffer(_SCAN_ROOM * _PAGE_REGION_BYTES)
        start, end = (region * HPAGE_PMD_SIZE_BYTES for region in span)
        while start < end:
            argument = bytearray(
                _SCAN_ARG.pack(
                    _SCAN_ARG.size, 0, start, end, 0, ctypes.addressof(ranges), _SCAN_ROOM, 0,
                    0, all_of, any_of, all_of | any_of,
                )
            )  # fmt: skip
            try:
                n_found = fcntl.ioctl(self._fd, _PAGEMAP_SCAN, argument)
            except ProcessLookupError as error:
                raise VanishedError(self.pid) from error
            words = struct.unpack_from(f"={3 * n_found}Q", ranges)
            yield from zip(words[0::3], words[1::3], strict=True)
            start = _SCAN_ARG.unpack(argument)[4]


def scan_works(pid: int | None = None) -> bool:
    """Tell whether this kernel has PAGEMAP_SCAN (Linux 6.7), on a process whose pagemap may be read: by default this one.

    One that changed its user may not read its own.
    """
    with Pagemap(os.getpid() if pid is None else pid) as pagemap:
        try:
            list(pagemap.scan((0, 1), PAGE_IS_HUGE, 0))
        except OSError as error:
            if error.errno not in (errno.ENOTTY, errno.ENOSYS, errno.EINVAL):
                raise
            return False
    return True


def _decode(entries: npt.NDArray[np.uint64], rows: Rows, where: slice) -> None:
    """Split pagemap entries into frames, swap and entries on the move."""
    halves = entries.view(np.uint32).reshape(-1, HPAGE_PMD_NR, 2)
    low, high = halves[:, :, 0], halves[:, :, 1]
    mapped = (high >> _KIND_SHIFT) == _ANON_PRESENT
    if (np.bitwise_or.reduce(high, axis=None) & _FRAME_HIGH) and ((high & _FRAME_HIGH) * mapped).any():
        raise CaptureError("memory above 16 TiB: frame numbers do not fit 32 bits")
    np.multiply(low, mapped, out=rows.frames[where])
    swap = (high >> np.uint32(30)) == 1
    if swap.any():
        special = swap & ((low & _SWAP_TYPE) >= _FIRST_SPECIAL_TYPE)
        rows.swapped[where] = boards(swap & ~special)
        rows.settled[where] = ~(special & ((high & _GUARD_BIT) == 0)).any(axis=1)


@dataclass(frozen=True)
class DecodedPages:
    """Hold decoded entries of regions; one that no other process maps is exclusive, one written lately dirty.

    Shapes: frames (n, 512) PFN or 0; swapped, exclusive, dirty (n, 512).
    """

    frames: npt.NDArray[np.uint32]
    swapped: npt.NDArray[np.bool_]
    exclusive: npt.NDArray[np.bool_]
    dirty: npt.NDArray[np.bool_]


def decode(entries: npt.NDArray[np.uint64]) -> DecodedPages:
    """Split entries of whole regions into all that they say of anonymous pages, soft-dirty bits included."""
    halves = entries.view(np.uint32).reshape(-1, HPAGE_PMD_NR, 2)
    low, high = halves[:, :, 0], halves[:, :, 1]
    swap = (high >> np.uint32(30)) == 1
    return DecodedPages(
        frames=low * ((high >> _KIND_SHIFT) == _ANON_PRESENT),
        swapped=swap & ((low & _SWAP_TYPE) < _FIRST_SPECIAL_TYPE),
        exclusive=(high & _EXCLUSIVE_BIT) != 0,
        dirty=(high & _SOFT_DIRTY_BIT) != 0,
    )


@dataclass(frozen=True)
class Shown:
    """Hold what entries of regions say without frame numbers; a swapped page may be one that is being moved.

    Shapes: present (an anonymous page), swapped, exclusive (n, 512).
    """

    present: npt.NDArray[np.bool_]
    swapped: npt.NDArray[np.bool_]
    exclusive: npt.NDArray[np.bool_]


def decode_hidden(entries: npt.NDArray[np.uint64]) -> Shown:
    """Split entries of whole regions into what they say to whom the kernel hides frame numbers."""
    high = entries.view(np.uint32).reshape(-1, HPAGE_PMD_NR, 2)[:, :, 1]
    return Shown(
        present=(high >> _KIND_SHIFT) == _ANON_PRESENT,
        swapped=((high >> np.uint32(30)) == 1) & ((high & _GUARD_BIT) == 0),
        exclusive=(high & _EXCLUSIVE_BIT) != 0,
    )


def mark_huge(pagemap: Pagemap, span: Span, huge: npt.NDArray[np.bool_]) -> None:
    """Mark the regions of a span that a PMD maps. Shapes: huge (regions of the span,)."""
    for start, end in pagemap.scan(span, PAGE_IS_HUGE, 0):
        huge[start // HPAGE_PMD_SIZE_BYTES - span[0] : end // HPAGE_PMD_SIZE_BYTES - span[0]] = True


def boards(slots: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint64]:
    """Pack (n, 512) booleans into (n, 8) words, slot i = bit i % 64 of word i // 64."""
    return np.packbits(slots, axis=1, bitorder="little").view("<u8").astype(np.uint64).reshape(-1, BOARD_WORDS)


def readable(tree: Tree) -> tuple[Tree, int]:
    """Leave out processes that may not be looked into, and their descendants; count them.

    Raises: CaptureError where the root is one of them; VanishedError.
    """
    allowed = [process for position, process in enumerate(tree.processes) if _may_read(process, position == 0)]
    kept = keep(tree, allowed)
    return kept, len(tree.processes) - len(kept.processes)


def _may_read(process: TreeProcess, is_root: bool) -> bool:
    try:
        with Pagemap(process.pid):
            return True
    except CaptureError:
        if is_root:
            raise
        return False
