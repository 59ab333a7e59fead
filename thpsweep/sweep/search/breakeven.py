"""Find where a metric changes sides along one axis, for each combination of the other values, instead of gridding it."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from thpsweep.errors import OptionError
from thpsweep.sweep.planning.axes import Job
from thpsweep.sweep.planning.plan import planned
from thpsweep.sweep.planning.search import Note, ProposedPoint
from thpsweep.sweep.records.journal import Sweep
from thpsweep.sweep.records.point import PlannedPoint
from thpsweep.sweep.records.schema import Point
from thpsweep.sweep.search import bisect
from thpsweep.sweep.search.axis import MIN_RESOLUTION, Axis, axis, fitted
from thpsweep.sweep.search.bisect import Conclusion, Reading, Readings, SearchRules
from thpsweep.sweep.search.objective import refuse_unknown

KIND = "breakeven"
MAX_SAMPLES, MAX_REPLICATES = 1000, 10_000

Compose = Callable[[Sequence[str]], Point]


@dataclasses.dataclass(frozen=True)
class BreakevenOptions:
    """What a user may choose, checked."""

    metric: str
    threshold: float
    samples: int
    resolution: float
    max_replicates: int | None

    def __post_init__(self) -> None:
        if not math.isfinite(self.threshold):
            raise OptionError("hydra.sweeper.threshold", self.threshold, "a finite number")
        if not 2 <= self.samples <= MAX_SAMPLES:
            raise OptionError("hydra.sweeper.samples", self.samples, f"2..{MAX_SAMPLES}, both ends included")
        if not MIN_RESOLUTION <= self.resolution < 1:
            allowed = f"{MIN_RESOLUTION:g} to below 1: a share of the value on a log scale, else of the range"
            raise OptionError("hydra.sweeper.resolution", self.resolution, allowed)
        if self.max_replicates is not None and not 2 <= self.max_replicates <= MAX_REPLICATES:
            raise OptionError("hydra.sweeper.max_replicates", self.max_replicates, f"null or 2..{MAX_REPLICATES}")

    @property
    def rules(self) -> SearchRules:
        """Give what the bisection needs of it."""
        return SearchRules(self.samples, self.resolution, self.max_replicates or 0)


@dataclasses.dataclass(frozen=True)
class Combination:
    """Values of everything but the axis. Its id is that of its point at the axis's low end."""

    id: str
    job: Job
    params: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Breakeven:
    """The search of all combinations, and the points of its first sample."""

    options: BreakevenOptions
    axis: Axis
    unit: str
    combinations: tuple[Combination, ...]
    points: tuple[PlannedPoint, ...]
    compose: Compose

    @property
    def spec(self) -> Mapping[str, Any]:
        """Give what its answer depends on besides its points."""
        return {"kind": KIND, **dataclasses.asdict(self.options), "unit": self.unit, "axis": self.axis.spec}

    @property
    def note(self) -> Mapping[str, Any]:
        """Name the combinations."""
        return {"combinations": [{"id": c.id, "params": dict(c.params)} for c in self.combinations]}

    def begin(self) -> "Bisection":
        """Begin, knowing nothing."""
        return Bisection(self)

    def outlook(self) -> tuple[int, str]:
        """Predict one change a combination."""
        each = self.begin().ahead()[0] // len(self.combinations)
        what = f"{len(self.combinations)} combinations of about {each} points, were there one change of sides in each"
        return each * len(self.combinations), f"{what}; the points above are its first sample"


def breakeven(
    key: str, bounds: tuple[float, float, bool], jobs: Sequence[Job], compose: Compose, options: BreakevenOptions
) -> Breakeven:
    """Plan a search along `key` between bounds (low, high, on a log scale) for each job.

    Raises: ThpsweepError for what cannot be searched, before anything runs.
    """
    low, high, log = bounds
    rough = axis(key, low, high, log=log)
    ends = [_point(compose, jobs[0], rough, value).point for value in (low, high)]
    fitted_axis = fitted(rough, *ends)
    unit = refuse_unknown("hydra.sweeper.metric", options.metric, ends[0])
    combinations: dict[str, Combination] = {}
    samples: dict[str, PlannedPoint] = {}
    for job in jobs:
        points = [_point(compose, job, fitted_axis, value) for value in fitted_axis.samples(options.samples)]
        fitted(rough, points[0].point, points[-1].point)
        _refuse_few(points[0])
        params = {name: value for name, value in points[0].params.items() if name != key}
        combinations.setdefault(points[0].id, Combination(points[0].id, job, params))
        samples |= {point.id: point for point in points}
    several = {point.point["run"]["replicates"] for point in samples.values()}
    if len(several) > 1 and options.max_replicates is not None:
        allowed = "null where run.replicates is swept: it raises their number itself"
        raise OptionError("hydra.sweeper.max_replicates", options.max_replicates, allowed)
    return Breakeven(options, fitted_axis, unit, tuple(combinations.values()), tuple(samples.values()), compose)


