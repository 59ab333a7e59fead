"""MLflow follows the journal while a sweep runs, and keeps no sweep from running or from ending."""

import contextlib
import dataclasses
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import pytest

from thpsweep.sweep.driver import follower
from thpsweep.sweep.driver.drive import drive
from thpsweep.sweep.local.attempt import outcome
from thpsweep.sweep.local.launcher import Arrival, Task, Terms
from thpsweep.sweep.local.serial import run_serial
from thpsweep.sweep.planning.plan import Plan
from thpsweep.sweep.records import journal
from thpsweep.sweep.tracking import messages

Degrees = Callable[..., list[Task]]


MakePlan = Callable[[Sequence[Task]], Plan]


@pytest.fixture
def tracked(make_plan: MakePlan, degrees: Degrees, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Plan]:
    """Plan two points whose runs are recorded by a process that runs some code instead of ours."""

    def plan(code: str) -> Plan:
        monkeypatch.setattr(follower, "command", lambda: [sys.executable, "-c", code])
        return dataclasses.replace(make_plan(degrees(1, 3)), tracked=True)

    return plan


WAITS = "import sys, time\nwords = iter(sys.stdin.readline, '')\norder = next(words)\n"


def nothing(_: journal.Sweep) -> None:
    """Finish without an answer."""


def test_sweep_goes_on_where_mlflow_cannot(tracked: Callable[[str], Plan], capfd: pytest.CaptureFixture[str]) -> None:
    plan = tracked(f"{WAITS}print('no database today', flush=True)\nnext(words)\nsys.exit(1)")
    assert drive(plan, run_serial, nothing).exit_code == 0
    said = [line for line in capfd.readouterr().err.splitlines() if "thpsweep:" in line]
    assert said[0] == "thpsweep: no database today" and f"thpsweep sync {plan.directory}" in said[1] and len(said) == 2


def test_sweep_goes_on_where_the_process_dies(
    tracked: Callable[[str], Plan], capfd: pytest.CaptureFixture[str]
) -> None:
    plan = tracked("import os\nos.kill(os.getpid(), 9)")
    assert drive(plan, run_serial, nothing).exit_code == 0
    assert f"thpsweep sync {plan.directory}" in capfd.readouterr().err


def test_the_process_is_told_what_to_record_and_what_has_happened(
    tracked: Callable[[str], Plan], tmp_path: Path
) -> None:
    told = tmp_path / "told"
    hears = "  for word in words:\n    file.write(word)\n    if word == 'final\\n': break"
    plan = tracked(f"{WAITS}with open({str(told)!r}, 'w', buffering=1) as file:\n  file.write(order)\n{hears}")
    seen: list[str] = []

    def finish(_: journal.Sweep) -> None:
        while not seen or not seen[-1].endswith("ended\n"):
            seen.append(told.read_text() if told.exists() else "")

    drive(plan, run_serial, finish)
    order, *said = told.read_text().splitlines()
    assert messages.Order.decode(order) == messages.Order(plan.directory, plan.target)
    assert said == ["ended", "final"]


def test_a_password_is_not_in_the_command_line(tracked: Callable[[str], Plan]) -> None:
    secret = dataclasses.replace(tracked("").target, uri="postgresql://me:secret@host/db")
    assert messages.Order.decode(messages.Order(Path("x"), secret).encode()).target == secret
    assert "secret" not in " ".join(follower.command())


def test_a_sweep_that_is_over_does_not_wait_for_an_mlflow_that_hangs(
    tracked: Callable[[str], Plan], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "STUCK_S", 0.3)
    plan = tracked(f"{WAITS}time.sleep(60)")
    began_s = time.monotonic()
    assert drive(plan, run_serial, nothing).exit_code == 0
    assert time.monotonic() - began_s < 10
    assert f"thpsweep sync {plan.directory}" in capfd.readouterr().err


def test_it_waits_for_one_that_is_slow(
    tracked: Callable[[str], Plan], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "STUCK_S", 1.5)
    plan = tracked(
        f"{WAITS}while next(words) != 'final\\n': pass\nfor _ in range(20): time.sleep(0.1); print(flush=True)"
    )
    assert drive(plan, run_serial, nothing).exit_code == 0
    assert "sync" not in capfd.readouterr().err


def test_it_does_not_wait_for_ever_even_then(
    tracked: Callable[[str], Plan], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "PATIENCE_S", 0.5)
    drive(tracked(f"{WAITS}while True: print(flush=True); time.sleep(0.01)"), run_serial, nothing)
    assert "thpsweep sync" in capfd.readouterr().err


def test_what_came_in_before_an_interruption_is_recorded_without_the_files(
    tracked: Callable[[str], Plan], capfd: pytest.CaptureFixture[str]
) -> None:
    def stopped(tasks: Sequence[Task], terms: Terms) -> Generator[Arrival, None, None]:
        yield [(tasks[0][0], outcome("done", result={}))]
        os.kill(os.getpid(), signal.SIGINT)
        assert terms.draining.is_set()

    code = f"{WAITS}for word in words:\n  print(word, flush=True)\n  if word == 'over\\n': break"
    assert drive(tracked(code), stopped, nothing).exit_code == 130
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("thpsweep: ")]
    assert "thpsweep: over" in said and "thpsweep: final" not in said and "thpsweep: ended" not in said


def test_told_to_stop_at_once_it_does_not_wait_for_mlflow(
    tracked: Callable[[str], Plan], capfd: pytest.CaptureFixture[str]
) -> None:
    def stopped(tasks: Sequence[Task], terms: Terms) -> Generator[Arrival, None, None]:
        yield [(tasks[0][0], outcome("done", result={}))]
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    plan = tracked(f"{WAITS}time.sleep(60)")
    began_s = time.monotonic()
    assert drive(plan, stopped, nothing).exit_code == 130
    assert time.monotonic() - began_s < 10
    assert f"thpsweep sync {plan.directory}" in capfd.readouterr().err


def test_no_process_is_started_where_nothing_is_tracked(
    make_plan: MakePlan, degrees: Degrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "command", lambda: pytest.fail("not tracked"))
    assert drive(make_plan(degrees(1)), run_serial, nothing).exit_code == 0


def test_a_process_that_was_begun_before_is_the_one_that_records(
    tracked: Callable[[str], Plan], tmp_path: Path
) -> None:
    plan = tracked(f"{WAITS}print('recorded by', __import__('os').getpid(), flush=True)\nsys.exit(0)")
    begun = follower.begin()
    with contextlib.redirect_stderr(io.StringIO()) as said:
        assert drive(plan, run_serial, nothing, begun).exit_code == 0
    assert f"thpsweep: recorded by {begun.pid}\n" in said.getvalue() and begun.returncode is not None


def test_a_command_without_a_plan_leaves_no_process(tmp_path: Path) -> None:
    mark = f"THPSWEEP_TEST={tmp_path}"
    with (tmp_path / "said").open("w") as said:
        command = [sys.executable, "-m", "thpsweep", "sweep", "sharing.degree=0,2"]
        ended = subprocess.run(
            command, cwd=tmp_path, env=os.environ | dict([mark.split("=")]), stderr=said, check=False
        )
    assert ended.returncode == 2 and "sharing.degree=0" in (tmp_path / "said").read_text()
    assert [file.parent.name for file in Path("/proc").glob("[0-9]*/environ") if mark in text_of(file)] == []


def text_of(file: Path) -> str:
    """Read a file that may be gone or nobody's business."""
    with contextlib.suppress(OSError):
        return file.read_bytes().decode(errors="replace")
    return ""
