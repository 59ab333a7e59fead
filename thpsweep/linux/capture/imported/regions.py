"""The cells of one region: who shares its slots, and which folio they are of."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thpsweep.linux.capture.imported.placing import Flags, Placed
from thpsweep.linux.capture.imported.sharers import LEAST_SHARERS
from thpsweep.units import HPAGE_PMD_NR

_COMMON = 1
"""Number of the folio that sharers map; one of a process's own has a higher one, small pages have 0."""

Ints = npt.NDArray[np.int64]


@dataclass
class RegionCell:
    """Slots of a region that the same processes map; outside: mappings that nobody in the family has."""

    members: tuple[int, ...]
    folio: int
    slots: Flags
    outside: int


@dataclass(frozen=True)
class _Row:
    """What a process maps of a region. Shapes: shared, private (512,)."""

    process: int
    shared: Flags
    private: Flags
    has_folio: bool

    @property
    def is_mixed(self) -> bool:
        """Tell whether its folio is shared in part."""
        return self.has_folio and bool(self.shared.any()) and bool(self.private.any())


def cells(region: int, placed: Sequence[Placed], groups: Ints, outside: int) -> list[RegionCell]:
    """Cut a region into cells. outside: mappings that each shared page has beside. Shapes: groups (512,), as in Sharing."""
    rows = _rows(region, placed)
    sharing = [row for row in rows if row.has_folio and row.shared.any()]
    # Two who map one folio by PMDs have all of it in common: a process that has not, has a folio of its own.
    alone = {row.process for row in sharing if row.is_mixed and len(sharing) > 1}
    common = {row.process for row in sharing} - alone
    found: dict[tuple[tuple[int, ...], int], RegionCell] = {}
    for cell in (*_shared(rows, alone, common, groups, outside), *_private(rows, common)):
        key = cell.members, cell.folio
        if key in found:
            found[key].slots |= cell.slots
            found[key].outside = max(found[key].outside, cell.outside)
        else:
            found[key] = cell
    return list(found.values())


def _rows(region: int, placed: Sequence[Placed]) -> list[_Row]:
    """Gather what each process maps; two mappings of one that meet in a region are none, since regions are whole."""
    rows = (
        _Row(each.process, each.slots(each.sharing, region), each.slots(each.private, region), region in each.folios)
        for each in placed
    )
    return [row for row in rows if row.shared.any() or row.private.any()]


def _own(row: _Row, common: set[int]) -> int:
    """Number the folio that a process maps."""
    if not row.has_folio:
        return 0
    return _COMMON if row.process in common else _COMMON + 1 + row.process


def _private(rows: Sequence[_Row], common: set[int]) -> Iterator[RegionCell]:
    for row in rows:
        if row.private.any():
            yield RegionCell((row.process,), _own(row, common), row.private.copy(), 0)


def _shared(
    rows: Sequence[_Row], alone: set[int], common: set[int], groups: Ints, outside: int
) -> Iterator[RegionCell]:
    for row in rows:
        if row.process in alone:
            yield RegionCell((row.process,), _own(row, common), row.shared.copy(), max(outside, LEAST_SHARERS - 1))
    every = [row for row in rows if row.process not in alone and row.shared.any()]
    if not every:
        return
    shared = np.stack([row.shared for row in every])
    packed = np.packbits(shared, axis=0)
    columns = np.concatenate([packed, groups[None, :].astype(np.uint8)]) if groups.max() > 1 else packed
    is_plain = bool((columns == columns[:, :1]).all())
    for pattern in columns[:, :1].T if is_plain else np.unique(columns, axis=1).T:
        slots = (columns == pattern[:, None]).all(axis=0)
        first = int(np.argmax(slots))
        members = [row.process for row, is_in in zip(every, shared[:, first], strict=True) if is_in]
        for part in np.array_split(np.array(members, np.int64), int(groups[first])) if members else []:
            who = tuple(part.tolist())
            folio = _COMMON if common & set(who) else 0
            yield RegionCell(who, folio, slots.copy(), max(outside, LEAST_SHARERS - len(who)))


def none_apart() -> Ints:
    """Give the groups of a region in which everybody shares with everybody."""
    return np.ones(HPAGE_PMD_NR, np.int64)
