"""Driving a plan records each result once, and goes on where it stopped."""

import contextlib
import dataclasses
import errno
import functools
import json
import os
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.each import each
from thpsweep.errors import StorageError, SweepError
from thpsweep.sweep.driver import drive as drive_module
from thpsweep.sweep.driver.drive import drive
from thpsweep.sweep.local.attempt import outcome
from thpsweep.sweep.local.launcher import Arrival, Task, Terms
from thpsweep.sweep.local.serial import run_serial
from thpsweep.sweep.planning.plan import Plan
from thpsweep.sweep.records import journal

Degrees = Callable[..., list[Task]]
MakePlan = Callable[[Sequence[Task]], Plan]


def nothing(_: journal.Sweep) -> None:
    """Finish without an answer."""


def test_results_are_those_of_the_model(make_plan: MakePlan, degrees: Degrees) -> None:
    from thpsweep.model.simulate import simulate

    plan = make_plan(degrees(1, 3))
    driven = drive(plan, run_serial, nothing)
    assert driven.exit_code == 0
    found = [driven.results[p.id]["result"] for p in plan.points]
    assert json.dumps(found) == json.dumps([simulate(p.point) for p in plan.points])  # a text, in which nan is nan


def test_second_run_runs_nothing(make_plan: MakePlan, degrees: Degrees) -> None:
    plan = make_plan(degrees(1, 3))
    drive(plan, run_serial, nothing)
    before = (plan.directory / journal.FILE_NAME).read_bytes()

    def unwanted(_: Sequence[Task], terms: Terms) -> Generator[Arrival, None, None]:
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

    assert drive(plan, functools.partial(run_serial, function=each(fail_three)), nothing).exit_code == 1
    assert "sharing.degree=3: ValueError: three" in capsys.readouterr().err
    ran: list[str] = []

    def note(tasks: Sequence[Task], terms: Terms) -> Generator[Arrival, None, None]:
        ran.extend(key for key, _ in tasks)
        return run_serial(tasks)

    assert drive(plan, note, nothing).exit_code == 0
    assert ran == [plan.points[1].id]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interruption_drains_and_says_how_to_go_on(
    make_plan: MakePlan, degrees: Degrees, capfd: pytest.CaptureFixture[str], number: int, code: int
) -> None:
    plan = make_plan(degrees(1, 3, 5))
    finished: list[journal.Sweep] = []

    def stopped(tasks: Sequence[Task], terms: Terms) -> Generator[Arrival, None, None]:
        yield [(tasks[0][0], outcome("done", result={}))]
        os.kill(os.getpid(), number)
        assert terms.draining.is_set()  # and the first signal raises nothing: what is in flight comes in
        yield [(tasks[1][0], outcome("done", result={}))]

    assert drive(plan, stopped, finished.append).exit_code == code
    said = capfd.readouterr().err
    assert "draining" in said and "2 of 3 results came in" in said and "the same command goes on" in said
    assert journal.read(plan.directory).done == {point.id for point in plan.points[:2]}
    assert finished == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_second_interruption_stops_at_once(
    make_plan: MakePlan, degrees: Degrees, capfd: pytest.CaptureFixture[str], number: int, code: int
) -> None:
    plan = make_plan(degrees(1, 3))
    closed: list[str] = []

    def stopped(tasks: Sequence[Task], terms: Terms) -> Generator[Arrival, None, None]:
        yield [(tasks[0][0], outcome("done", result={}))]
        try:
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)
            closed.append("too late")
        finally:
            os.kill(os.getpid(), number)  # whoever cleans up is left alone
            closed.append("cleaned up")
        yield []

    assert drive(plan, stopped, nothing).exit_code == code
    assert journal.read(plan.directory).done == {plan.points[0].id}
    assert closed == ["cleaned up"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interruption_of_what_follows_the_last_result_says_that_all_are_kept(
    make_plan: MakePlan, degrees: Degrees, capsys: pytest.CaptureFixture[str], number: int, code: int
) -> None:
    plan = make_plan(degrees(1, 3))

    def interrupted(sweep: journal.Sweep) -> None:
        os.kill(os.getpid(), number)
        raise AssertionError("too late")

    assert drive(plan, run_serial, interrupted).exit_code == code
    said = capsys.readouterr().err
    assert "all 2 points have ended" in said and "the same command" in said and "draining" not in said
    assert len(journal.read(plan.directory).done) == 2


def test_a_failure_is_one_line_whatever_its_message(
    make_plan: MakePlan, degrees: Degrees, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(point: dict[str, Any]) -> Any:
        raise ValueError("a\nlong\nstory")

    assert drive(make_plan(degrees(3)), functools.partial(run_serial, function=each(fail)), nothing).exit_code == 1
    assert "sharing.degree=3: ValueError: a long story\n" in capsys.readouterr().err


def test_signals_are_as_before_afterwards(make_plan: MakePlan, degrees: Degrees) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)]
    drive(make_plan(degrees(1)), run_serial, nothing)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)] == before


