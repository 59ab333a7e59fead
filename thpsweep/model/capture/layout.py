"""The memory of a family of processes, page by page, as captured from a live one: who shares which frame."""

import hashlib
import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from thpsweep.errors import CaptureError
from thpsweep.model.capture.activity import Activity
from thpsweep.model.capture.npz import UNREADABLE, Shape, check_shapes, read_arrays
from thpsweep.units import BOARD_WORDS

WITHOUT_ACTIVITY, WITH_ACTIVITY = 1, 2
"""Versions of the file format; a reader refuses every other."""

MAX_FILE_BYTES = 4 << 30
"""Most that a file may unpack to: 2,000 processes x 16 GiB need half of it."""

MAX_PROCESSES = 4_096
"""Largest family: twice the largest sharing degree of a run."""

MAX_PROVENANCE_BYTES = 1 << 16

WHY_FORBIDDEN = "MADV_NOHUGEPAGE, or a stack: MAP_STACK since Linux 6.7"
"""What makes a VMA VM_NOHUGEPAGE. Source: include/linux/mman.h calc_vm_flag_bits() (v6.18)."""

ARRAYS: dict[str, Shape] = {
    "present": (np.uint64, ("processes", "regions", BOARD_WORDS)),
    "swapped": (np.uint64, ("processes", "regions", BOARD_WORDS)),
    "huge": (np.bool_, ("processes", "regions")),
    "cell_region": (np.int32, ("cells",)),
    "cell_members": (np.int32, ("cells",)),
    "cell_slots": (np.uint64, ("cells", BOARD_WORDS)),
    "cell_folio": (np.int32, ("cells",)),
    "cell_outside": (np.int32, ("cells",)),
    "members": (np.bool_, ("member sets", "processes")),
    "parent": (np.int32, ("processes",)),
}
"""Dtype and shape of every array of a layout; a word stands for the same length wherever it appears."""

