"""Run all probes, round after round, and sum up: medians of what the rounds found, and how far they were apart."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from thpsweep.errors import DisturbedError, LiveError
from thpsweep.linux.calibrate.prices import priced
from thpsweep.linux.calibrate.probes import (
    aging,
    collapsing,
    copying,
    faulting,
    forking,
    interrupting,
    merging,
    migrating,
    scanning,
    splitting,
    walking,
)
from thpsweep.linux.calibrate.samples import Raw
from thpsweep.linux.live.bench import Bench
from thpsweep.linux.prototype.derive import Derived, derivable
from thpsweep.linux.prototype.kernels import DEFAULT
from thpsweep.linux.prototype.table import load

Probe = Callable[[Bench], Raw]

PROBES: tuple[Probe, ...] = (
    copying.copying,
    collapsing.private,
    collapsing.shmem,
    faulting.small,
    faulting.huge,
    faulting.swapped,
    forking.forking,
    interrupting.interrupting,
    interrupting.receiving,
    scanning.scanning,
    migrating.migrating,
    migrating.entering,
    splitting.splitting,
    merging.merging,
    walking.walking,
    walking.uncached,
    aging.aging,
)


@dataclass(frozen=True)
class Figure:
    """A median over rounds, and the least and the most that a round found."""

    value: float
    low: float
    high: float
    rounds: int

    def __str__(self) -> str:
        spread = f", spread {self.high / self.low:.2f}" if self.low > 0 else ""
        return f"{self.rounds} rounds{spread}, {_short(self.low)}..{_short(self.high)}"


@dataclass
class Failure:
    """Why a probe found nothing (the last time), in how many of all rounds, and whether it is only the machine's state."""

    why: str
    times: int
    rounds: int
    disturbed: bool

    def __str__(self) -> str:
        return f"{self.times} of {self.rounds} rounds, {'disturbed: ' * self.disturbed}{self.why}"


@dataclass
class Calibration:
    """What was found: keys of a profile, whatever else was measured, and the probes that found nothing in some rounds."""

    prices: dict[str, Figure]
    raw: dict[str, Figure]
    failures: dict[str, Failure] = field(default_factory=dict)

    @property
    def by_instructions(self) -> dict[str, Derived]:
        """Prices of what no kernel does, or not by itself, from those that were measured and the instruction table."""
        known = {key: figure.value for key, figure in self.prices.items()}
        for form in ("small", "compound"):  # the table counts forks of memory that an earlier one has protected
            if f"fork_pte_{form}_again" in self.raw:
                known[f"fork_pte_{form}_ns"] = self.raw[f"fork_pte_{form}_again"].value
        return derivable(known, load()[DEFAULT])


def calibrate(
    bench: Bench, rounds: int, budget_s: float, tell: Callable[[str], None], probes: Sequence[Probe] = PROBES
) -> Calibration:
    """Let all probes have their turn in every round, so that a disturbance hits one sample of each, not all of one.

    No round is begun that would not end within the budget, but one always is. A probe that fails is tried again in the
    next round, and at once where it was only disturbed.
    """
    raws: list[Raw] = []
    failures: dict[str, list[LiveError]] = {}
    begun = time.monotonic()
    while len(raws) < rounds and (not raws or _time_is_left(begun, budget_s, len(raws))):
        raw: Raw = {}
        for probe in probes:
            tell(f"round {len(raws) + 1}: {probe.__name__}")
            try:
                raw |= _attempt(probe, bench)
            except LiveError as error:
                failures.setdefault(probe.__name__, []).append(error)
        raws.append(raw)
    failed = {name: _failure(errors, len(raws)) for name, errors in failures.items()}
    return Calibration(_figures([priced(raw) for raw in raws]), _figures(raws), failed)


def _attempt(probe: Probe, bench: Bench) -> Raw:
    try:
        return probe(bench)
    except DisturbedError:
        return probe(bench)


def _failure(errors: Sequence[LiveError], rounds: int) -> Failure:
    return Failure(str(errors[-1]), len(errors), rounds, all(isinstance(error, DisturbedError) for error in errors))


def _time_is_left(begun: float, budget_s: float, n_done: int) -> bool:
    used_s = time.monotonic() - begun
    return used_s + used_s / n_done <= budget_s


def _figures(rounds: Sequence[Raw]) -> dict[str, Figure]:
    names = {name: None for raw in rounds for name in raw}
    values = {name: [raw[name] for raw in rounds if name in raw] for name in names}
    return {name: Figure(statistics.median(v), min(v), max(v), len(v)) for name, v in values.items()}


def _short(value: float) -> str:
    """Write three significant digits without an exponent."""
    return f"{float(f'{value:.3g}'):g}" if abs(value) < 1e5 else f"{value:.0f}"
