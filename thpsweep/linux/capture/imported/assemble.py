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
    every = overlaps(placed, [(number, sums) for number, each in enumerate(found) for sums in each.beside])
    n_added = n_missing(every, template, len(found))
    solved = [(overlap, solve(overlap, template, n_added)) for overlap in every]
    n = len(found) + n_added
    full = [_with_added(sharing, template, len(found)) for _, sharing in solved]
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


def _with_added(sharing: Sharing, template: int, n: int) -> list[Placed]:
    """Add the processes that are not in the text: each maps the first of the template's shared pages."""
    placed = list(sharing.placed)
    for number, n_shared in enumerate(sharing.added):
        left = n_shared
        for mine in [each for each in sharing.placed if each.process == template]:
            length = mine.shared[1] - mine.shared[0]
            placed.append(mine.cut(n + number, min(left, length)))
            left -= min(left, length)
    return placed


@dataclass
class _Kind:
    """Regions that look alike: one of them, what is mapped there, how many groups share each slot, where they all are."""

    region: int
    placed: Sequence[Placed]
    groups: np.ndarray
    outside: int
    at: list[int]


def _arrays(
    full: Sequence[Sequence[Placed]], solved: Sequence[Sharing], every: Sequence[Overlap], n: int, n_pasted: int
) -> tuple[dict[str, Any], float]:
    """Fill the arrays of a layout, kind by kind; add up the Pss of the processes that are in the text."""
    kinds, n_regions = _kinds(full, solved, every)
    present, swapped = (np.zeros((n, n_regions, BOARD_WORDS), np.uint64) for _ in range(2))
    huge, listed, pss = np.zeros((n, n_regions), np.bool_), list[tuple[RegionCell, list[int]]](), 0.0
    for kind in kinds:
        for cell in cells(kind.region, kind.placed, kind.groups, kind.outside):
            listed.append((cell, kind.at))
            present[np.ix_(cell.members, kind.at)] |= boards(cell.slots[None, :])[0]
            mine = sum(member < n_pasted for member in cell.members)
            pss += len(kind.at) * int(cell.slots.sum()) * mine / (len(cell.members) + cell.outside)
        for each in kind.placed:
            swapped[each.process, kind.at] |= boards(each.slots(each.swapped, kind.region)[None, :])[0]
            huge[each.process, kind.at] |= kind.region in each.huge
    return {"present": present, "swapped": swapped, "huge": huge, **_cells(listed, n)}, pss


def _cells(listed: Sequence[tuple[RegionCell, Sequence[int]]], n: int) -> dict[str, Any]:
    """Spell cells out, region by region; folios get numbers of their own."""
    sets = {members: number for number, members in enumerate(dict.fromkeys(cell.members for cell, _ in listed))}
    members = np.zeros((len(sets), n), np.bool_)
    for who, number in sets.items():
        members[number, list(who)] = True
    region = np.concatenate([np.array(at, np.int64) for _, at in listed])
    which = np.repeat(np.arange(len(listed)), [len(at) for _, at in listed])
    order = np.argsort(region, kind="stable")
    region, which = region[order], which[order]
    local = np.array([cell.folio for cell, _ in listed], np.int64)[which]
    folio = np.unique(np.append(0, (region + 1) * (1 + local.max()) * (local > 0) + local), return_inverse=True)[1][1:]
    return {
        "cell_region": region.astype(np.int32),
        "cell_members": np.array([sets[cell.members] for cell, _ in listed], np.int32)[which],
        "cell_slots": boards(np.stack([cell.slots for cell, _ in listed]))[which],
        "cell_folio": folio.astype(np.int32),
        "cell_outside": np.array([cell.outside for cell, _ in listed], np.int32)[which],
        "members": members,
    }


def _kinds(
    full: Sequence[Sequence[Placed]], solved: Sequence[Sharing], every: Sequence[Overlap]
) -> tuple[list[_Kind], int]:
    """Gather the regions in which something is mapped by what is mapped in them; count them."""
    placed: dict[int, list[Placed]] = {}
    part: dict[int, int] = {}
    for number, mine in enumerate(full):  # two overlaps never meet in a region
        for each in mine:
            for region in each.regions:
                placed.setdefault(region, []).append(each)
                part[region] = number
    is_apart = [bool((sharing.groups > 1).any()) for sharing in solved]
    kinds: dict[object, _Kind] = {}
    used = [region for region in sorted(placed) if any(each.has_something(region) for each in placed[region])]
    for at, region in enumerate(used):
        number = part[region]
        groups = _groups(every[number], solved[number], region) if is_apart[number] else none_apart()
        outside = solved[number].outside
        looks = tuple(each.look(region) for each in placed[region])
        key = looks, outside, groups.tobytes() if is_apart[number] else b""
        kinds.setdefault(key, _Kind(region, placed[region], groups, outside, [])).at.append(at)
    return list(kinds.values()), len(used)


def _groups(overlap: Overlap, sharing: Sharing, region: int) -> np.ndarray:
    """Cut the groups of a region out. Shapes: -> (512,)."""
    groups = none_apart()
    inside = np.arange(HPAGE_PMD_NR) + region * HPAGE_PMD_NR - overlap.span[0]
    known = (inside >= 0) & (inside < len(sharing.groups))
    groups[known] = sharing.groups[inside[known]]
    return groups
