"""A break-even search as it is driven: each point in the journal before it runs, each once, whatever stops it."""

import dataclasses
import functools
import json
import os
import signal
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.each import each
from tests.sweep.planted import NET, bisection, break_even_of, falling, noisy, plan_of
from thpsweep.answers.terminal.searched import searched
from thpsweep.errors import OptionError, SweepError
from thpsweep.sweep.driver.drive import drive
from thpsweep.sweep.local.launcher import Arrival, Task, Terms
from thpsweep.sweep.local.serial import run_serial
from thpsweep.sweep.planning.plan import Plan
from thpsweep.sweep.records import journal
from thpsweep.sweep.records.status import status
from thpsweep.sweep.search.breakeven import answers

Degrees = Callable[..., list[Task]]

SEEDS = 3
"""Of `bisection`: their points at one degree run side by side."""


@pytest.fixture
def base(degrees: Degrees) -> dict[str, Any]:
    ((_, task),) = degrees(2)
    point = task["point"]
    return {**point, "run": {**point["run"], "replicates": 8}}


def nothing(_: journal.Sweep) -> None:
    """Finish without an answer."""


def records(plan: Plan) -> list[dict[str, Any]]:
    """Read the journal without our own reader."""
    return [json.loads(line) for line in (plan.directory / journal.FILE_NAME).read_text().splitlines() if line.strip()]


def each_once(plan: Plan) -> list[str]:
    """Give the ids of the points, none of which is planned or done twice."""
    planned, ended = ([r["id"] for r in records(plan) if r["type"] == kind] for kind in ("point", "result"))
    assert len(planned) == len({*planned}) and sorted(ended) == sorted(planned)
    return sorted(planned)


def test_planted_break_evens_are_found(tmp_path: Path, base: dict[str, Any]) -> None:
    plan = plan_of(tmp_path, bisection(base))
    assert drive(plan, functools.partial(run_serial, function=each(falling)), nothing).exit_code == 0
    for seed, answer in enumerate(answers(journal.read(plan.directory))):
        (change,) = answer.conclusion.changes
        assert answer.params["run.seed"] == seed
        assert change.below < break_even_of(seed) < change.above == change.below + 1
        assert (answer.conclusion.state, change.before, change.after) == ("found", "above", "below")
    assert len(each_once(plan)) < 3 * 20


def test_a_point_is_in_the_journal_before_it_runs(tmp_path: Path, base: dict[str, Any]) -> None:
    plan = plan_of(tmp_path, bisection(base))

    def looks(point: dict[str, Any]) -> dict[str, Any]:
        assert point in [record["point"] for record in records(plan) if record["type"] == "point"]
        return noisy(point)

    assert drive(plan, functools.partial(run_serial, function=each(looks)), nothing).exit_code == 0


def test_second_run_runs_nothing_and_writes_nothing(tmp_path: Path, base: dict[str, Any]) -> None:
    plan = plan_of(tmp_path, bisection(base))
    drive(plan, functools.partial(run_serial, function=each(noisy)), nothing)
    before = (plan.directory / journal.FILE_NAME).read_bytes()

    def unwanted(tasks: Sequence[Task], terms: Terms) -> Generator[Arrival, None, None]:
        raise AssertionError("nothing is left to run")
        yield

    again = plan_of(tmp_path, bisection(base))
    assert drive(again, unwanted, nothing).exit_code == 0
    assert (plan.directory / journal.FILE_NAME).read_bytes() == before
    assert json.loads(before.splitlines()[-1])["type"] == "concluded" and journal.read(plan.directory).concluded


@pytest.mark.parametrize("stops", [1, 9, 27, 31, 40])
def test_interrupted_anywhere_it_ends_with_the_same_answer(
    tmp_path: Path, base: dict[str, Any], capfd: pytest.CaptureFixture[str], stops: int
) -> None:
    undisturbed, stopped = (plan_of(tmp_path / name, bisection(base)) for name in ("a", "b"))
    drive(undisturbed, functools.partial(run_serial, function=each(noisy)), nothing)
    ran = 0

    def interrupted(point: dict[str, Any]) -> dict[str, Any]:
        nonlocal ran
        ran += 1
        if ran == stops:
            os.kill(os.getpid(), signal.SIGINT)
        return noisy(point)

    finished: list[journal.Sweep] = []
    assert drive(stopped, functools.partial(run_serial, function=each(interrupted)), finished.append).exit_code == 130
    assert finished == [] and stops <= ran < stops + SEEDS
    assert f"{ran} of about" in capfd.readouterr().err and "search is not over" in said(stopped)
    assert drive(stopped, functools.partial(run_serial, function=each(interrupted)), finished.append).exit_code == 0
    assert each_once(stopped) == each_once(undisturbed) and ran == len(each_once(stopped))
    assert answers(finished[0]) == answers(journal.read(undisturbed.directory))
    assert "search" not in said(stopped) and f"{ran} of {ran} points done" in said(stopped)


def said(plan: Plan) -> str:
    return "\n".join(status(plan.directory).lines(0.0))


