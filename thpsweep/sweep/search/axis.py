"""The axis that a search moves on: a range of one numeric key, whole numbers or not, on a linear or a log scale."""

import dataclasses
import math
from typing import Any

from thpsweep.errors import OptionError
from thpsweep.sweep.records.schema import Point

DIGITS = 6
"""Significant digits of a value that is no whole number: enough for any resolution, and readable."""

MIN_RESOLUTION = 1e-4
REFUSED = ("run.seed", "run.replicates")
"""Numbers whose order means nothing, or that the search itself may raise."""


@dataclasses.dataclass(frozen=True)
class Axis:
    """A key and the range in which a search moves it."""

    key: str
    low: float
    high: float
    log: bool
    whole: bool

    @property
    def spec(self) -> dict[str, Any]:
        """Say what it is in JSON types."""
        return dataclasses.asdict(self)

    def text(self, value: float) -> str:
        """Write a value as an override does: whole where it is, else with few digits."""
        rounded = value if value in (self.low, self.high) else self._rounded(value)
        return repr(int(rounded)) if rounded == int(rounded) else repr(rounded)

    def samples(self, n: int) -> list[float]:
        """Give n values at equal distances on the scale, both ends among them; of whole numbers each once."""
        inner = (self.at(number / (n - 1)) for number in range(1, n - 1))
        return sorted({self.low, *inner, self.high})

    def at(self, share: float) -> float:
        """Give the value at a share of the way from low to high."""
        if self.log:
            return self._rounded(self.low * (self.high / self.low) ** share)
        return self._rounded(self.low + (self.high - self.low) * share)

    def middle(self, below: float, above: float) -> float:
        """Give the value half way between two that are not narrow."""
        middle = self._rounded(math.sqrt(below * above) if self.log else (below + above) / 2)
        return min(max(middle, below + 1), above - 1) if self.whole else middle

    def narrow(self, below: float, above: float, resolution: float) -> bool:
        """Tell whether two values are as near as wanted: a share of the value on a log scale, else of the range."""
        if self.whole and above - below <= 1:
            return True
        whole = below if self.log else self.high - self.low
        return above - below <= resolution * whole * (1 + 1e-9)

    def halvings(self, below: float, above: float, resolution: float) -> int:
        """Count the values that bisecting takes until two are narrow."""
        steps = 0
        while not self.narrow(below, above, resolution):
            above, steps = self.middle(below, above), steps + 1
        return steps

    def between(self, below: float, above: float, share: float) -> float:
        """Give the value at a share of the way between two, on the scale, not rounded to whole numbers."""
        return below * (above / below) ** share if self.log else below + (above - below) * share

    def _rounded(self, value: float) -> float:
        return round(value) if self.whole else min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)


def axis(key: str, low: float, high: float, *, log: bool) -> Axis:
    """Check a range as a user gave it. Whether it is of whole numbers shows on a point: see `fitted`.

    Raises: OptionError.
    """
    shown = f"interval({low:g},{high:g})"
    if (
        "." not in key
        or key in REFUSED
        or key.split(".")[0] not in ("workload", "sharing", "policy", "machine", "memory", "run")
    ):
        raise OptionError(key, shown, "an interval of a number of workload, sharing, policy, machine, memory or run")
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise OptionError(key, shown, "interval(LOW,HIGH) with LOW below HIGH")
    if log and low <= 0:
        raise OptionError(key, f"tag(log,{shown})", "a range above 0 on a log scale")
    return Axis(key, low, high, log, whole=False)


def fitted(axis: Axis, lowest: Point, highest: Point) -> Axis:
    """Give the axis the kind of number that points have there. Raises: OptionError where it is none."""
    values = [_at(point, axis.key) for point in (lowest, highest)]
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise OptionError(axis.key, value, "a number, to move it along an interval")
    if all(isinstance(value, int) for value in values):
        return dataclasses.replace(axis, low=int(axis.low), high=int(axis.high), whole=True)
    return dataclasses.replace(axis, low=float(axis.low), high=float(axis.high))


def _at(point: Point, key: str) -> Any:
    node: Any = point
    for name in key.split("."):
        node = node.get(name) if isinstance(node, dict) else None
    return node
