"""A point that kills the process that runs it is found out by the processes that come after it."""

import os
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.each import each
from thpsweep.sweep.local.attempt import outcome
from thpsweep.sweep.local.crash_log import FILE_NAME, MAX_DEATHS, CrashLog
from thpsweep.sweep.local.serial import Arrival, Task, Terms, run_serial
from thpsweep.sweep.ray import auto as auto_module
from thpsweep.sweep.ray.auto import run_auto

POISON = 7
Degrees = Callable[..., list[Task]]


def deadly(point: dict[str, Any]) -> dict[str, Any]:
    """Exit at one degree, as no exception does."""
    if point["sharing"]["degree"] == POISON:
        os._exit(1)
    return {"degree": point["sharing"]["degree"]}


def die_of_it(tasks: Sequence[Task], file: Path) -> None:
    """Let another process run into it."""
    child = os.fork()
    if child == 0:
        list(run_serial(tasks, Terms(crash_log=CrashLog(file)), function=each(deadly)))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 1


def states(arrivals: Generator[Arrival, None, None]) -> list[str]:
    """List how points ended, in the order in which they did."""
    return [ended["state"] for arrival in arrivals for _, ended in arrival]


def test_a_point_is_given_up_after_three_deaths_and_tried_again_by_the_next_command(
    tmp_path: Path, degrees: Degrees
) -> None:
    file, tasks = tmp_path / FILE_NAME, degrees(POISON, 8)
    for _ in range(MAX_DEATHS):
        die_of_it(tasks, file)
    assert states(run_serial(tasks, Terms(crash_log=CrashLog(file)), function=each(deadly))) == ["quarantined", "done"]
    die_of_it(tasks, file)


def test_points_that_end_before_it_each_time_clear_nobody_but_themselves(tmp_path: Path, degrees: Degrees) -> None:
    file, tasks = tmp_path / FILE_NAME, degrees(8, POISON)
    for _ in range(MAX_DEATHS):
        die_of_it(tasks, file)
    assert [CrashLog(file).deaths(key) for key, _ in tasks] == [0, MAX_DEATHS]
    assert states(run_serial(tasks, Terms(crash_log=CrashLog(file)), function=each(deadly))) == ["done", "quarantined"]


def test_what_ends_by_itself_leaves_nothing_behind(tmp_path: Path, degrees: Degrees) -> None:
    def interrupted(point: dict[str, Any]) -> dict[str, Any]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_serial(degrees(8), Terms(crash_log=CrashLog(tmp_path / FILE_NAME)), function=each(interrupted)))
    ((key, _),) = degrees(8)
    assert CrashLog(tmp_path / FILE_NAME).deaths(key) == 0


def test_auto_keeps_a_suspect_out_of_the_driver(
    tmp_path: Path, degrees: Degrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(tasks: Sequence[Task], terms: Terms, **_: Any) -> Generator[Arrival, None, None]:
        yield [(key, outcome("quarantined")) for key, _ in tasks]

    monkeypatch.setattr(auto_module, "run_pool", away)
    file, tasks = tmp_path / FILE_NAME, degrees(POISON, 8)
    assert states(run_auto(degrees(8), Terms(crash_log=CrashLog(file)), function=each(deadly))) == ["done"]
    die_of_it(tasks, file)
    assert states(run_auto(tasks, Terms(crash_log=CrashLog(file)), function=each(deadly))) == [
        "quarantined",
        "quarantined",
    ]


def test_a_torn_file_accuses_nobody(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text('["abc", {"abc": 2')
    assert CrashLog(tmp_path / FILE_NAME).deaths("abc") == 0
