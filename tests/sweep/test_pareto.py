"""A search with several objectives finds a planted front, and goes on from its journal as if it had never stopped."""

import functools
import json
import math
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.each import each
from tests.sweep.planted import BENEFIT, COST, front_of, front_search, plan_of, zdt1
from thpsweep.answers.terminal.searched import searched
from thpsweep.errors import SweepError, ThpsweepError
from thpsweep.sweep.driver.drive import drive
from thpsweep.sweep.local.launcher import Task
from thpsweep.sweep.local.serial import run_serial
from thpsweep.sweep.planning.plan import Plan
from thpsweep.sweep.records import journal
from thpsweep.sweep.search.pareto import front, unbeaten
from thpsweep.sweep.search.suggest import Suggestions

Degrees = Callable[..., list[Task]]
RUN = functools.partial(run_serial, function=each(zdt1))


@pytest.fixture
def base(degrees: Degrees) -> dict[str, Any]:
    ((_, task),) = degrees(2)
    point = task["point"]
    return point


def nothing(_: journal.Sweep) -> None:
    """Finish without an answer."""


def proposals(plan: Plan) -> list[dict[str, Any]]:
    """List what was proposed, in order, without our own reader."""
    lines = (plan.directory / journal.FILE_NAME).read_text().splitlines()
    return [r["search"]["values"] for r in map(json.loads, lines) if r["type"] in ("point", "proposal")]


def objectives(plan: Plan) -> list[tuple[float, float]]:
    """Give both objectives of each point of the front, the second one to be minimised again."""
    sweep = journal.read(plan.directory)
    found = [sweep.results[key]["result"]["metrics"] for key in front(sweep).ids]
    return [(metrics[COST]["mean"], -metrics[BENEFIT]["mean"]) for metrics in found]


BEST = 1.1**2 - 1 / 3
"""What the front itself dominates below (1.1, 1.1): all but what lies below 1 - sqrt(x), which is 1/3."""


def area(points: list[tuple[float, float]], corner: float = 1.1) -> float:
    """Measure what the points of a front, sorted by the first objective, dominate below a corner."""
    total, last = 0.0, corner
    for first, second in sorted(points):
        if first < corner and second < last:
            total += (corner - first) * (last - second)
            last = second
    return total


def test_area_of_the_front_itself_is_as_known() -> None:
    fine = [(first / 10_000, front_of(first / 10_000)) for first in range(10_001)]
    assert area(fine) == pytest.approx(BEST, abs=1e-3)


@pytest.mark.parametrize(("sampler", "trials"), [("nsga2", 500), ("tpe", 150)])
def test_planted_front_is_found(tmp_path: Path, base: dict[str, Any], sampler: str, trials: int) -> None:
    plan = plan_of(tmp_path, front_search(base, trials, sampler))
    assert drive(plan, RUN, nothing).exit_code == 0
    found = objectives(plan)
    assert all(second >= front_of(first) - 1e-9 for first, second in found)
    assert area(found) > 0.85 * BEST
    drawn = np.random.default_rng(1).random((trials, 3))
    by_chance = [(x, (1 + 4.5 * (y + z)) * (1 - math.sqrt(x / (1 + 4.5 * (y + z))))) for x, y, z in drawn.tolist()]
    assert area(found) > 1.2 * area(by_chance)


@pytest.mark.parametrize("stops", [1, 20, 50])
def test_interrupted_anywhere_it_proposes_the_same(tmp_path: Path, base: dict[str, Any], stops: int) -> None:
    undisturbed, stopped = (plan_of(tmp_path / name, front_search(base, 60)) for name in ("a", "b"))
    drive(undisturbed, RUN, nothing)
    ran = 0

    def interrupted(point: dict[str, Any]) -> dict[str, Any]:
        nonlocal ran
        ran += 1
        if ran == stops:
            os.kill(os.getpid(), signal.SIGINT)
        return zdt1(point)

    launch = functools.partial(run_serial, function=each(interrupted))
    assert drive(stopped, launch, nothing).exit_code == 130 and ran == stops
    assert drive(stopped, launch, nothing).exit_code == 0
    assert proposals(stopped) == proposals(undisturbed) and ran == len(journal.read(stopped.directory).points)
    assert front(journal.read(stopped.directory)) == front(journal.read(undisturbed.directory))


def test_seed_decides(tmp_path: Path, base: dict[str, Any]) -> None:
    plans = [plan_of(tmp_path, front_search(base, 30, seed=seed)) for seed in (1, 2)]
    for plan in plans:
        drive(plan, RUN, nothing)
    assert proposals(plans[0]) != proposals(plans[1])


