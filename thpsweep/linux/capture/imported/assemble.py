"""Make a layout of what was pasted: who shares what is assumed, and Pss is met to within a page where it can be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from thpsweep.errors import CaptureError
from thpsweep.linux.capture.imported.placing import Edges, Placed, place
from thpsweep.linux.capture.imported.regions import RegionCell, cells, none_apart
from thpsweep.linux.capture.imported.sharers import Overlap, Sharing, n_missing, overlaps, solve
from thpsweep.linux.capture.imported.sums import Summed
from thpsweep.linux.proc.pagemap import boards
from thpsweep.model.capture.layout import WHY_FORBIDDEN
from thpsweep.units import BOARD_WORDS, HPAGE_PMD_NR


@dataclass(frozen=True)
class Assembled:
    """Hold the arrays of a layout, and what has to be said of them. Units: Pss in pages."""

    arrays: dict[str, Any]
    n_pasted: int
    n_added: int
    edges: Edges
    pss_assumed: float
    mean_sharers: float


def assemble(found: Sequence[Summed], parents: Sequence[int]) -> Assembled:
    """Lay out the processes, root first, and those that are added. Raises: CaptureError where nothing is in use."""
    pairs = [(place(number, sums), sums) for number, each in enumerate(found) for sums in each.sums]
    placed = [(where, sums) for (where, _), sums in pairs]
    edges = [edge for (_, edge), _ in pairs]
    if not any(where.shared[0] < where.shared[1] or any(a < b for a, b in where.private) for where, _ in placed):
        n_forbidden = len({region for each in found for region in each.forbidden})
        but = f" but {n_forbidden} that forbid huge pages ({WHY_FORBIDDEN})" if n_forbidden else ""
        raise CaptureError(f"no 2 MiB region of private anonymous memory is in use{but}")
    template = _template(found)
    every = overlaps(placed)
    n_added = n_missing(every, template, len(found))
    solved = [(overlap, solve(overlap, template, n_added)) for overlap in every]
    n = len(found) + n_added
    full = [_with_added(overlap, sharing, template, len(found)) for overlap, sharing in solved]
    arrays, pss = _arrays(full, [sharing for _, sharing in solved], every, n, len(found))
    arrays["parent"] = np.array([*parents, *[0] * n_added], np.int32)
    total = Edges(*(sum(getattr(edge, name) for edge in edges) for name in ("private", "shared", "swapped")))
    return Assembled(arrays, len(found), n_added, total, pss, _mean_sharers(arrays, len(found), pss))


def _mean_sharers(arrays: Mapping[str, Any], n_pasted: int, pss: float) -> float:
    """Give the harmonic mean of the sharers of what is shared, as the pasted processes see it."""
    mine = arrays["members"][:, :n_pasted].sum(axis=1)[arrays["cell_members"]]
    slots = np.bitwise_count(arrays["cell_slots"]).sum(axis=1, dtype=np.int64)
    sharers = arrays["members"].sum(axis=1)[arrays["cell_members"]] + arrays["cell_outside"]
    shared = sharers > 1
    ptes = int((slots * mine)[shared].sum())
    private = int((slots * mine)[~shared].sum())
    return float(ptes / (pss - private)) if ptes else 1.0


def _template(found: Sequence[Summed]) -> int:
    """Name the process that the added ones are like: the one that shares most, rather than the root."""
    shared = [sum(sums.shared for sums in each.sums) for each in found]
    return len(found) - 1 - int(np.argmax(shared[::-1]))


def _with_added(overlap: Overlap, sharing: Sharing, template: int, n: int) -> list[Placed]:
    """Add the processes that are not in the text: each maps the first of the template's shared pages."""
    placed = list(overlap.placed)
    for number, n_shared in enumerate(sharing.added):
        left = n_shared
        for mine in [each for each in overlap.placed if each.process == template]:
            length = mine.shared[1] - mine.shared[0]
            placed.append(mine.cut(n + number, min(left, length)))
            left -= min(left, length)
    return placed


def _arrays(
    full: Sequence[Sequence[Placed]], solved: Sequence[Sharing], every: Sequence[Overlap], n: int, n_pasted: int
) -> tuple[dict[str, Any], float]:
    """Fill the arrays of a layout, region by region; add up the Pss of the processes that are in the text."""
    by_region = _by_region(full)
    shape = (n, len(by_region))
    present, swapped = np.zeros((*shape, BOARD_WORDS), np.uint64), np.zeros((*shape, BOARD_WORDS), np.uint64)
    huge, listed, numbers, pss = np.zeros(shape, np.bool_), list[tuple[int, RegionCell]](), dict[object, int](), 0.0
    for at, region in enumerate(sorted(by_region)):
        part = by_region[region][0]
        placed = by_region[region][1]
        for cell in cells(region, placed, _groups(every[part], solved[part], region)):
            listed.append((at, cell))
            board = boards(cell.slots[None, :])[0]
            present[list(cell.members), at] |= board
            mine = sum(member < n_pasted for member in cell.members)
            pss += int(cell.slots.sum()) * mine / (len(cell.members) + cell.outside)
        for each in placed:
            swapped[each.process, at] |= boards(each.slots(each.swapped, region)[None, :])[0]
            huge[each.process, at] |= region in each.huge
    sets = {members: number for number, members in enumerate(dict.fromkeys(cell.members for _, cell in listed))}
    members = np.zeros((len(sets), n), np.bool_)
    for who, number in sets.items():
        members[number, list(who)] = True
    folios = [numbers.setdefault((at, c.folio), len(numbers) + 1) if c.folio else 0 for at, c in listed]
    return {
        "present": present,
        "swapped": swapped,
        "huge": huge,
        "cell_region": np.array([at for at, _ in listed], np.int32),
        "cell_members": np.array([sets[cell.members] for _, cell in listed], np.int32),
        "cell_slots": boards(np.stack([cell.slots for _, cell in listed])),
        "cell_folio": np.array(folios, np.int32),
        "cell_outside": np.array([cell.outside for _, cell in listed], np.int32),
        "members": members,
    }, pss


def _by_region(full: Sequence[Sequence[Placed]]) -> dict[int, tuple[int, list[Placed]]]:
    """List what is mapped in each region, and in which overlap it is. Two overlaps never meet in a region."""
    found: dict[int, tuple[int, list[Placed]]] = {}
    for number, placed in enumerate(full):
        for each in placed:
            for region in each.regions:
                found.setdefault(region, (number, []))[1].append(each)
    return {
        region: (number, placed)
        for region, (number, placed) in found.items()
        if any(_has_something(each, region) for each in placed)
    }


def _has_something(placed: Placed, region: int) -> bool:
    begin, end = region * HPAGE_PMD_NR, (region + 1) * HPAGE_PMD_NR
    return any(
        start < end and stop > begin and start < stop
        for start, stop in (placed.shared, *placed.private, *placed.swapped)
    )


def _groups(overlap: Overlap, sharing: Sharing, region: int) -> np.ndarray:
    if not len(sharing.groups) or sharing.groups.max() == 1:
        return none_apart()
    begin = region * HPAGE_PMD_NR - overlap.span[0]
    groups = none_apart()
    inside = np.arange(begin, begin + HPAGE_PMD_NR)
    known = (inside >= 0) & (inside < len(sharing.groups))
    groups[known] = sharing.groups[inside[known]]
    return groups
