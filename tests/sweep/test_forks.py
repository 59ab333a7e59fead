"""A point that forks and lets the child return: the child ends there, and the journal keeps one writer."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.each import each
from thpsweep.sweep.driver.drive import drive
from thpsweep.sweep.local.attempt import attempt
from thpsweep.sweep.local.launcher import Task
from thpsweep.sweep.local.serial import run_serial
from thpsweep.sweep.planning.limits import PointLimits
from thpsweep.sweep.records.journal import FILE_NAME
from thpsweep.sweep.records.writer import FORKED, Journal

Degrees = Callable[..., list[Task]]


def forks(point: dict[str, Any]) -> dict[str, Any]:
    """Fork, and return in both."""
    os.fork()
    return {"degree": point["sharing"]["degree"]}


def forks_and_raises(point: dict[str, Any]) -> dict[str, Any]:
    """Fork, and raise what is no Exception in the child."""
    if os.fork() == 0:
        raise KeyboardInterrupt
    return {}


@pytest.mark.parametrize("function", [forks, forks_and_raises])
def test_a_child_never_comes_back_from_a_point(degrees: Degrees, function: Callable[..., Any]) -> None:
    ((_, checked),) = degrees(8)
    before = os.getpid()
    (ended,) = attempt(each(function), [checked["point"]], PointLimits())
    assert os.getpid() == before and ended["state"] == "done"
    _, status = os.wait()
    assert os.waitstatus_to_exitcode(status) == FORKED


def test_a_sweep_of_points_that_fork_has_one_result_a_point(
    degrees: Degrees, make_plan: Callable[..., Any], tmp_path: Path
) -> None:
    plan = make_plan(degrees(1, 2, 3, 4))
    driven = drive(plan, lambda tasks, terms: run_serial(tasks, terms, function=each(forks)), lambda sweep: None)
    assert driven.exit_code == 0
    assert (plan.directory / FILE_NAME).read_bytes().count(b'"type": "result"') == 4
    assert [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(4)] == [FORKED] * 4


def test_a_copy_of_the_writer_writes_nothing(tmp_path: Path) -> None:
    handle = os.open(tmp_path / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    journal = Journal(handle)
    if os.fork() == 0:
        try:
            journal.append({"type": "result"})
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == FORKED
    journal.append({"type": "concluded"})
    assert b"result" not in (tmp_path / FILE_NAME).read_bytes()
    os.close(handle)
