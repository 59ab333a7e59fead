"""What the kernel shows of a process's memory: frames, forms, and the sums of smaps."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from thpsweep.errors import CaptureError
from thpsweep.linux.proc.kpage import KPF_COMPOUND, KPF_IDLE, KPF_ZERO_PAGE, FrameTable, pmd_folio_heads
from thpsweep.linux.proc.pagemap import ENTRY_BYTES, PAGE_IS_HUGE, Pagemap, scan_works
from thpsweep.units import HPAGE_PMD_NR, HPAGE_PMD_SIZE_BYTES, PAGE_SIZE_BYTES

_PRESENT, _SWAPPED, _FRAME = np.uint64(1 << 63), np.uint64(1 << 62), np.uint64((1 << 55) - 1)
_EXCLUSIVE = np.uint64(1 << 56)
_HEADER = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) ")
_SIZE = re.compile(r"^(\w+):\s+(\d+) kB$")
_FIELDS = ("Rss", "Pss", "AnonHugePages", "ShmemPmdMapped", "Swap")


class MemoryRange(Protocol):
    """Some regions of a process's address space."""

    @property
    def address(self) -> int:
        """Where it begins, at a region's boundary."""

    @property
    def n_regions(self) -> int:
        """Its length in regions."""

    @property
    def n_bytes(self) -> int:
        """Its length."""

    @property
    def n_pages(self) -> int:
        """Its length in pages."""


@dataclass(frozen=True)
class MemoryState:
    """One process's memory at one moment.

    Shapes: frames (n_pages,) PFN or 0 for none and for the zero page; swapped, alone (mapped by nobody else) (n_pages,);
    huge (n_regions,). `frames` is None where the kernel hides them, `huge` before Linux 6.7, all four are where there is no
    pagemap. `kib` has the fields of smaps summed over the range, n_vmas how many were summed. idle: whether another
    program marked a folio of it idle, and took the young bits of its ptes for that.
    """

    frames: npt.NDArray[np.int64] | None
    swapped: npt.NDArray[np.bool_] | None
    alone: npt.NDArray[np.bool_] | None
    huge: npt.NDArray[np.bool_] | None
    kib: dict[str, int]
    n_vmas: int
    idle: bool = False


def memory_state(pid: int, memory: MemoryRange) -> MemoryState:
    """Read the state of a memory of a process that does nothing meanwhile."""
    kib, n_vmas = smaps(pid, memory)
    entries = _entries(pid, memory)
    if entries is None:
        return MemoryState(None, None, None, None, kib, n_vmas)
    present = (entries & _PRESENT) != 0
    frames = np.where(present, entries & _FRAME, np.uint64(0)).astype(np.int64)
    shown = bool(frames.any()) or not present.any()
    known, idle = _known(frames) if shown else (None, False)
    return MemoryState(
        frames=known,
        swapped=(entries & _SWAPPED) != 0,
        alone=present & ((entries & _EXCLUSIVE) != 0),
        huge=_huge(pid, memory),
        kib=kib,
        n_vmas=n_vmas,
        idle=idle,
    )


def pages_in_use(states: Iterable[MemoryState]) -> int | None:
    """Count the pages of memory behind what processes map, a 2 MiB folio as a whole; None where frames are hidden."""
    mapped = []
    for seen in states:
        if seen.frames is None:
            return None
        mapped.append(seen.frames)
    frames = np.unique(np.concatenate(mapped)) if mapped else np.zeros(0, np.int64)
    frames = frames[frames != 0]
    with FrameTable("kpageflags") as flags:
        compound = (flags.read(frames) & KPF_COMPOUND) != 0
        heads = pmd_folio_heads(flags, frames[compound]) if compound.any() else frames[:0]
    in_folio = compound & np.isin(frames - frames % HPAGE_PMD_NR, heads)
    return int(np.count_nonzero(~in_folio)) + HPAGE_PMD_NR * len(heads)


def page_table_kib(pid: int) -> int:
    """Read VmPTE, the page tables of the whole process."""
    match = re.search(r"^VmPTE:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(match.group(1)) if match else 0


def smaps(pid: int, memory: MemoryRange) -> tuple[dict[str, int], int]:
    """Sum fields of smaps, in KiB, over the VMAs in a memory; count these."""
    kib, n_vmas, inside = dict.fromkeys(_FIELDS, 0), 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        header = _HEADER.match(line)
        if header:
            inside = memory.address <= int(header.group(1), 16) < memory.address + memory.n_bytes
            n_vmas += inside
        elif inside and (size := _SIZE.match(line)) and size.group(1) in kib:
            kib[size.group(1)] += int(size.group(2))
    return kib, n_vmas


def _entries(pid: int, memory: MemoryRange) -> npt.NDArray[np.uint64] | None:
    """Read page table entries; nothing where there is no pagemap, or a container masks it."""
    entries = np.empty(memory.n_pages, np.uint64)
    try:
        with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as file:
            n_read = os.preadv(file.fileno(), [entries.data], memory.address // PAGE_SIZE_BYTES * ENTRY_BYTES)
    except FileNotFoundError:
        return None
    return entries if n_read == entries.nbytes else None


def _known(frames: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64] | None, bool]:
    """Take the zero page out, and tell whether one of the others is idle.

    Gives nothing where the kernel tells nothing of frames, or a container masks what it tells.
    """
    numbers, index = np.unique(frames, return_inverse=True)
    try:
        with FrameTable("kpageflags") as flags:
            words = flags.read(numbers)
    except CaptureError:
        return None, False
    if not (words[numbers != 0] != 0).all():  # a page that is mapped has flags
        return None, False
    ours = (numbers != 0) & ((words & KPF_ZERO_PAGE) == 0)
    return np.where(ours[index], frames, 0), bool(((words & KPF_IDLE) != 0)[ours].any())


def _huge(pid: int, memory: MemoryRange) -> npt.NDArray[np.bool_] | None:
    """Tell which regions a PMD maps; nothing where the kernel does not (before Linux 6.7), but for the sum in smaps."""
    if not scan_works(pid):
        return None
    huge = np.zeros(memory.n_regions, np.bool_)
    first = memory.address // HPAGE_PMD_SIZE_BYTES
    with Pagemap(pid) as pagemap:
        for start, end in pagemap.scan((first, first + memory.n_regions), PAGE_IS_HUGE, 0):
            huge[start // HPAGE_PMD_SIZE_BYTES - first : end // HPAGE_PMD_SIZE_BYTES - first] = True
    return huge
