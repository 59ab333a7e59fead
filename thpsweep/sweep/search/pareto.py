"""Search for the points that nothing else beats in all objectives at once, with Optuna, instead of gridding them."""

import collections
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from thpsweep.errors import OptionError
from thpsweep.sweep.planning.axes import Job
from thpsweep.sweep.planning.plan import planned
from thpsweep.sweep.planning.search import Note, ProposedPoint
from thpsweep.sweep.records.journal import Sweep
from thpsweep.sweep.records.point import PlannedPoint
from thpsweep.sweep.records.schema import Point
from thpsweep.sweep.search.axis import Axis, axis, fitted
from thpsweep.sweep.search.objective import refuse_unknown
from thpsweep.sweep.search.suggest import SAMPLERS, Suggestions, Values, installed

KIND = "pareto"
MAX_TRIALS = 100_000

Compose = Callable[[Sequence[str]], Point]


@dataclasses.dataclass(frozen=True)
class ParetoOptions:
    """What a user may choose, checked."""

    minimize: tuple[str, ...]
    maximize: tuple[str, ...]
    trials: int
    sampler: str
    population: int
    seed: int

    def __post_init__(self) -> None:
        named = [*self.minimize, *self.maximize]
        if not named or len({*named}) < len(named):
            raise OptionError(
                "hydra.sweeper.minimize and maximize", named, "[METRIC,...], each once, at least one in all"
            )
        if not 1 <= self.trials <= MAX_TRIALS:
            raise OptionError("hydra.sweeper.trials", self.trials, f"1..{MAX_TRIALS}")
        if self.sampler not in SAMPLERS:
            raise OptionError("hydra.sweeper.sampler", self.sampler, " or ".join(SAMPLERS))
        if not 2 <= self.population <= MAX_TRIALS:
            raise OptionError("hydra.sweeper.population", self.population, f"2..{MAX_TRIALS}")
        if not 0 <= self.seed < 2**32:
            raise OptionError("hydra.sweeper.seed", self.seed, "0..4294967295")

    @property
    def objectives(self) -> dict[str, str]:
        """Give each metric's direction."""
        return dict.fromkeys(self.minimize, "minimize") | dict.fromkeys(self.maximize, "maximize")


@dataclasses.dataclass(frozen=True)
class Choice:
    """A key and the overrides to choose from: value -> override. `label` names it to people."""

    key: str
    label: str
    overrides: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Pareto:
    """The search over all axes and choices, and the points at their ends."""

    options: ParetoOptions
    job: Job
    axes: tuple[Axis, ...]
    choices: tuple[Choice, ...]
    units: Mapping[str, str]
    points: tuple[PlannedPoint, ...]
    compose: Compose

    @property
    def spec(self) -> Mapping[str, Any]:
        """Give what its proposals depend on besides its points; not the number of trials: more of them go on."""
        options = {key: value for key, value in dataclasses.asdict(self.options).items() if key != "trials"}
        return {"kind": KIND, **options, "dimensions": self.dimensions}

    @property
    def note(self) -> Mapping[str, Any]:
        """Give the units of the objectives, and how many trials there were to be at first."""
        return {"trials": self.options.trials, "units": dict(self.units)}

    @property
    def dimensions(self) -> dict[str, dict[str, Any]]:
        """Give the search space in JSON types."""
        found = {one.key: {name: value for name, value in one.spec.items() if name != "key"} for one in self.axes}
        return found | {choice.key: {"choices": list(choice.overrides)} for choice in self.choices}

    def begin(self) -> "Trials":
        """Begin, knowing nothing."""
        return Trials(self)

    def outlook(self) -> tuple[int, str]:
        """Count the trials, of which some may be of the same point."""
        return (
            self.options.trials,
            f"{self.options.trials} trials; the points above, ends and choices, are only checked",
        )

    def point(self, values: Values) -> PlannedPoint:
        """Compose the point of suggested values."""
        return _point(self.compose, self.job, self.axes, self.choices, values)


def pareto(
    job: Job,
    intervals: Mapping[str, tuple[float, float, bool]],
    choices: Sequence[Choice],
    compose: Compose,
    options: ParetoOptions,
) -> Pareto:
    """Plan a search over intervals (low, high, on a log scale) and choices.

    Raises: ThpsweepError for what cannot be searched, before anything runs.
    """
    installed()
    rough = [axis(key, low, high, log=log) for key, (low, high, log) in intervals.items()]
    first: Values = {one.key: one.low for one in rough} | {one.key: next(iter(one.overrides)) for one in choices}
    make = functools.partial(_point, compose, job, rough, choices)
    lowest = make(first)
    axes = tuple(fitted(one, lowest.point, make({**first, one.key: one.high}).point) for one in rough)
    others = [make({**first, one.key: one.high}) for one in axes]
    others += [make({**first, one.key: value}) for one in choices for value in one.overrides]
    units = {
        metric: refuse_unknown(f"hydra.sweeper.{goal}", metric, lowest.point)
        for metric, goal in options.objectives.items()
    }
    points = {point.id: point for point in (lowest, *others)}
    return Pareto(options, job, axes, tuple(choices), units, tuple(points.values()), compose)


