"""Where a metric changes its side of a threshold along an axis, as far as paired 95 % intervals tell: pure functions.

What is asked next, and what is concluded, depends on nothing but the readings, in whatever order they came.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from thpsweep.sweep.search.axis import Axis

ABOVE, BELOW, EQUAL, UNCLEAR = "above", "below", "equal", "unclear"
"""Sides of the threshold. Equal: exactly, in every replicate. Unclear: the interval spans the threshold."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """A metric at one value of the axis, less the threshold: mean and paired 95 % interval over replicates."""

    mean: float
    low: float
    high: float
    replicates: int

    @property
    def side(self) -> str:
        """Say on which side of the threshold the whole interval lies; where it is unknown (nan) that is unclear."""
        if self.mean == self.low == self.high == 0:
            return EQUAL
        return ABOVE if self.low > 0 else BELOW if self.high < 0 else UNCLEAR


@dataclasses.dataclass(frozen=True)
class SearchRules:
    """How finely to look: values of the first sample, the width at which to stop, and up to how many replicates."""

    samples: int
    resolution: float
    max_replicates: int


MORE = 4
"""Times as many replicates: half the interval."""

Readings = Mapping[float, Reading | None]
"""Value of the axis -> what was read there; None where that is not in yet, or failed."""


def wanted(axis: Axis, readings: Readings, rules: SearchRules) -> list[tuple[float, int | None]]:
    """List the values to look at next, each with its number of replicates where it is not that of the first look.

    First the sample, then the middle between neighbours on different sides until these are narrow. Where more
    replicates are allowed, a value that is unclear first gets four times as many.
    """
    asked: list[tuple[float, int | None]] = [
        (value, None) for value in axis.samples(rules.samples) if value not in readings
    ]
    asked += [
        (value, min(reading.replicates * MORE, rules.max_replicates))
        for value, reading in sorted(readings.items(), key=lambda item: item[0])
        if reading and _may_clear(reading, rules)
    ]
    return asked + [(axis.middle(*pair), None) for pair in _open(axis, readings, rules)]


def ahead(axis: Axis, readings: Readings, rules: SearchRules) -> int:
    """Predict how many values are still to come, were each open pair to hold one change."""
    sample = axis.samples(rules.samples)
    pairs = _open(axis, readings, rules)
    n = sum(value not in readings for value in sample)
    n += sum(reading is not None and _may_clear(reading, rules) for reading in readings.values())
    n += sum(axis.halvings(*pair, rules.resolution) for pair in pairs)
    if any(value not in readings or readings[value] is None for value in sample) and not pairs:
        half = len(sample) // 2
        n += axis.halvings(sample[half - 1], sample[half], rules.resolution)
    return n


def _open(axis: Axis, readings: Readings, rules: SearchRules) -> list[tuple[float, float]]:
    """List neighbours that are known, not narrow, and on different sides."""
    return [
        (below, above)
        for (below, one), (above, other) in itertools.pairwise(sorted(readings.items(), key=lambda item: item[0]))
        if one and other and one.side != other.side and not axis.narrow(below, above, rules.resolution)
        if not _may_clear(one, rules) and not _may_clear(other, rules)
    ]


def _may_clear(reading: Reading, rules: SearchRules) -> bool:
    return reading.side == UNCLEAR and reading.replicates < rules.max_replicates


@dataclasses.dataclass(frozen=True)
class Change:
    """The metric leaves one side at `below`, where it surely is on it, and is surely on the other one at `above`.

    estimate: where the mean crosses; None where a side is `equal`. bracket: the neighbours that it crosses between.
    resolved: `below` and `above` are as near as wanted.
    """

    before: str
    after: str
    below: float
    above: float
    bracket: tuple[float, float]
    estimate: float | None
    resolved: bool


@dataclasses.dataclass(frozen=True)
class Stretch:
    """Neighbouring values on the same side, from the first to the last that was looked at."""

    side: str
    first: float
    last: float


FOUND, ALWAYS, NEVER, NO_DIFFERENCE, NOT_RESOLVED, NOT_FINISHED = (
    "found",
    "always",
    "never",
    "no difference",
    "not resolved",
    "not finished",
)
ONE_SIDE = {ABOVE: ALWAYS, BELOW: NEVER, EQUAL: NO_DIFFERENCE}
"""State where all values are on one side of the threshold."""


@dataclasses.dataclass(frozen=True)
class Conclusion:
    """What the readings of one combination come to."""

    state: str
    changes: tuple[Change, ...]
    stretches: tuple[Stretch, ...]


def concluded(axis: Axis, readings: Readings, rules: SearchRules) -> Conclusion:
    """Conclude from all readings. Two changes between neighbours of the first sample can be missed."""
    known = sorted((value, reading) for value, reading in readings.items() if reading is not None)
    stretches = tuple(
        Stretch(side, group[0], group[-1])
        for side, group in (
            (side, [value for value, _ in readings])
            for side, readings in itertools.groupby(known, lambda item: item[1].side)
        )
    )
    clear = _clear(stretches)
    changes = tuple(
        _change(axis, known, before, after, rules)
        for before, after in itertools.pairwise(clear)
        if before.side != after.side
    )
    return Conclusion(_state(axis, readings, rules, stretches, changes), changes, stretches)


def _clear(stretches: Sequence[Stretch]) -> list[Stretch]:
    """Leave out what is unclear, and a single value that is exactly on the threshold on the way from side to side."""
    clear = [stretch for stretch in stretches if stretch.side != UNCLEAR]
    around = zip([None, *clear], clear, [*clear[1:], None], strict=False)
    return [
        stretch
        for before, stretch, after in around
        if not (stretch.first == stretch.last and before and after and {before.side, after.side} == {ABOVE, BELOW})
        or stretch.side != EQUAL
    ]


def _state(
    axis: Axis, readings: Readings, rules: SearchRules, stretches: Sequence[Stretch], changes: Sequence[Change]
) -> str:
    if any(reading is None for reading in readings.values()) or wanted(axis, readings, rules):
        return NOT_FINISHED
    if not all(change.resolved for change in changes) or _doubtful(stretches):
        return NOT_RESOLVED
    return FOUND if changes else ONE_SIDE[stretches[0].side]


def _doubtful(stretches: Sequence[Stretch]) -> bool:
    """Tell whether unclear values lie anywhere but between two different sides, which a change's own width tells of."""
    sides = [None, *(stretch.side for stretch in stretches), None]
    return any(
        side == UNCLEAR and (before is None or after is None or before == after)
        for before, side, after in zip(sides, sides[1:], sides[2:], strict=False)
    )


