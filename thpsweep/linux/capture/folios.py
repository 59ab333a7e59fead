"""Which folios a living family maps, of any size and wherever they lie: what the LRU lists hold of it, and thpmaps' labels.

A layout numbers only folios of 2 MiB that lie in a region of their own; mremap() leaves others, and so do smaller sizes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thpsweep.linux.proc.kpage import FolioSpans
from thpsweep.linux.proc.pagemap import Rows
from thpsweep.units import HPAGE_PMD_NR, PAGE_SIZE_BYTES

Ints = npt.NDArray[np.int64]


ALWAYS = ("anon-thp-pmd-aligned-2048kB", "anon-thp-pte-aligned-2048kB", "anon-thp-pte-partial")
"""Labels that are given where nothing is mapped so, too."""


@dataclass(frozen=True)
class Mapped:
    """Hold how processes map large folios, run by run, and where the first page of the folio is or would be.

    Shapes: each (n,). Units: `address` and `n_pages` (of the folio) in pages, `n_ptes` those that are mapped there.
    """

    process: Ints
    head: Ints
    address: Ints
    n_pages: Ints
    n_ptes: Ints
    huge: npt.NDArray[np.bool_]


GROUPS = (4, 16)
"""Ptes that share a TLB entry where a CPU coalesces: AMD's Zen, arm64's contpte (machine.tlb_coalesce)."""


@dataclass(frozen=True)
class Census:
    """Hold the folios that some regions map: the first frame of each, and how large ones are mapped; how many ptes there
    are, and how many of them in whole_groups() of each size. Shapes: heads (n,)."""

    heads: Ints
    mapped: Mapped
    n_ptes: int
    in_groups: tuple[int, ...]


def count(rows: Rows, kept: npt.NDArray[np.bool_], frames: Ints, folios: FolioSpans) -> Census:
    """Find the folios behind the rows that are kept, which map these frames; `folios` has the large ones among them.

    Shapes: kept (rows,), frames (n,).
    """
    by_ptes = rows.frames[kept & ~rows.huge]
    return Census(
        np.unique(folios.of(np.unique(frames))[0]),
        _mapped(rows, kept, folios),
        int(np.count_nonzero(by_ptes)),
        tuple(whole_groups(by_ptes, size) for size in GROUPS),
    )


def whole_groups(frames: npt.NDArray[np.uint32], size: int) -> int:
    """Count the ptes in aligned groups of so many that map as many consecutive frames from an aligned one on, small pages or
    subpages: what a CPU may hold in one TLB entry. A group with a hole, or a page of another place, counts for nothing.

    Shapes: (rows, 512), 0 for none.
    """
    groups = frames.reshape(-1, size)
    first = groups[:, :1]
    whole = (first[:, 0] != 0) & (first[:, 0] % size == 0) & (groups == first + np.arange(size, dtype=np.uint32)).all(1)
    return size * int(np.count_nonzero(whole))


def _mapped(rows: Rows, kept: npt.NDArray[np.bool_], folios: FolioSpans) -> Mapped:
    """Gather ptes that follow each other in one folio: there are fewer of these runs than there are ptes."""
    row, slot = np.nonzero(_near(rows.frames, folios) & kept[:, None])
    frame = rows.frames[row, slot].astype(np.int64)
    head, n_pages = folios.of(frame)
    large = n_pages > 1
    row, slot, frame, head, n_pages = row[large], slot[large], frame[large], head[large], n_pages[large]
    address = rows.region[row] * HPAGE_PMD_NR + slot - (frame - head)
    ends = [np.diff(column, prepend=-1) != 0 for column in (row, head, address)]
    starts = np.flatnonzero(np.logical_or.reduce(ends))
    return Mapped(
        rows.process[row[starts]], head[starts], address[starts], n_pages[starts],
        np.diff(starts, append=len(row)), rows.huge[row[starts]],
    )  # fmt: skip


def _near(frames: npt.NDArray[np.uint32], folios: FolioSpans) -> npt.NDArray[np.bool_]:
    """Mark frames in blocks of 512 that hold a large folio, the others being small pages. Shapes: (rows, 512)."""
    holds = np.zeros(1 + int(frames.max(initial=0)) // HPAGE_PMD_NR, np.bool_)
    blocks = folios.head // HPAGE_PMD_NR
    holds[blocks[blocks < len(holds)]] = True
    return np.asarray((frames != 0) & holds[frames // HPAGE_PMD_NR])


def facts(parts: Sequence[Census]) -> dict[str, int]:
    """Count the LRU entries, a folio each, and add up large folios under the labels of tools/mm/thpmaps, in kB.

    A folio that is mapped as a whole at consecutive addresses is aligned or not, any other is partial.
    Source: tools/mm/thpmaps (v6.18).
    """
    n_entries = len(np.unique(np.concatenate([np.zeros(0, np.int64), *(part.heads for part in parts)])))
    joined = _joined([part.mapped for part in parts])
    kib = dict.fromkeys(ALWAYS, 0)
    for label, n_ptes in zip(_labels(joined), joined.n_ptes.tolist(), strict=True):
        kib[label] = kib.get(label, 0) + n_ptes * PAGE_SIZE_BYTES // 1024
    return {"lru_entries": n_entries, **dict(sorted(kib.items()))}


def contiguity(parts: Sequence[Census]) -> dict[str, int]:
    """Count all ptes, and those in whole groups, over all processes."""
    by_size = zip(GROUPS, zip(*(part.in_groups for part in parts), strict=True), strict=True) if parts else ()
    return {"ptes": sum(part.n_ptes for part in parts), **{f"ptes_in_groups_of_{n}": sum(of) for n, of in by_size}}


def _joined(parts: Sequence[Mapped]) -> Mapped:
    """Join the windows of a capture: a folio may lie in two regions, of which each saw a part."""
    names = ("process", "head", "address", "n_pages", "n_ptes", "huge")
    every = {name: np.concatenate([np.zeros(0, np.int64), *(getattr(part, name) for part in parts)]) for name in names}
    keys = np.stack([every["process"], every["head"], every["address"]])
    unique, first, index = np.unique(keys, axis=1, return_index=True, return_inverse=True)
    n_ptes = np.bincount(index.ravel(), weights=every["n_ptes"], minlength=unique.shape[1]).astype(np.int64)
    process, head, address = unique
    return Mapped(process, head, address, every["n_pages"][first], n_ptes, every["huge"][first].astype(np.bool_))


def _labels(mapped: Mapped) -> list[str]:
    whole = mapped.n_ptes == mapped.n_pages
    aligned = mapped.address % mapped.n_pages == 0
    columns = (column.tolist() for column in (whole, mapped.huge, aligned, mapped.n_pages * PAGE_SIZE_BYTES // 1024))
    return [
        f"anon-thp-{'pmd' if by_pmd else 'pte'}-{'aligned' if in_place else 'unaligned'}-{kib}kB" if is_whole
        else "anon-thp-pte-partial"
        for is_whole, by_pmd, in_place, kib in zip(*columns, strict=True)
    ]  # fmt: skip