def _point(compose: Compose, job: Job, axes: Sequence[Axis], choices: Sequence[Choice], values: Values) -> PlannedPoint:
    overrides, varied = list(job.overrides), dict(job.varied)
    for choice in choices:
        overrides.append(choice.overrides[values[choice.key]])
        varied[choice.label] = values[choice.key]
    for one in axes:
        text = one.text(values[one.key])
        overrides.append(f"{one.key}={text}")
        varied[one.key] = text
    (point,) = planned([Job(tuple(overrides), varied)], compose).points
    return point


class Trials:
    """The search under way: which trials wait for a point, and what came of those that have ended."""

    def __init__(self, search: Pareto) -> None:
        self._search = search
        options = search.options
        directions = list(options.objectives.values())
        self._suggestions = Suggestions(
            search.dimensions, directions, options.sampler, options.seed, options.population
        )
        self._n_asked = 0
        self._waiting: dict[str, list[int]] = collections.defaultdict(list)
        self._ended: dict[str, list[float] | None] = {}

    def propose(self, n_idle: int) -> Sequence[ProposedPoint]:
        """Ask for a trial for each idle worker: each knows of all that has ended."""
        proposals = []
        for _ in range(min(n_idle, self._search.options.trials - self._n_asked)):
            number, values = self._suggestions.ask()
            point = self._search.point(values)
            self._take(point.id, number)
            proposals.append(ProposedPoint(point, {"values": values}))
        return proposals

    def proposed(self, key: str, note: Note) -> None:
        """Repeat a trial that was recorded."""
        self._take(key, self._suggestions.repeat(dict(note["values"])))

    def learn(self, key: str, state: str, result: Any) -> None:
        """Tell Optuna; of a point that failed and was tried again it keeps the failure."""
        means = None
        if state == "done":
            means = [float(result["metrics"][metric]["mean"]) for metric in self._search.options.objectives]
        self._ended[key] = means
        for number in self._waiting.pop(key, []):
            self._suggestions.tell(number, means)

    def ahead(self) -> tuple[int, int]:
        """Count the trials that are left; any number of them can run side by side."""
        left = max(self._search.options.trials - self._n_asked, 0)
        return left, left

    def is_over(self) -> bool:
        """Tell whether there were as many trials as were to be."""
        return self._n_asked >= self._search.options.trials

    def _take(self, key: str, number: int) -> None:
        """Let a trial wait for its point; one whose point has ended, as one of whole numbers may have, need not."""
        self._n_asked += 1
        if key in self._ended:
            self._suggestions.tell(number, self._ended[key])
        else:
            self._waiting[key].append(number)


@dataclasses.dataclass(frozen=True)
class Front:
    """The points that no other point beats: at least as good in every objective, by the means, and better in one."""

    objectives: Mapping[str, str]
    units: Mapping[str, str]
    ids: tuple[str, ...]
    n_points: int


def front(sweep: Sweep) -> Front:
    """Find the front in the journal of a search alone, finished or not; sorted by the first objective."""
    spec = sweep.header["search"]
    goals = dict.fromkeys(spec["minimize"], "minimize") | dict.fromkeys(spec["maximize"], "maximize")
    signs = [1.0 if goal == "minimize" else -1.0 for goal in goals.values()]
    done = [key for key, state in sweep.states.items() if state == "done"]
    metrics = (sweep.results[key]["result"]["metrics"] for key in done)
    costs = (
        np.array([[of_point[metric]["mean"] for metric in goals] for of_point in metrics]).reshape(-1, len(goals))
        * signs
    )
    best = unbeaten(costs).nonzero()[0].tolist()
    ids = [done[index] for index in sorted(best, key=lambda index: (costs[index].tolist(), done[index]))]
    return Front(goals, spec["units"], tuple(ids), len(done))


def unbeaten(costs: np.ndarray) -> np.ndarray:
    """Tell which rows no other row beats: lower somewhere and higher nowhere. A row with an unknown (nan) never counts.

    Shapes: (n_points, n_objectives) -> (n_points,).
    """
    known = ~np.isnan(costs).any(axis=1)
    others = costs[known]
    beaten = [bool(((others <= row).all(axis=1) & (others < row).any(axis=1)).any()) for row in costs]
    return np.asarray(known & ~np.array(beaten, bool))
