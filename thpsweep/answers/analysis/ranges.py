"""How far off each price and each rate may be: a range, and the sentence that it rests on."""

import dataclasses
import math
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from thpsweep import profiles
from thpsweep.answers.analysis.paired import Values
from thpsweep.answers.analysis.prices import GIVEN, UNKNOWN, prices
from thpsweep.errors import ThpsweepError
from thpsweep.model.capture.activity import Rate
from thpsweep.model.machines.profile import BOUNDS, Profile

UNKNOWN_FACTOR = math.sqrt(10.0)
MEASURED_FACTOR = 4 / 3
DERIVED_FACTORS = (0.67, 1.42)
FACTORS: Mapping[str, tuple[float, float]] = {
    "measured": (1 / MEASURED_FACTOR, MEASURED_FACTOR),
    "derived": DERIVED_FACTORS,
    "documented": DERIVED_FACTORS,
    "assumed": (1 / UNKNOWN_FACTOR, UNKNOWN_FACTOR),
    UNKNOWN: (1 / UNKNOWN_FACTOR, UNKNOWN_FACTOR),
}
"""Lowest and highest multiple of a price, by how it is known, where its line has no range of its own.

measured: holds all rounds of 18 of the 22 prices that `calibrate` measured on zen5_vm. derived: seven prices, each
predicted from the other six by instruction counts, came out within it; a documented one is of another machine.
"""

BASIS: Mapping[str, str] = {
    "measured": "as far as the rounds of most measured prices spread, / 1.33 to x 1.33",
    "derived": "as far off as prices derived from others were, x 0.67 to x 1.42",
    "documented": "of another machine: taken to be as far off as derived ones, x 0.67 to x 1.42",
    "assumed": "not known within a factor of 10, / 3.16 to x 3.16",
    UNKNOWN: "not known within a factor of 10, / 3.16 to x 3.16",
}

_NUMBER = r"\d+(?:\.\d+)?(?:e[+-]?\d+)?"
_STATED = re.compile(rf"(?<![\w.])({_NUMBER})\.\.({_NUMBER})(?![\w.])")


@dataclasses.dataclass(frozen=True)
class Range:
    """What a key may be: its value as it was simulated, the ends between which it lies, and how that is known."""

    key: str
    value: float
    low: float
    high: float
    kind: str
    source: str
    levels: tuple[float, ...] = ()
    """All that it can be, where that is a few values."""

    def at(self, share: Values) -> Values:
        """Give the values below which these shares of the range lie: even in the logarithm; even, where it begins at 0.

        Of levels each has as large a share.
        """
        if self.levels:
            at = np.minimum(share * len(self.levels), len(self.levels) - 1).astype(np.int64)
            return np.array([self.levels[one] for one in at.ravel()]).reshape(share.shape)
        if self.low <= 0 or self.low == self.high:
            return self.low + share * (self.high - self.low)
        return np.asarray(self.low * np.exp(share * math.log(self.high / self.low)), np.float64)


LEVELS: Mapping[str, tuple[float, ...]] = {"machine.tlb_coalesce": (1.0, 4.0, 16.0)}
"""Keys that are one of a few values; those that its range holds are drawn: no CPU coalesces two ptes, or five."""


@dataclasses.dataclass(frozen=True)
class Stated:
    """A range of a key that nobody has measured, whatever its value."""

    low: float
    high: float
    source: str


STATED: Mapping[str, Stated] = {
    "machine.tlb_coalesce": Stated(1.0, 4.0, "none, or the 4 that Zen documents; 16 are arm64's contpte"),
    "machine.page_free_ns": Stated(0.0, 286.0, "none beside pte_clear_ns, or what zen5_vm's rounds had"),
    "workload.page_walk_share": Stated(
        0.002, 0.51, "from next to nothing, which nobody measured, to the most published, 51 % (Basu et al., ISCA'13)"
    ),
    "workload.reach_exponent": Stated(
        0.3, 0.7, "caches: misses fall as size ** -0.3 to -0.7 (Hartstein et al., CF'06)"
    ),
}
"""Assumed keys with a range of their own; any other has BASIS["assumed"]."""

SHARES = ("workload.root_cpu_share", "workload.worker_cpu_share", "workload.page_walk_share")
"""Rates that cannot exceed 1."""


def machine_ranges(machine: Profile, file: Path | None) -> dict[str, Range]:
    """Give the range of every figure of a machine, by its full key, from the profile that it was taken from.

    LOW..HIGH in the comment behind a figure, in its unit, is its range; without one the kind says it.
    Raises: ThpsweepError for a range that does not hold its value.
    """
    sources = profiles.sources(file) if file else {}
    written = profiles.figures(file) if file else {}
    found = {}
    for one in prices(dataclasses.asdict(machine), file):
        key = f"machine.{one.key}"
        source = sources.get(one.key)
        if one.kind == GIVEN and source is not None and float(written[one.key]):
            of_file = _of_line(key, float(written[one.key]), source.kind, source.text)
            found[key] = _moved(of_file, one.value)
        else:
            kind = source.kind if source is not None else UNKNOWN
            found[key] = _of_line(key, one.value, kind, source.text if source and one.kind != GIVEN else "")
    return found


def rate_range(key: str, value: float) -> Range:
    """Give the range of a rate of the workload."""
    most = 1.0 if key in SHARES else math.inf
    stated = STATED.get(key)
    if stated is not None and stated.low <= value <= stated.high:
        return Range(key, value, stated.low, stated.high, "assumed", f"assumed: {stated.source}")
    low, high = (factor * value for factor in FACTORS["assumed"])
    return Range(key, value, low, max(value, min(most, high)), "assumed", f"assumed: {BASIS['assumed']}")


def captured_range(key: str, rate: Rate) -> Range:
    """Give the range of a rate that was captured: its interval, and up to the end of the stated range where that is open."""
    high = max(rate.value, rate_range(key, rate.value).high) if rate.high is None else rate.high
    return Range(key, rate.value, rate.low, high, "measured", f"measured: {rate.how}")


def _of_line(key: str, value: float, kind: str, text: str) -> Range:
    stated = _STATED.findall(text)
    if stated:
        low, high = map(float, stated[-1])
        if not low <= value <= high:
            raise ThpsweepError(f"{key}: its line says {low:g}..{high:g}; expected a range that holds {value:g}")
        return _levelled(Range(key, value, low, high, kind, f"{kind}: {low:g} to {high:g}, as the profile says"))
    own = STATED.get(key) if kind in ("assumed", UNKNOWN) else None
    if own is not None and own.low <= value <= own.high:
        return _levelled(Range(key, value, own.low, own.high, kind, f"{kind}: {own.source}"))
    least, most = BOUNDS.get(key.rpartition(".")[2], (0.0, math.inf))
    low, high = (min(most, max(least, factor * value)) for factor in FACTORS[kind])
    return _levelled(Range(key, value, low, high, kind, f"{kind}: {BASIS[kind]}"))


def _levelled(one: Range) -> Range:
    """Leave of a key that is one of a few values those that its range holds, and the simulated one."""
    if one.key not in LEVELS:
        return one
    held = {level for level in LEVELS[one.key] if one.low <= level <= one.high} | {one.value}
    return dataclasses.replace(one, low=min(held), high=max(held), levels=tuple(sorted(held)))


def _moved(one: Range, value: float) -> Range:
    """Give a value that was given in the command a range as wide as the profile's."""
    factor = value / one.value
    return Range(one.key, value, one.low * factor, one.high * factor, GIVEN, f"{GIVEN}; as wide as the profile's")