def test_a_failed_point_fails_the_sweep_and_is_tried_again(
    tmp_path: Path, base: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_of(tmp_path, bisection(base))

    def fails(point: dict[str, Any]) -> dict[str, Any]:
        if point["run"]["seed"] == 1 and 30 < point["sharing"]["degree"] < 60:
            raise ValueError("not now")
        return falling(point)

    assert drive(plan, functools.partial(run_serial, function=each(fails)), nothing).exit_code == 1
    assert "not now" in capsys.readouterr().err
    states = [answer.conclusion.state for answer in answers(journal.read(plan.directory))]
    assert states == ["found", "not finished", "found"]
    assert drive(plan, functools.partial(run_serial, function=each(falling)), nothing).exit_code == 0
    assert [answer.conclusion.state for answer in answers(journal.read(plan.directory))] == ["found"] * 3
    assert journal.read(plan.directory).concluded


def test_what_is_damaged_is_done_again(tmp_path: Path, base: dict[str, Any]) -> None:
    plan = plan_of(tmp_path, bisection(base))
    drive(plan, functools.partial(run_serial, function=each(falling)), nothing)
    before = answers(journal.read(plan.directory))
    file = plan.directory / journal.FILE_NAME
    lines = file.read_bytes().splitlines(keepends=True)
    for number in (1, 10, 30, len(lines) - 2):
        lines[number] = lines[number].replace(b'"id": "', b'"id": "x', 1)
    file.write_bytes(b"".join(lines))
    assert drive(plan, functools.partial(run_serial, function=each(falling)), nothing).exit_code == 0
    after = answers(journal.read(plan.directory))
    assert [answer.conclusion for answer in after] == [answer.conclusion for answer in before]


def test_more_replicates_are_other_points_of_the_same_value(tmp_path: Path, base: dict[str, Any]) -> None:
    plan = plan_of(tmp_path, bisection(base, n=1, max_replicates=128))
    drive(plan, functools.partial(run_serial, function=each(noisy)), nothing)
    (answer,) = answers(journal.read(plan.directory))
    raised = {reading.replicates for reading in answer.readings.values()}
    assert {8, 32, 128} == raised and len(each_once(plan)) > len(answer.readings)


def test_answer_is_a_table_and_a_file(tmp_path: Path, base: dict[str, Any]) -> None:
    plan = plan_of(tmp_path, bisection(base))
    drive(plan, functools.partial(run_serial, function=each(falling)), searched)
    text = (plan.directory / "breakeven.txt").read_text()
    assert f"where {NET} changes sides of 0 ms" in text and "above to below" in text and "can be missed" in text
    content = json.loads((plan.directory / "breakeven.json").read_text())
    assert content["axis"]["key"] == "sharing.degree" and len(content["answers"]) == 3
    ids = [key for answer in content["answers"] for key in answer["points"]]
    assert sorted(ids) == each_once(plan)
    (change,) = content["answers"][0]["changes"]
    assert (change["below"], change["above"], change["resolved"]) == (3, 4, True)
    assert change["estimate"] == pytest.approx(3.5, abs=0.1)


def test_identity_is_what_is_searched_for(tmp_path: Path, base: dict[str, Any]) -> None:
    plan = plan_of(tmp_path, bisection(base))
    assert plan_of(tmp_path, bisection(base)).id == plan.id
    others = [bisection(base, n=2), bisection(base, high=400.0), bisection(base, resolution=0.01)]
    others += [
        bisection(base, threshold=1.0),
        bisection(base, metric="cost/cpu_ms"),
        bisection(base, max_replicates=32),
    ]
    assert len({plan.id, *(plan_of(tmp_path, other).id for other in others)}) == 7


def test_another_search_of_a_given_name_is_refused_with_what_differs(tmp_path: Path, base: dict[str, Any]) -> None:
    first = plan_of(tmp_path, bisection(base), named=True)
    drive(first, functools.partial(run_serial, function=each(falling)), nothing)
    with pytest.raises(SweepError, match=r"search\.resolution: 0\.001 there, 0\.01 here"):
        drive(plan_of(tmp_path, bisection(base, resolution=0.01), named=True), run_serial, nothing)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"metric": "cost/beer"}, "hydra.sweeper.metric='cost/beer': expected a metric of the results: .*net_cpu_ms"),
        ({"samples": 1}, "hydra.sweeper.samples=1"),
        ({"resolution": 0.0}, "hydra.sweeper.resolution=0.0"),
        ({"threshold": float("nan")}, "hydra.sweeper.threshold=nan"),
        ({"max_replicates": 1}, "hydra.sweeper.max_replicates=1"),
        ({"high": 4000.0}, "1..2000"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(base: dict[str, Any], options: dict[str, Any], wanted: str) -> None:
    with pytest.raises(OptionError, match=wanted):
        bisection(base, **options)


def test_one_replicate_is_refused(base: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r"run.replicates=1: expected 2 or more"):
        bisection({**base, "run": {**base["run"], "replicates": 1}})


def test_order_of_combinations_is_no_matter(tmp_path: Path, base: dict[str, Any]) -> None:
    plan = plan_of(tmp_path, bisection(base))
    drive(plan, functools.partial(run_serial, function=each(falling)), nothing)
    search: Any = plan.search
    turned = dataclasses.replace(search, combinations=search.combinations[::-1], points=search.points[::-1])
    again = plan_of(tmp_path, turned)
    assert again.id == plan.id
    assert drive(again, functools.partial(run_serial, function=each(falling)), nothing).exit_code == 0
    assert each_once(plan)