def _change(
    axis: Axis, known: Sequence[tuple[float, Reading]], before: Stretch, after: Stretch, rules: SearchRules
) -> Change:
    below, above = before.last, after.first
    within = [(value, reading) for value, reading in known if below <= value <= above]
    crossed = [
        (one, other)
        for one, other in itertools.pairwise(within)
        if (one[1].mean > 0) != (other[1].mean > 0) or EQUAL in (one[1].side, other[1].side)
    ]
    first, second = crossed[len(crossed) // 2]  # an odd number where noise makes several of one
    exact = EQUAL in (before.side, after.side)
    return Change(
        before.side,
        after.side,
        below,
        above,
        (first[0], second[0]),
        None if exact else _zero(axis, first, second),
        axis.narrow(below, above, rules.resolution) or _meets(axis, within, rules),
    )


def _meets(axis: Axis, within: Sequence[tuple[float, Reading]], rules: SearchRules) -> bool:
    """Tell whether the values on the way are exactly on the threshold, and as near to its sides as wanted."""
    return all(reading.side == EQUAL for _, reading in within[1:-1]) and all(
        axis.narrow(one, other, rules.resolution) for (one, _), (other, _) in itertools.pairwise(within)
    )


def _zero(axis: Axis, first: tuple[float, Reading], second: tuple[float, Reading]) -> float | None:
    """Interpolate where the mean is 0, on the axis's scale."""
    drop = first[1].mean - second[1].mean
    if not math.isfinite(drop):
        return None
    return axis.between(first[0], second[0], first[1].mean / drop)


def reading(metric: Mapping[str, Any], threshold: float, replicates: int) -> Reading:
    """Take a metric of a result, which has mean, low and high."""
    mean, low, high = (float(metric[end]) - threshold for end in ("mean", "low", "high"))
    return Reading(mean, low, high, replicates)


def best(several: Iterable[Reading | None]) -> Reading | None:
    """Choose of several readings at a value the one of most replicates."""
    return max((reading for reading in several if reading), key=lambda reading: reading.replicates, default=None)