@pytest.mark.parametrize("ignored", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_is_ignored_stays_so_and_the_other_one_ends_it(
    make_plan: MakePlan, degrees: Degrees, ignored: int
) -> None:
    """A shell that is not interactive starts what ends with & with SIGINT ignored, nohup with SIGHUP."""
    (heeded,) = {signal.SIGINT, signal.SIGTERM} - {ignored}
    plan = make_plan(degrees(1, 3))

    def stopped(tasks: Sequence[Task], terms: Terms) -> Generator[Arrival, None, None]:
        os.kill(os.getpid(), ignored)
        assert not terms.draining.is_set()
        os.kill(os.getpid(), heeded)
        yield [(tasks[0][0], outcome("done", result={}))]

    before = signal.signal(ignored, signal.SIG_IGN)
    try:
        assert drive(plan, stopped, nothing).exit_code == 128 + heeded
    finally:
        signal.signal(ignored, before)


def test_all_that_came_in_before_the_end_is_all_done(make_plan: MakePlan, degrees: Degrees) -> None:
    def interrupted(tasks: Sequence[Task], terms: Terms) -> Generator[Arrival, None, None]:
        os.kill(os.getpid(), signal.SIGINT)
        yield [(key, outcome("done", result={})) for key, _ in tasks]

    assert drive(make_plan(degrees(1, 3)), interrupted, nothing).exit_code == 0


def test_an_arrival_is_on_the_disk_before_it_is_told_of(
    make_plan: MakePlan, degrees: Degrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync = os.fsync

    @contextlib.contextmanager
    def meter(_: int) -> Iterator[Callable[[str], None]]:
        yield events.append

    def noted(handle: int) -> None:
        fsync(handle)
        events.append("fsync")

    monkeypatch.setattr(drive_module, "progress", meter)

    def three(tasks: Sequence[Task], terms: Terms) -> Generator[Arrival, None, None]:
        monkeypatch.setattr(os, "fsync", noted)
        ended = [(key, outcome("done", result={})) for key, _ in tasks]
        yield ended[:2]
        yield ended[2:]

    drive(make_plan(degrees(1, 3, 5)), three, nothing)
    assert events == ["fsync", "done", "done", "fsync", "done"]


def test_a_record_damaged_during_the_sweep_is_named_and_done_again(
    make_plan: MakePlan, degrees: Degrees, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = make_plan(degrees(1, 3))

    def rotten(tasks: Sequence[Task], terms: Terms) -> Generator[Arrival, None, None]:
        yield from run_serial(tasks, terms)
        file = plan.directory / journal.FILE_NAME
        file.write_bytes(file.read_bytes().replace(b'"done"', b'"dome"', 1))

    assert drive(plan, rotten, nothing).exit_code == 1
    assert "sharing.degree=1: its record was damaged on the disk" in capsys.readouterr().err
    assert drive(plan, run_serial, nothing).exit_code == 0


def named(plan: Plan, **changes: Any) -> Plan:
    """Give a plan its name as a user does."""
    return dataclasses.replace(plan, named=True, **changes)


def test_another_sweep_of_a_given_name_is_refused_with_what_differs(make_plan: MakePlan, degrees: Degrees) -> None:
    first, second = (named(make_plan(degrees(*values))) for values in ((1, 3), (1, 5)))
    drive(first, run_serial, nothing)
    with pytest.raises(SweepError) as refused:
        drive(second, run_serial, nothing)
    said = str(refused.value).splitlines()
    assert said[0].startswith(f"sweep.name='t': another sweep has that name, in {first.directory}")
    assert said[1] == "  sharing.degree: 1,3 there, 1,5 here" and "sweep.force=true" in said[-1]
    assert not second.directory.exists()


def test_force_runs_it_beside_and_then_both_go_on(make_plan: MakePlan, degrees: Degrees) -> None:
    first, second = (named(make_plan(degrees(*values))) for values in ((1, 3), (1, 5)))
    drive(first, run_serial, nothing)
    drive(dataclasses.replace(second, force=True), run_serial, nothing)
    assert [drive(plan, run_serial, nothing).exit_code for plan in (first, second)] == [0, 0]


def test_names_that_nobody_gave_are_no_claim(make_plan: MakePlan, degrees: Degrees) -> None:
    for values in ((1, 3), (1, 5)):
        assert drive(make_plan(degrees(*values)), run_serial, nothing).exit_code == 0


def test_a_folder_that_is_moved_while_it_is_written_keeps_its_results(
    make_plan: Callable[..., Plan], degrees: Degrees, tmp_path: Path
) -> None:
    plan = make_plan(degrees(1, 2, 3))

    def moving(tasks: Sequence[Task], terms: Terms) -> Generator[Arrival, None, None]:
        for number, arrival in enumerate(run_serial(tasks, terms)):
            if not number:
                plan.directory.rename(tmp_path / "elsewhere")
            yield arrival

    with pytest.raises(StorageError, match=r"moved or removed; all results .* are kept in its journal"):
        drive(plan, moving, nothing)
    (tmp_path / "elsewhere").rename(plan.directory)
    assert len(journal.read(plan.directory).done) == 3
    assert drive(plan, run_serial, nothing).exit_code == 0


def test_a_folder_that_becomes_immutable_keeps_its_results(
    make_plan: Callable[..., Plan], degrees: Degrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As chattr +i makes it; that an OSError looks like this is Linux's, here it is played."""
    plan = make_plan(degrees(1, 2))

    def refuse(sweep: journal.Sweep) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", str(sweep.directory / "table.txt"))

    with pytest.raises(StorageError, match=r"table.txt: Operation not permitted; all results .* are kept"):
        drive(plan, run_serial, refuse)
    assert drive(plan, run_serial, nothing).exit_code == 0


def test_what_others_do_to_other_files_is_not_explained_away(
    make_plan: Callable[..., Plan], degrees: Degrees, tmp_path: Path
) -> None:
    def fail(sweep: journal.Sweep) -> None:
        (tmp_path / "no such file").read_text()

    with pytest.raises(FileNotFoundError):
        drive(make_plan(degrees(1)), run_serial, fail)