_FILED: dict[str, Shape] = {**ARRAYS, "provenance": (np.uint8, ("provenance bytes",))}
_FORMATS: dict[int, dict[str, Shape]] = {
    WITHOUT_ACTIVITY: _FILED,
    WITH_ACTIVITY: {**_FILED, "activity": (np.uint8, ("activity bytes",))},
}
"""What a file of each version holds."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Hold which process maps which frame of which region, checked when built.

    Shapes: as in `ARRAYS`. A board is 512 slots in 8 words, slot i = bit i % 64 of word i // 64. A cell is the slots
    of one region whose frames are mapped by exactly one set of processes (`members[cell_members]`) and belong to one
    folio: 0 for small pages (and folios below 2 MiB), else a number >= 1 of one PMD-order folio, slot i being its
    subpage i. Cells stand in the order of their regions. A `huge` row maps all 512 slots by one PMD entry.
    `cell_outside` is the largest number of mappings of a frame of the cell that the layout does not show. Process 0 is
    the root and points at itself; a parent stands before its children. Where activity was watched, hot regions come first.
    Raises: CaptureError naming the invariant that does not hold.
    """

    present: npt.NDArray[np.uint64]
    swapped: npt.NDArray[np.uint64]
    huge: npt.NDArray[np.bool_]
    cell_region: npt.NDArray[np.int32]
    cell_members: npt.NDArray[np.int32]
    cell_slots: npt.NDArray[np.uint64]
    cell_folio: npt.NDArray[np.int32]
    cell_outside: npt.NDArray[np.int32]
    members: npt.NDArray[np.bool_]
    parent: npt.NDArray[np.int32]
    provenance: dict[str, str | int]
    activity: Activity | None = None

    def __post_init__(self) -> None:
        dims = check_shapes({name: (getattr(self, name).dtype, getattr(self, name).shape) for name in ARRAYS}, ARRAYS)
        if not (1 <= dims["processes"] <= MAX_PROCESSES and dims["regions"] >= 1):
            raise CaptureError(
                f"{dims['processes']} processes, {dims['regions']} regions: expected 1..{MAX_PROCESSES} and at least 1"
            )
        for name in ARRAYS:
            frozen = getattr(self, name).view()
            frozen.flags.writeable = False
            object.__setattr__(self, name, frozen)
        _check_provenance(self.provenance)
        _check_cells(self)
        _check_folios(self)
        start = self.cell_start.tolist()
        for region in range(self.n_regions):
            _check_region(self, region, slice(start[region], start[region + 1]))

    @property
    def n_processes(self) -> int:
        """Count the processes."""
        return int(self.present.shape[0])

    @property
    def n_regions(self) -> int:
        """Count the 2 MiB regions."""
        return int(self.present.shape[1])

    @property
    def cell_start(self) -> npt.NDArray[np.int64]:
        """Give the first cell of each region, and the number of cells at the end (the row pointer of a CSR matrix)."""
        return np.searchsorted(self.cell_region, np.arange(self.n_regions + 1)).astype(np.int64)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the layout to a compressed .npz, whole or not at all.

        Raises: CaptureError if the file cannot be written.
        """
        arrays: dict[str, Any] = {name: getattr(self, name) for name in ARRAYS}
        text = json.dumps(self.provenance, sort_keys=True).encode()
        version = WITHOUT_ACTIVITY if self.activity is None else WITH_ACTIVITY
        arrays |= {"format": np.int64(version), "provenance": np.frombuffer(text, dtype=np.uint8)}
        if self.activity is not None:
            arrays["activity"] = np.frombuffer(self.activity.to_bytes(), dtype=np.uint8)
        if os.path.exists(path) and not os.path.isfile(path):  # a device's name would be taken for a file
            raise CaptureError(f"{os.fspath(path)}: cannot be written: not a regular file")
        unfinished = Path(f"{os.fspath(path)}.{os.getpid()}.part")
        try:
            with unfinished.open("wb") as file:
                np.savez_compressed(file, **arrays)
            unfinished.replace(path)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise CaptureError(f"{os.fspath(path)}: cannot be written: {error.strerror or error}") from error

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Layout":
        """Read a layout and trust nothing: names, dtypes, shapes and sizes are checked before anything is unpacked.

        Raises: CaptureError naming the file and what is wrong with it.
        """
        try:
            with open(path, "rb") as file:
                return cls(**_read(file))
        except CaptureError as error:
            raise CaptureError(f"{os.fspath(path)}: {error}") from error
        except FileNotFoundError as error:
            raise CaptureError(f"{os.fspath(path)}: no such file") from error
        except UNREADABLE as error:
            raise CaptureError(f"{os.fspath(path)}: cannot be read: {error or type(error).__name__}") from error


def content_hash(path: str | os.PathLike[str]) -> str:
    """Give the SHA-256 of a file's bytes, by which a point knows the captured layout that it ran on.

    Raises: CaptureError if the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CaptureError(f"{os.fspath(path)}: cannot be read: {error.strerror or error}") from error


def _read(file: BinaryIO) -> dict[str, Any]:
    """Read what `Layout` is built from."""
    arrays: dict[str, Any] = read_arrays(file, _FORMATS, MAX_FILE_BYTES)
    if "activity" in arrays:
        arrays["activity"] = Activity.from_bytes(arrays["activity"].tobytes())
    text = arrays.pop("provenance").tobytes()
    if len(text) > MAX_PROVENANCE_BYTES:
        raise CaptureError(f"provenance has {len(text)} bytes: expected {MAX_PROVENANCE_BYTES}")
    try:
        return {**arrays, "provenance": json.loads(text)}
    except (ValueError, RecursionError) as error:
        raise CaptureError("provenance is not JSON") from error


def _check_provenance(provenance: Any) -> None:
    if not isinstance(provenance, dict):
        raise CaptureError("provenance is not a table of names and values")
    for key, value in provenance.items():
        if not isinstance(key, str) or not isinstance(value, str | int) or isinstance(value, bool):
            raise CaptureError(f"provenance: {key!r} is neither text nor a whole number")


