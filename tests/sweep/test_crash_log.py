"""A point that kills the process that runs it is found out by the processes that come after it."""

import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.each import each
from thpsweep.sweep.local import isolated
from thpsweep.sweep.local.isolated import MAX_DEATHS, run_isolated
from thpsweep.sweep.local.launcher import Arrival, Task, Terms
from thpsweep.sweep.local.serial import run_serial
from thpsweep.sweep.planning import batches
from thpsweep.sweep.planning.limits import PointLimits
from thpsweep.sweep.ray.auto import run_auto
from thpsweep.sweep.records import crash_log
from thpsweep.sweep.records.crash_log import FILE_NAME, CrashLog, suspects

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


def test_a_point_that_ended_its_driver_runs_apart_and_is_given_up_after_three_deaths(
    tmp_path: Path, degrees: Degrees
) -> None:
    file, tasks = tmp_path / FILE_NAME, degrees(POISON, 8)
    die_of_it(tasks, file)
    arrivals = run_serial(tasks, Terms(crash_log=CrashLog(file)), function=each(deadly))
    guilty, other = (ended for arrival in arrivals for _, ended in arrival)
    assert (guilty["state"], guilty["attempts"], other["state"]) == ("quarantined", MAX_DEATHS, "done")
    assert guilty["error"]["message"] == "its process died 3 times, alone with it: exit code 1"
    die_of_it(tasks, file)  # the next command tries again


def test_points_that_end_before_it_each_time_clear_themselves_only(tmp_path: Path, degrees: Degrees) -> None:
    file, tasks = tmp_path / FILE_NAME, degrees(8, POISON)
    die_of_it(tasks, file)
    assert [CrashLog(file).deaths(key) for key, _ in tasks] == [0, 1]
    assert dict(suspects(tmp_path)) == {tasks[1][0]: 1}
    assert states(run_serial(tasks, Terms(crash_log=CrashLog(file)), function=each(deadly))) == ["done", "quarantined"]
    assert dict(suspects(tmp_path)) == {}


def test_a_driver_that_is_killed_again_and_again_within_a_long_point_does_not_condemn_it(
    tmp_path: Path, degrees: Degrees
) -> None:
    file, tasks = tmp_path / FILE_NAME, degrees(8)
    for _ in range(2 * MAX_DEATHS):
        driver = os.fork()
        if driver == 0:
            list(run_serial(tasks, Terms(crash_log=CrashLog(file)), function=each(lambda point: time.sleep(600))))
            os._exit(0)
        time.sleep(0.3)
        os.kill(driver, signal.SIGKILL)
        os.waitpid(driver, 0)
    assert states(run_serial(tasks, Terms(crash_log=CrashLog(file)), function=each(lambda point: point))) == ["done"]


def test_a_machine_that_restarted_is_no_points_fault(
    tmp_path: Path, degrees: Degrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, tasks = tmp_path / FILE_NAME, degrees(POISON)
    die_of_it(tasks, file)
    assert CrashLog(file).deaths(tasks[0][0]) == 1
    monkeypatch.setattr(crash_log, "boot_id", lambda: "another")
    assert CrashLog(file).deaths(tasks[0][0]) == 0


def test_the_end_of_a_child_is_named(tmp_path: Path, degrees: Degrees) -> None:
    def killed(point: dict[str, Any]) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    ((_, checked),) = degrees(8)
    ended = run_isolated(each(killed), checked["point"], PointLimits())
    assert (ended["state"], ended["attempts"]) == ("quarantined", MAX_DEATHS)
    assert ended["error"]["message"].endswith("alone with it: killed by SIGKILL")


@pytest.mark.parametrize("trouble", [None, signal.SIGALRM])
def test_a_child_that_hangs_ends_at_the_deadline(
    degrees: Degrees, monkeypatch: pytest.MonkeyPatch, trouble: signal.Signals | None
) -> None:
    def hang(point: dict[str, Any]) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [trouble] if trouble else [])
        time.sleep(600)

    monkeypatch.setattr(isolated, "GRACE_S", 0.5)
    ((_, checked),) = degrees(8)
    ended = run_isolated(each(hang), checked["point"], PointLimits(deadline_s=0.5))
    assert (ended["state"], ended["error"]["message"]) == ("timeout", "it took longer than sweep.deadline_s=0.5")


def test_a_result_that_cannot_leave_the_child_is_its_points_failure(degrees: Degrees) -> None:
    ((_, checked),) = degrees(8)
    ended = run_isolated(each(lambda point: threading.Lock()), checked["point"], PointLimits())
    assert ended["state"] == "failed" and "lock" in ended["error"]["message"]


def test_the_log_has_room_for_what_runs_side_by_side() -> None:
    assert batches.MOST_POINTS <= crash_log.MOST_RUNNING


def test_what_ends_by_itself_leaves_nothing_behind(tmp_path: Path, degrees: Degrees) -> None:
    def interrupted(point: dict[str, Any]) -> dict[str, Any]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_serial(degrees(8), Terms(crash_log=CrashLog(tmp_path / FILE_NAME)), function=each(interrupted)))
    ((key, _),) = degrees(8)
    assert CrashLog(tmp_path / FILE_NAME).deaths(key) == 0


def test_auto_runs_a_suspect_apart_too(tmp_path: Path, degrees: Degrees) -> None:
    file, tasks = tmp_path / FILE_NAME, degrees(POISON, 8)
    die_of_it(tasks, file)
    assert sorted(states(run_auto(tasks, Terms(crash_log=CrashLog(file)), function=each(deadly)))) == [
        "done",
        "quarantined",
    ]


@pytest.mark.parametrize("content", ['["abc", {"abc": 2', '[["abc"], {"abc": 2}]', "7", '{"deaths": [1]}'])
def test_a_torn_file_accuses_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE_NAME).write_text(content)
    assert CrashLog(tmp_path / FILE_NAME).deaths("abc") == 0