def _point(compose: Compose, job: Job, along: Axis, value: float, replicates: int | None = None) -> PlannedPoint:
    more = () if replicates is None else (f"run.replicates={replicates}",)
    text = along.text(value)
    overrides = (*job.overrides, f"{along.key}={text}", *more)
    (point,) = planned([Job(overrides, {**job.varied, along.key: text})], compose).points
    return point


def _refuse_few(point: PlannedPoint) -> None:
    if point.point["run"]["replicates"] < 2:
        allowed = "2 or more to find a break-even: one replicate has no interval"
        raise OptionError("run.replicates", point.point["run"]["replicates"], allowed)


class Bisection:
    """The search under way: for each combination the points that were proposed, by value, and what was read there."""

    def __init__(self, search: Breakeven) -> None:
        self._search, self._rules = search, search.options.rules
        self._found: dict[str, dict[str, tuple[float, Reading | None]]] = {c.id: {} for c in search.combinations}
        self._of: dict[str, str] = {}
        self._stale = set(self._found)

    def propose(self, n_idle: int) -> Sequence[ProposedPoint]:
        """Give every value that is sure to be needed: those of one combination do not wait for those of another."""
        proposals = []
        for combination in self._search.combinations:
            if combination.id in self._stale:
                self._stale.remove(combination.id)
                asked = bisect.wanted(self._search.axis, self._readings(combination.id), self._rules)
                proposals += [self._proposal(combination, value, replicates) for value, replicates in asked]
        for proposal in proposals:
            self.proposed(proposal.point.id, proposal.note)
        return proposals

    def proposed(self, key: str, note: Note) -> None:
        """Wait for a point."""
        self._found[note["combination"]][key] = (note["value"], None)
        self._of[key] = note["combination"]

    def learn(self, key: str, state: str, result: Any) -> None:
        """Take a reading; a point that failed gives none, and holds up its neighbours only."""
        combination = self._of.get(key)
        if combination is not None and state == "done":
            value, _ = self._found[combination][key]
            self._found[combination][key] = (value, _reading(self._search.options, result))
            self._stale.add(combination)

    def ahead(self) -> tuple[int, int]:
        """Predict one change a combination."""
        left = [bisect.ahead(self._search.axis, self._readings(key), self._rules) for key in self._found]
        return sum(left), sum(n > 0 for n in left)

    def is_over(self) -> bool:
        """Tell whether every combination is as far as it can get."""
        return not any(bisect.wanted(self._search.axis, self._readings(key), self._rules) for key in self._found)

    def _proposal(self, combination: Combination, value: float, replicates: int | None) -> ProposedPoint:
        point = _point(self._search.compose, combination.job, self._search.axis, value, replicates)
        return ProposedPoint(point, {"combination": combination.id, "value": value})

    def _readings(self, combination: str) -> Readings:
        return _latest(self._found[combination].values())


def _latest(every: Any) -> dict[float, Reading | None]:
    """Give each value's reading of most replicates; None where a reading is still to come."""
    readings: dict[float, Reading | None] = {}
    for value, reading in every:
        known = readings.get(value, reading)
        several = known is not None and reading is not None
        readings[value] = bisect.best([known, reading]) if several else None
    return readings


def _reading(options: BreakevenOptions, result: Any) -> Reading:
    metric = result["metrics"][options.metric]
    return bisect.reading(metric, options.threshold, len(result["replicates"][options.metric]))


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came out for one combination, with the points that it rests on."""

    params: Mapping[str, Any]
    conclusion: Conclusion
    readings: Mapping[float, Reading]
    ids: tuple[str, ...]


def answers(sweep: Sweep) -> list[Answer]:
    """Conclude from the journal of a break-even search alone, finished or not."""
    spec: dict[str, Any] = sweep.header["search"]
    readings: dict[str, dict[str, tuple[float, Reading | None]]] = {c["id"]: {} for c in spec["combinations"]}
    options = BreakevenOptions(**{field.name: spec[field.name] for field in dataclasses.fields(BreakevenOptions)})
    for key, point in sweep.points.items():
        note = point["search"]
        done = sweep.states.get(key) == "done"
        read = _reading(options, sweep.results[key]["result"]) if done else None
        readings[note["combination"]][key] = (note["value"], read)
    return [
        _answer(combination["params"], Axis(**spec["axis"]), readings[combination["id"]], options.rules)
        for combination in spec["combinations"]
    ]


def _answer(
    params: Mapping[str, Any], axis: Axis, by_point: Mapping[str, tuple[float, Reading | None]], rules: SearchRules
) -> Answer:
    readings = _latest(by_point.values())
    known = {value: reading for value, reading in sorted(readings.items()) if reading is not None}
    ids = sorted(by_point, key=lambda key: (by_point[key][0], key))
    return Answer(params, bisect.concluded(axis, readings, rules), known, tuple(ids))