def _check_cells(layout: Layout) -> None:
    """Check each cell on its own, the member sets and the parents."""
    region, members, folio = layout.cell_region, layout.cell_members, layout.cell_folio
    n_sets = len(layout.members)
    _require(bool(((region >= 0) & (region < layout.n_regions)).all()), "a cell is in no region of the layout")
    _require(bool((np.diff(region) >= 0).all()), "cells are not in the order of their regions")
    _require(bool(((members >= 0) & (members < n_sets)).all()), "a cell names a member set that does not exist")
    _require(bool(layout.cell_slots.any(axis=1).all()), "a cell has no slot")
    _require(bool(((folio >= 0) & (layout.cell_outside >= 0)).all()), "a cell has a negative folio or outside count")
    _require(bool((folio <= len(folio)).all()), "a folio has a number above the number of cells")
    _require(bool(layout.members.any(axis=1).all()), "a member set is empty")
    _require(len(np.unique(np.packbits(layout.members, axis=1), axis=0)) == n_sets, "two member sets are the same")
    keys = np.stack([region, members, folio], axis=1)
    _require(len(np.unique(keys, axis=0)) == len(keys), "two cells have the same region, members and folio")
    _require(not (layout.swapped & layout.present).any(), "a slot is present and swapped at once")
    index = np.arange(layout.n_processes)
    older = (layout.parent >= 0) & (layout.parent < index)
    _require(bool(layout.parent[0] == 0 and older[1:].all()), "a parent does not stand before its child")


def _check_folios(layout: Layout) -> None:
    """Check that a folio is in one region and has one frame a slot."""
    cells = np.flatnonzero(layout.cell_folio)
    if not len(cells):
        return
    cells = cells[np.argsort(layout.cell_folio[cells], kind="stable")]
    starts = np.flatnonzero(np.diff(layout.cell_folio[cells], prepend=0))
    region = layout.cell_region[cells]
    same = np.minimum.reduceat(region, starts) == np.maximum.reduceat(region, starts)
    _require(bool(same.all()), "a folio is in two regions")
    union = np.bitwise_or.reduceat(layout.cell_slots[cells], starts, axis=0)
    _require(_n_slots(union) == _n_slots(layout.cell_slots[cells]), "a folio has two frames in one slot")


def _check_region(layout: Layout, region: int, cells: slice) -> None:
    """Check that the cells of every process are its present slots, each once, and that its huge rows map whole folios."""
    maps = layout.members[layout.cell_members[cells]]
    mapped, n_frames = _mapped(maps, layout.cell_slots[cells])
    twice = n_frames != np.bitwise_count(mapped).sum(axis=1, dtype=np.int64)
    _require(not twice.any(), f"process {np.argmax(twice)} maps two frames in one slot")
    differs = (mapped != layout.present[:, region]).any(axis=1)
    _require(not differs.any(), f"the cells of process {np.argmax(differs)} are not its present slots")
    huge = layout.huge[:, region]
    if huge.any():
        holey = huge & (~mapped).any(axis=1)
        _require(not holey.any(), f"a huge region of process {np.argmax(holey)} is not present in all its slots")
        folio = layout.cell_folio[cells, None]
        lowest = np.where(maps, folio, folio.max()).min(axis=0)
        one = (lowest > 0) & (lowest == np.where(maps, folio, 0).max(axis=0))
        _require(bool(one[huge].all()), f"a huge region of process {np.argmax(huge & ~one)} is not one folio")


def _mapped(
    maps: npt.NDArray[np.bool_], slots: npt.NDArray[np.uint64]
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Give the slots that each process maps, and how many frames it has there.

    Shapes: maps (cells, processes), slots (cells, 8) -> (processes, 8), (processes,).
    """
    process, cell = np.nonzero(maps.T)  # ascending by process
    mapped = np.zeros((maps.shape[1], slots.shape[1]), np.uint64)
    if len(cell):
        starts = np.flatnonzero(np.diff(process, prepend=-1))
        mapped[process[starts]] = np.bitwise_or.reduceat(slots[cell], starts, axis=0)
    n_slots = np.bitwise_count(slots).sum(axis=1, dtype=np.int64)
    return mapped, np.bincount(process, weights=n_slots[cell], minlength=maps.shape[1]).astype(np.int64)


def _n_slots(boards: npt.NDArray[np.uint64]) -> int:
    return int(np.bitwise_count(boards).sum(dtype=np.int64))


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise CaptureError(f"broken: {sentence}")


# The dataclass spells its fields out for the reader; the table above is what is checked and filed.
assert [field.name for field in fields(Layout)] == [*ARRAYS, "provenance", "activity"]