def test_more_trials_go_on_from_there(tmp_path: Path, base: dict[str, Any]) -> None:
    few, many = (plan_of(tmp_path, front_search(base, trials)) for trials in (30, 50))
    drive(few, RUN, nothing)
    first = proposals(few)
    drive(many, RUN, nothing)
    assert many.directory == few.directory and proposals(many)[:30] == first and len(proposals(many)) == 50
    whole = plan_of(tmp_path / "whole", front_search(base, 50))
    drive(whole, RUN, nothing)
    assert proposals(whole) == proposals(many)


def test_a_point_proposed_again_is_not_run_again(tmp_path: Path, base: dict[str, Any]) -> None:
    ran: list[str] = []

    def noted(point: dict[str, Any]) -> dict[str, Any]:
        ran.append(json.dumps(point, sort_keys=True))
        return zdt1(point)

    search: Any = front_search(base, 40)
    only = {"run.seed": search.dimensions["run.seed"]}
    search = type(search)(**{**vars(search), "axes": (), "points": search.points[:1]})
    assert search.dimensions == only
    plan = plan_of(tmp_path, search)
    assert drive(plan, functools.partial(run_serial, function=each(noted)), nothing).exit_code == 0
    assert len(ran) == len({*ran}) == 5 and len(proposals(plan)) == 40
    assert drive(plan, functools.partial(run_serial, function=each(noted)), nothing).exit_code == 0
    assert len(ran) == 5


def test_what_another_version_would_propose_is_overruled_by_the_journal() -> None:
    dimensions = {"a": {"low": 0.0, "high": 1.0, "log": False, "whole": False}, "b": {"choices": ["x", "y"]}}
    suggestions = Suggestions(dimensions, ["minimize"], "nsga2", 1, 10)
    number = suggestions.repeat({"a": 0.125, "b": "y"})
    suggestions.tell(number, [3.0])
    best = suggestions._study.best_trial
    assert (best.params, best.values) == ({"a": 0.125, "b": "y"}, [3.0])


def test_failed_and_infinite_points_are_told_as_nothing(tmp_path: Path, base: dict[str, Any]) -> None:
    plan = plan_of(tmp_path, front_search(base, 40))

    def fails(point: dict[str, Any]) -> dict[str, Any]:
        if point["run"]["seed"] == 2:
            raise ValueError("two")
        found = zdt1(point)
        if point["run"]["seed"] == 3:
            found["metrics"][COST]["mean"] = math.nan
        return found

    assert drive(plan, functools.partial(run_serial, function=each(fails)), nothing).exit_code == 1
    sweep = journal.read(plan.directory)
    assert {sweep.points[key]["params"]["run.seed"] for key in front(sweep).ids} <= {1, 4, 5}
    assert drive(plan, RUN, nothing).exit_code == 0
    assert set(journal.read(plan.directory).states.values()) == {"done"} and len(proposals(plan)) == 40


def test_unbeaten_is_what_no_row_beats() -> None:
    costs = np.array([[1, 4], [2, 2], [4, 1], [3, 3], [2, 2], [math.nan, 0], [1, math.inf]])
    assert unbeaten(costs).tolist() == [True, True, True, False, True, False, False]


def test_answer_is_a_table_and_a_file(tmp_path: Path, base: dict[str, Any]) -> None:
    plan = plan_of(tmp_path, front_search(base, 30))
    drive(plan, RUN, searched)
    text = (plan.directory / "pareto.txt").read_text()
    assert "of 30 points are beaten by no other" in text and "minimize" in text and BENEFIT in text
    content = json.loads((plan.directory / "pareto.json").read_text())
    assert content["minimize"] == [COST] and content["n_points"] == len(journal.read(plan.directory).points)
    assert [one["point"] for one in content["front"]] == list(front(journal.read(plan.directory)).ids)
    assert set(content["front"][0]["objectives"]) == {COST, BENEFIT}


def test_without_optuna_it_says_what_to_install(base: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SweepError, match=r"pip install 'thpsweep\[search\]'"):
        front_search(base)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"minimize": ("cost/beer",)}, "hydra.sweeper.minimize='cost/beer': expected a metric"),
        ({"minimize": (COST, BENEFIT)}, "each once"),
        ({"minimize": (), "maximize": ()}, "at least one"),
        ({"trials": 0}, "hydra.sweeper.trials=0"),
        ({"sampler": "luck"}, "expected nsga2 or tpe"),
        ({"population": 1}, "hydra.sweeper.population=1"),
        ({"seed": -1}, "hydra.sweeper.seed=-1"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(base: dict[str, Any], options: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ThpsweepError, match=wanted):
        front_search(base, **options)
