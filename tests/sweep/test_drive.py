"""Driving a plan records each result once, and goes on where it stopped."""

import os
import signal
from collections.abc import Callable, Generator, Sequence
from typing import Any

import pytest

from thpsweep.sweep import journal
from thpsweep.sweep.drive import drive
from thpsweep.sweep.plan import Plan
from thpsweep.sweep.serial import Outcome, Task, outcome, serial

Degrees = Callable[..., list[Task]]
MakePlan = Callable[[Sequence[Task]], Plan]


def nothing(_: journal.Sweep) -> None:
    """Finish without an answer."""


def test_results_are_those_of_the_model(make_plan: MakePlan, degrees: Degrees) -> None:
    from thpsweep.model.simulate import simulate

    plan = make_plan(degrees(1, 3))
    driven = drive(plan, serial, nothing)
    assert driven.exit_code == 0
    assert [driven.results[p.id]["result"] for p in plan.points] == [simulate(p.point) for p in plan.points]


def test_second_run_runs_nothing(make_plan: MakePlan, degrees: Degrees) -> None:
    plan = make_plan(degrees(1, 3))
    drive(plan, serial, nothing)
    before = (plan.directory / journal.FILE_NAME).read_bytes()

    def unwanted(_: Sequence[Task]) -> Generator[tuple[str, Outcome], None, None]:
        raise AssertionError("nothing is left to run")
        yield

    assert drive(plan, unwanted, nothing).exit_code == 0
    assert (plan.directory / journal.FILE_NAME).read_bytes() == before


def test_failed_points_are_listed_and_run_again(
    make_plan: MakePlan, degrees: Degrees, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = make_plan(degrees(1, 3))

    def fail_three(point: dict[str, Any]) -> Any:
        if point["sharing"]["degree"] == 3:
            raise ValueError("three")
        return {}

    assert drive(plan, lambda tasks: serial(tasks, function=fail_three), nothing).exit_code == 1
    assert "sharing.degree=3: ValueError: three" in capsys.readouterr().err
    ran: list[str] = []

    def note(tasks: Sequence[Task]) -> Generator[tuple[str, Outcome], None, None]:
        ran.extend(key for key, _ in tasks)
        return serial(tasks)

    assert drive(plan, note, nothing).exit_code == 0
    assert ran == [plan.points[1].id]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interruption_keeps_results_and_says_how_to_go_on(
    make_plan: MakePlan, degrees: Degrees, capsys: pytest.CaptureFixture[str], number: int, code: int
) -> None:
    plan = make_plan(degrees(1, 3))
    finished: list[journal.Sweep] = []

    def stopped(tasks: Sequence[Task]) -> Generator[tuple[str, Outcome], None, None]:
        yield tasks[0][0], outcome("done", result={})
        os.kill(os.getpid(), number)
        yield tasks[1][0], outcome("done", result={})

    assert drive(plan, stopped, finished.append).exit_code == code
    assert journal.read(plan.directory).done == {plan.points[0].id}
    assert "the same command goes on" in capsys.readouterr().err
    assert finished == []
