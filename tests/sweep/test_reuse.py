"""What any sweep of the folder has is not computed again, in whatever other sweep it is asked for."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.each import each
from tests.sweep.journals import of_other_code
from thpsweep.errors import SweepError
from thpsweep.sweep.driver.drive import drive
from thpsweep.sweep.driver.name_conflicts import refuse_name_conflict
from thpsweep.sweep.local.launcher import Task
from thpsweep.sweep.local.serial import run_serial
from thpsweep.sweep.planning.plan import Plan
from thpsweep.sweep.records import journal, reuse
from thpsweep.sweep.records.identity import code_id
from thpsweep.sweep.records.journal import FILE_NAME

Degrees = Callable[..., list[Task]]
MakePlan = Callable[[Sequence[Task]], Plan]


def nothing(_: journal.Sweep) -> None:
    """Finish without an answer."""


@pytest.fixture
def ran() -> list[int]:
    return []


@pytest.fixture
def run(make_plan: MakePlan, degrees: Degrees, ran: list[int]) -> Callable[..., Plan]:
    """Drive a plan of degrees, and note those that are simulated; a degree of 13 fails."""

    def note(point: dict[str, Any]) -> dict[str, int]:
        ran.append(point["sharing"]["degree"])
        if ran[-1] == 13:
            raise ValueError("unlucky")
        return {"degree": ran[-1]}

    def drive_it(*values: int) -> Plan:
        plan = make_plan(degrees(*values))
        drive(plan, functools.partial(run_serial, function=each(note)), nothing)
        return plan

    return drive_it


def test_a_grid_that_grows_computes_what_is_new(
    run: Callable[..., Plan], ran: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(2, 3)
    grown = run(2, 3, 4)
    assert ran == [2, 3, 4] and first.directory != grown.directory
    assert f"2 points are taken over from {first.directory.name}" in capsys.readouterr().err
    results = journal.read(grown.directory).results
    assert [results[point.id]["result"] for point in grown.points] == [{"degree": n} for n in (2, 3, 4)]
    sources = [results[point.id].get("source") for point in grown.points]
    assert sources == [first.directory.name, first.directory.name, None]
    again = run(3, 4, 5)
    assert ran == [2, 3, 4, 5]
    own = journal.read(again.directory).results
    assert [own[point.id].get("source") for point in again.points] == [first.directory.name, grown.directory.name, None]


def test_failures_are_tried_again(run: Callable[..., Plan], ran: list[int]) -> None:
    run(2, 13)
    run(2, 13, 4)
    assert ran == [2, 13, 13, 4]


def test_results_of_other_code_are_not_taken_and_are_named(
    run: Callable[..., Plan], ran: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(2)
    of_other_code(first.directory)
    second = run(2, 3)
    assert ran == [2, 2, 3]
    assert f"{first.directory} is of other code than this: its results are not used" in capsys.readouterr().err
    of_other_code(second.directory)
    run(2, 3, 4)
    assert ran == [2, 2, 3, 2, 3, 4]
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "of other code" in line)
    assert line.endswith("and 1 more are of other code than this: their results are not used")


def test_only_a_name_that_was_given_tells_of_other_commands(run: Callable[..., Plan]) -> None:
    first = run(2)
    of_other_code(first.directory)
    elsewhere = first.root / "none"
    assert reuse.other_code(first.root, elsewhere, None, ["y=2"]) == ""
    assert first.directory.name in reuse.other_code(first.root, elsewhere, "t", ["y=2"])
    assert first.directory.name in reuse.other_code(first.root, elsewhere, None, ["x=1"])
    assert reuse.other_code(first.root, first.directory, "t", ["x=1"]) == ""


def test_a_name_of_a_sweep_of_other_code_is_refused_with_both(run: Callable[..., Plan]) -> None:
    first = run(2)
    of_other_code(first.directory)
    moved = first.directory.rename(first.root / f"t-{'0' * 12}")
    with pytest.raises(SweepError, match=rf"code: {'0' * 12} there, {code_id()} here"):
        refuse_name_conflict(dataclasses.replace(first, named=True))
    assert moved.exists()


def test_damage_elsewhere_harms_nobody(run: Callable[..., Plan], ran: list[int], tmp_path: Path) -> None:
    first = run(2, 3)
    file = first.directory / FILE_NAME
    content = file.read_bytes()
    lines = content.splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:-1]) + lines[-1].replace(b"3", b"4", 1))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / FILE_NAME).write_bytes(b"")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / FILE_NAME).write_bytes(content[:50])
    run(2, 3, 4)
    assert ran == [2, 3, 3, 4]


def test_places_name_the_first_sweep(run: Callable[..., Plan]) -> None:
    first = run(2)
    places = reuse.elsewhere(first.root, first.root / "none", {first.points[0].id})
    assert [place.sweep for place in places.values()] == [first.directory.name]
    assert reuse.elsewhere(first.root, first.directory, {first.points[0].id}) == {}
