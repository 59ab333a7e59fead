"""Try each interface on memory of our own before it is trusted: some succeed and do nothing."""

import contextlib
import ctypes
import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from thpsweep.errors import CaptureError
from thpsweep.linux.activity import reads
from thpsweep.linux.activity.faults import Faults
from thpsweep.linux.proc.pagemap import ENTRY_BYTES
from thpsweep.units import PAGE_SIZE_BYTES

_PAGES, _WRITTEN = 64, 24
_MANY, _TOUCHED = 8_192, 1_024
"""Young bits are cleared without a flush, so that a page whose entry a TLB still has is not marked again: those that are
touched have been driven out by many others before."""
_TOLERATED = 0.05
_PATIENCE_S = 1.0
_FRAME, _EXCLUSIVE, _SOFT_DIRTY = np.uint64((1 << 55) - 1), np.uint64(1 << 56), np.uint64(1 << 55)


class Scratch:
    """A few pages that are read first, so that all of them map the zero page; the VMA stays one of its own."""

    def __init__(self, n_pages: int = _PAGES) -> None:
        self.n_pages = n_pages
        self._memory = mmap.mmap(-1, n_pages * PAGE_SIZE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._memory.madvise(mmap.MADV_DONTDUMP)
        with contextlib.suppress(OSError):  # a kernel without THP
            self._memory.madvise(mmap.MADV_NOHUGEPAGE)
        self._view = ctypes.c_char.from_buffer(self._memory)
        self.address = ctypes.addressof(self._view)
        self.read(n_pages)

    def read(self, n_pages: int) -> None:
        """Read the first pages."""
        for page in range(n_pages):
            self._memory[page * PAGE_SIZE_BYTES]

    def write(self, n_pages: int) -> None:
        """Write the first pages."""
        for page in range(n_pages):
            self._memory[page * PAGE_SIZE_BYTES] = 1

    def entries(self) -> np.ndarray:
        """Read the entries of all pages."""
        entries = np.zeros(self.n_pages, np.uint64)
        with open("/proc/self/pagemap", "rb", buffering=0) as file:
            os.preadv(file.fileno(), [entries.data], self.address // PAGE_SIZE_BYTES * ENTRY_BYTES)
        return entries


def zero_frame() -> int:
    """Give the frame of the zero page. Raises: CaptureError where a copied page does not show in pagemap."""
    memory = Scratch()
    before = memory.entries()
    memory.write(_WRITTEN)
    after = memory.entries()
    changed = (before & _FRAME) != (after & _FRAME)
    exclusive = (after & _EXCLUSIVE) != 0
    wanted = np.arange(_PAGES) < _WRITTEN
    zero = int(before[0] & _FRAME)
    if not zero or (before & _FRAME != zero).any() or (changed != wanted).any() or (exclusive != wanted).any():
        raise CaptureError("copied pages do not show in pagemap here: writes cannot be watched")
    return zero


def soft_dirty() -> str:
    """Tell why soft-dirty bits cannot be trusted here; nothing where they can."""
    memory = Scratch()
    memory.write(_PAGES)
    try:
        reads.clear(os.getpid(), reads.CLEAR_SOFT_DIRTY)
    except OSError as error:
        return f"clear_refs: {error.strerror}"
    memory.write(_WRITTEN)
    dirty = (memory.entries() & _SOFT_DIRTY) != 0
    if (dirty == (np.arange(_PAGES) < _WRITTEN)).all():
        return ""
    return "clear_refs succeeds and soft-dirty bits stay as they are: this kernel has none (CONFIG_MEM_SOFT_DIRTY)"


def young() -> str:
    """Tell why young bits cannot be trusted here; nothing where they can."""
    memory = Scratch(_MANY)
    memory.write(_MANY)
    try:
        reads.clear(os.getpid(), reads.CLEAR_ANONYMOUS)
    except OSError as error:
        return f"clear_refs: {error.strerror}"
    memory.read(_TOUCHED)
    n_pages = _referenced_kib(memory.address) * 1024 // PAGE_SIZE_BYTES
    if abs(n_pages - _TOUCHED) <= _TOLERATED * _TOUCHED:
        return ""
    return f"{_TOUCHED} of {_MANY} pages of our own were touched, smaps says {n_pages}"


def faults(tracer: Faults) -> str:
    """Tell why traced faults cannot be trusted here; nothing where they can."""
    memory = Scratch()
    tracer.follow([os.getpid()])
    memory.write(_WRITTEN)
    first = memory.address // PAGE_SIZE_BYTES
    wanted = set(range(first, first + _WRITTEN))

    def seen() -> bool:
        tracer.drain()
        return wanted <= set(tracer.of(os.getpid()).tolist())

    return "" if _comes_true(seen) else f"of {_WRITTEN} write faults of our own not all were told of"


def _comes_true(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + _PATIENCE_S
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def _referenced_kib(address: int) -> int:
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    for line in lines:
        if line.startswith(f"{address:x}-") or line.startswith(f"{address:08x}-"):
            break
    return next((int(line.split()[1]) for line in lines if line.startswith("Referenced:")), -1)
