"""What both executors report of a step and of the memory after it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


class InexpressibleError(Exception):
    """The model cannot express a step; says which."""


@dataclass(frozen=True)
class StepResult:
    """What came of one step: the kernel's name for it, errno, its CPU time, what it did to page tables.

    `result` is empty where a step has none, or where no trace can be read and only the errno is known. `ns` is None where
    nothing is measured, NaN where other programs disturbed it, or where the model has no price. `faults` are page faults of
    the process that acts, None where they are not counted; stale TLB entries may add up to `spurious_faults` of them.
    `chosen` are pages that only the kernel can choose, and that the model takes over.
    """

    result: str = ""
    errno: str = ""
    ns: float | None = None
    tables_kib: int | None = None
    faults: int | None = None
    spurious_faults: int = 0
    chosen: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.result} {self.errno}".strip() or "done"


@dataclass(frozen=True)
class View:
    """One process's memory: names of frames (0 none; equal names are the same frame), forms, and smaps' sums.

    Shapes: frames, swapped, alone (mapped by one process) (n_pages,); huge (n_regions,). `frames` is None where the kernel
    hides them, all four where it has no pagemap; `slack_kib` is how much Pss may be too
    low: it is rounded down.
    """

    frames: npt.NDArray[np.int64] | None
    swapped: npt.NDArray[np.bool_] | None
    alone: npt.NDArray[np.bool_] | None
    huge: npt.NDArray[np.bool_] | None
    rss_kib: int
    pss_kib: float
    huge_kib: int
    swap_kib: int
    slack_kib: float = 0.0


@dataclass(frozen=True)
class State:
    """Hold the memory of all living processes, by their names, and the pages that are used in all.

    pages_in_use counts dead subpages of folios that are mapped in part; None where frames are hidden or
    pages are held, mapped or not.
    """

    views: dict[str, View]
    pages_in_use: int | None
