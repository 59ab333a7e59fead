"""What a capture saw a family do, in the words of the `captured` workload: a rate, its interval, how it was seen."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from thpsweep.errors import CaptureError

MAX_BYTES = 1 << 16
"""Most that an activity may take in a file."""

MEASURED = (
    "hot_regions",
    "root_hot_writes_per_page_hour",
    "root_cold_writes_per_page_hour",
    "worker_hot_writes_per_page_hour",
    "worker_cold_writes_per_page_hour",
    "write_clustering",
    "reads_per_page_hour",
    "worker_life_s",
    "worker_gap_s",
    "pins_per_process_hour",
    "pages_per_request",
    "swap_outs_per_page_hour",
    "page_walk_share",
)
"""Options of the `captured` workload that a capture can measure."""

WALKS = "page_walks_per_cpu_s"
"""What page_walk_share was priced from: page walks in a second of a process's CPU time."""

FACTS = (WALKS,)
"""What a capture can measure and no option is."""

_SHARES, _WHOLE = ("hot_regions", "write_clustering", "page_walk_share"), ("pages_per_request",)


@dataclass(frozen=True)
class Rate:
    """A measured option: its value, its 95 % interval (high None: no bound is known), and how it was seen.

    Raises: CaptureError where the numbers cannot be such.
    """

    value: float
    low: float
    high: float | None
    how: str

    def __post_init__(self) -> None:
        numbers = [self.value, self.low, *([] if self.high is None else [self.high])]
        for number in numbers:
            if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < math.inf:
                raise CaptureError(f"activity: {number!r} is no finite number, 0 or more")
        if not isinstance(self.how, str):
            raise CaptureError("activity: a rate comes without a text that says how it was seen")


@dataclass(frozen=True)
class Activity:
    """Hold what was watched for so many seconds, and say in sentences what could not be seen.

    Raises: CaptureError naming what is wrong.
    """

    watched_s: float
    rates: Mapping[str, Rate]
    unseen: tuple[str, ...]

    def __post_init__(self) -> None:
        if isinstance(self.watched_s, bool) or not isinstance(self.watched_s, int | float) or not self.watched_s > 0:
            raise CaptureError(f"activity: watched for {self.watched_s!r} s: expected a number above 0")
        if unknown := sorted(set(self.rates) - {*MEASURED, *FACTS}):
            raise CaptureError(f"activity: {unknown[0]!r}: expected one of {', '.join((*MEASURED, *FACTS))}")
        for name in _SHARES:
            if name in self.rates and self.rates[name].value > 1:
                raise CaptureError(f"activity: {name}={self.rates[name].value}: expected 0..1")
        for name in _WHOLE:
            if name in self.rates and self.rates[name].value not in range(1, 513):
                raise CaptureError(f"activity: {name}={self.rates[name].value}: expected a whole number, 1..512")
        if not all(isinstance(sentence, str) for sentence in self.unseen):
            raise CaptureError("activity: what was not seen comes without a text")

    def option(self, name: str) -> float | int | None:
        """Give a measured option of the workload, or None where it was not seen."""
        if name not in self.rates:
            return None
        value = self.rates[name].value
        return int(value) if name in _WHOLE else float(value)

    def to_bytes(self) -> bytes:
        """Spell it as JSON. Raises: CaptureError where it is too long to be filed."""
        text = json.dumps(
            {
                "watched_s": self.watched_s,
                "rates": {name: asdict(rate) for name, rate in self.rates.items()},
                "unseen": list(self.unseen),
            },
            sort_keys=True,
        ).encode()
        if len(text) > MAX_BYTES:
            raise CaptureError(f"activity has {len(text)} bytes: expected {MAX_BYTES}")
        return text

    @classmethod
    def from_bytes(cls, text: bytes) -> "Activity":
        """Read what to_bytes() wrote, and trust nothing. Raises: CaptureError."""
        if len(text) > MAX_BYTES:
            raise CaptureError(f"activity has {len(text)} bytes: expected {MAX_BYTES}")
        try:
            decoded = json.loads(text)
            rates = {str(name): _rate(value) for name, value in decoded["rates"].items()}
            return cls(decoded["watched_s"], rates, tuple(decoded["unseen"]))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise CaptureError("activity is not what thpsweep writes") from error


def _rate(value: Any) -> Rate:
    return Rate(**value)
