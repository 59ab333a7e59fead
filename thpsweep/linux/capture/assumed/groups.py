"""Which processes are assumed to share: all forks of one program start that map a page, not alone, at one address."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thpsweep.linux.capture.assumed.rows import AssumedRows, Boards, Ints
from thpsweep.units import BOARD_WORDS, HPAGE_PMD_NR

LEAST_SHARERS = 2
"""A page that is not mapped by one process alone is mapped by so many, seen or not."""

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Cell:
    """Slots of one region that the same processes share; `folio` 0 for small pages, else a number in the region.

    Shapes: members (processes,), slots (512,). outside: mappings that the layout does not show.
    """

    region: int
    members: Flags
    slots: Flags
    folio: int
    outside: int


@dataclass(frozen=True)
class Region:
    """One region of all processes that map something there; `index` has the rows that it comes from.

    Shapes: process, huge, fit (p,); present, shared (p, 512).
    """

    number: int
    index: Ints
    process: Ints
    huge: Flags
    fit: Flags
    present: Flags
    shared: Flags


def regions(rows: AssumedRows) -> Iterator[Region]:
    """Gather rows by region; two VMAs of a process that meet in a region are one row of it."""
    order = np.lexsort((rows.process, rows.region))
    number = rows.region[order]
    for part in np.split(order, np.flatnonzero(np.diff(number)) + 1) if len(order) else []:
        process, first = np.unique(rows.process[part], return_index=True)
        yield Region(
            number=int(rows.region[part[0]]),
            index=part,
            process=process,
            huge=np.logical_or.reduceat(rows.huge[part], first),
            fit=np.logical_or.reduceat(rows.fit[part], first),
            present=unpacked(np.bitwise_or.reduceat(rows.present[part], first, axis=0)),
            shared=unpacked(np.bitwise_or.reduceat(rows.shared[part], first, axis=0)),
        )


def correct_pmds(region: Region, image: Ints) -> Region:
    """Correct what is told of pages under a PMD: bit 56 of all of them is that of the first (seen on Linux 6.18).

    Two PMDs whose first page is shared are taken to map one folio. One that is alone with its folio shares the pages that
    another maps by ptes, not alone: all but the first where that is told to be its own. Shapes: image (all processes,).
    """
    shared, mine = region.shared.copy(), image[region.process]
    for program in np.unique(mine[region.huge]):
        ours = mine == program
        by_ptes = region.shared[ours & ~region.huge].any(axis=0)
        with_first = ours & region.huge & region.shared[:, 0]
        alone = np.flatnonzero(ours & region.huge & ~region.shared[:, 0])
        shared[alone] = False
        if np.count_nonzero(with_first) == 1 and by_ptes.any():
            shared[with_first] = by_ptes
        elif not with_first.any() and len(alone):
            shared[alone[0], 1:] = by_ptes[1:]
    return dataclasses.replace(region, shared=shared & region.present)


def unpacked(boards: Boards) -> Flags:
    """Unpack boards. Shapes: (n, 8) -> (n, 512)."""
    words = np.ascontiguousarray(boards.astype("<u8")).view(np.uint8)
    return np.unpackbits(words, axis=1, bitorder="little", count=BOARD_WORDS * 64).astype(np.bool_)


def groups(region: Region, image: Ints, keys: npt.NDArray[np.uint64]) -> Iterator[tuple[Flags, Flags, int]]:
    """Cut a region into groups: the members, the slots, and the folio of each.

    image: whose forks they are; processes that have run another program since share nothing. A process that maps a page
    alone is a group of its own. A folio shows where a process maps it by a PMD: two that do, and map no page of it alone,
    are assumed to map the same one. Shapes: image, keys (all processes,) -> (p,), (512,).
    """
    folio = _folios(region)
    for position in range(len(region.process)):
        alone = region.present[position] & ~region.shared[position]
        if alone.any():
            yield np.arange(len(region.process)) == position, alone, int(folio[position])
    for program in np.unique(image[region.process]):
        shared = region.shared & (image[region.process] == program)[:, None]
        signature = np.bitwise_xor.reduce(np.where(shared, keys[region.process][:, None], np.uint64(0)), axis=0)
        for value in np.unique(signature[shared.any(axis=0)]):
            slots = signature == value
            members = shared[:, int(np.argmax(slots))]
            for part, number in _by_folio(members, folio):
                yield part, slots, number


def _folios(region: Region) -> Ints:
    """Number the folios that PMDs show: one for all whose pages are all shared, one for each other. Shapes: -> (p,)."""
    numbers = np.zeros(len(region.process), np.int64)
    together = region.huge & region.shared.all(axis=1)
    numbers[together] = 1
    apart = np.flatnonzero(region.huge & ~together)
    numbers[apart] = np.arange(2, 2 + len(apart))
    return numbers


def _by_folio(members: Flags, folio: Ints) -> Iterator[tuple[Flags, int]]:
    """Cut a group that would map several folios; a process that maps ptes goes with the first of them."""
    numbers = np.unique(folio[members & (folio > 0)])
    if not len(numbers):
        yield members, 0
    for number in numbers:
        by_ptes = members & (folio == 0) if number == numbers[0] else np.zeros_like(members)
        yield by_ptes | (members & (folio == number)), int(number)


def cells(region: Region, grouped: list[tuple[Flags, Flags, int]], n_processes: int) -> Iterator[Cell]:
    """Make cells of groups, of those members that can have a huge page here; the same ones twice are one cell."""
    joined: dict[tuple[bytes, int], Cell] = {}
    for group, slots, folio in grouped:
        members = np.zeros(n_processes, np.bool_)
        members[region.process[group & region.fit]] = True
        if not members.any():
            continue
        is_alone = np.count_nonzero(group) == 1 and not region.shared[group][:, slots].any()
        mappers = 1 if is_alone else max(LEAST_SHARERS, int(np.count_nonzero(group)))
        outside = mappers - int(np.count_nonzero(members))
        key = members.tobytes(), folio
        if key in joined:
            slots, outside = slots | joined[key].slots, max(outside, joined[key].outside)
        joined[key] = Cell(region.number, members, slots, folio, outside)
    yield from joined.values()


def shares(region: Region, grouped: list[tuple[Flags, Flags, int]]) -> npt.NDArray[np.float64]:
    """Give the part of each page that is each process's: one over its sharers, as Pss counts. Shapes: -> (p, 512)."""
    part = np.zeros((len(region.process), HPAGE_PMD_NR))
    for group, slots, _ in grouped:
        n_alone = ~region.shared[group][:, slots]
        n_sharers = max(LEAST_SHARERS, int(np.count_nonzero(group)))
        part[np.ix_(group, slots)] = np.where(n_alone, 1.0, 1.0 / n_sharers)
    return part
