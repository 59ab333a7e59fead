"""MLflow follows the journal while a sweep runs, and keeps no sweep from running or from ending."""

import contextlib
import dataclasses
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

import pytest

from tests.sweep.journals import a_point, a_result, write
from tests.sweep.recorded import at, runs
from thpsweep.sweep import follow, journal
from thpsweep.sweep.attempt import outcome
from thpsweep.sweep.drive import drive
from thpsweep.sweep.plan import Plan
from thpsweep.sweep.serial import Arrival, Task, Terms, serial
from thpsweep.sweep.tracking import words
from thpsweep.sweep.tracking.following import EVERY_S, SELDOM_S, Following
from thpsweep.sweep.tracking.target import target
from thpsweep.sweep.tracking.tracker import Tracker

Degrees = Callable[..., list[Task]]
MakePlan = Callable[[Sequence[Task]], Plan]


@pytest.fixture
def tracked(make_plan: MakePlan, degrees: Degrees, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Plan]:
    """Plan two points whose runs are recorded by a process that runs some code instead of ours."""

    def plan(code: str) -> Plan:
        monkeypatch.setattr(follow, "command", lambda: [sys.executable, "-c", code])
        return dataclasses.replace(make_plan(degrees(1, 3)), tracked=True)

    return plan


WAITS = "import sys, time\nwords = iter(sys.stdin.readline, '')\norder = next(words)\n"


def nothing(_: journal.Sweep) -> None:
    """Finish without an answer."""


def test_sweep_goes_on_where_mlflow_cannot(tracked: Callable[[str], Plan], capfd: pytest.CaptureFixture[str]) -> None:
    plan = tracked(f"{WAITS}print('no database today', flush=True)\nnext(words)\nsys.exit(1)")
    assert drive(plan, serial, nothing).exit_code == 0
    said = [line for line in capfd.readouterr().err.splitlines() if "thpsweep:" in line]
    assert said[0] == "thpsweep: no database today" and f"thpsweep sync {plan.directory}" in said[1] and len(said) == 2


def test_sweep_goes_on_where_the_process_dies(
    tracked: Callable[[str], Plan], capfd: pytest.CaptureFixture[str]
) -> None:
    plan = tracked("import os\nos.kill(os.getpid(), 9)")
    assert drive(plan, serial, nothing).exit_code == 0
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

    drive(plan, serial, finish)
    order, *said = told.read_text().splitlines()
    assert words.Order.read(order) == words.Order(plan.directory, plan.target)
    assert said == ["ended", "final"]


def test_a_password_is_not_in_the_command_line(tracked: Callable[[str], Plan]) -> None:
    secret = dataclasses.replace(tracked("").target, uri="postgresql://me:secret@host/db")
    assert words.Order.read(words.Order(Path("x"), secret).written()).target == secret
    assert "secret" not in " ".join(follow.command())


def test_a_sweep_that_is_over_does_not_wait_for_an_mlflow_that_hangs(
    tracked: Callable[[str], Plan], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "STUCK_S", 0.3)
    plan = tracked(f"{WAITS}time.sleep(60)")
    began_s = time.monotonic()
    assert drive(plan, serial, nothing).exit_code == 0
    assert time.monotonic() - began_s < 10
    assert f"thpsweep sync {plan.directory}" in capfd.readouterr().err


def test_it_waits_for_one_that_is_slow(
    tracked: Callable[[str], Plan], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "STUCK_S", 1.5)
    plan = tracked(
        f"{WAITS}while next(words) != 'final\\n': pass\nfor _ in range(20): time.sleep(0.1); print(flush=True)"
    )
    assert drive(plan, serial, nothing).exit_code == 0
    assert "sync" not in capfd.readouterr().err


def test_it_does_not_wait_for_ever_even_then(
    tracked: Callable[[str], Plan], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "PATIENCE_S", 0.5)
    drive(tracked(f"{WAITS}while True: print(flush=True); time.sleep(0.01)"), serial, nothing)
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
    monkeypatch.setattr(follow, "command", lambda: pytest.fail("not tracked"))
    assert drive(make_plan(degrees(1)), serial, nothing).exit_code == 0


class Fake:
    """Stand in for the tracker: do something when asked to catch up, and remember what it was asked."""

    def __init__(self, act: Callable[["Fake"], None] = lambda _: None) -> None:
        self.act = act
        self.asked: list[tuple[bool, bool]] = []

    def catch_up(self, *, ended: bool, final: bool, is_idle: Callable[[], bool]) -> None:
        """Do it."""
        self.asked.append((ended, final))
        self.act(self)


class Script(words.Lines):
    """Say words to a follower, each after so many looks."""

    def __init__(self, *said: str | None) -> None:
        self.said, self.waited = list(said), list[float | None]()

    def next(self, timeout_s: float | None = None) -> str | None:
        """Give the next."""
        self.waited.append(timeout_s)
        return self.said.pop(0)


def followed(fake: Fake, *said: str | None) -> tuple[int, list[str], Script]:
    """Let our side of the process run through a script."""
    told: list[str] = []
    script = Script(*said)
    following = Following(target(Path(), None), lambda: fake, told.append, lambda: True)  # type: ignore[arg-type,return-value]
    return following.follow(script), told, script


def test_mlflow_is_told_while_the_sweep_runs_and_once_at_the_end() -> None:
    fake = Fake()
    code, told, script = followed(fake, None, None, words.ENDED, words.FINAL)
    assert (code, told) == (0, []) and script.waited == [0.0, EVERY_S, EVERY_S, EVERY_S]
    assert fake.asked == [(False, False), (False, False), (True, False), (True, True)]


def test_an_mlflow_that_fails_is_asked_less_and_less_and_spoken_of_once() -> None:
    def broken(_: Fake) -> None:
        raise OSError("no database\ntoday")

    code, told, script = followed(Fake(broken), *[None] * 7, words.OVER)
    assert code == 1 and script.waited == [0.0, EVERY_S, 4.0, 8.0, 16.0, 32.0, SELDOM_S, SELDOM_S]
    assert len(told) == 1 and "OSError: no database today" in told[0]


def test_what_failed_and_then_worked_is_in_step() -> None:
    def at_first(fake: Fake) -> None:
        if len(fake.asked) < 3:
            raise OSError("not yet")

    code, told, script = followed(Fake(at_first), None, None, None, words.OVER)
    assert code == 0 and len(told) == 1 and script.waited[-1] == EVERY_S


def test_it_ends_without_a_word_to_mlflow_when_the_driver_is_gone() -> None:
    fake = Fake()
    code, _, _ = followed(fake, None, words.GONE)
    assert code == 1 and len(fake.asked) == 1


def test_lines_come_whole_and_end() -> None:
    read, write_end = os.pipe()
    lines = words.Lines(read)
    assert lines.next(0.0) is None
    os.write(write_end, b"one\ntw")
    assert lines.next() == "one" and lines.next(0.01) is None
    os.write(write_end, b"o\nthree\n")
    os.close(write_end)
    assert [lines.next() for _ in range(3)] == ["two", "three", words.GONE]
    os.close(read)


def test_the_process_ends_with_its_driver(root: Path) -> None:
    directory = write(root, [a_point(0, degree=2)])
    process = subprocess.Popen(follow.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    process.stdin.write(words.Order(directory, at(root)).written() + "\n")
    process.stdin.flush()
    assert process.stdout.readline() == "\n"  # something was done
    for number in (signal.SIGINT, signal.SIGTERM):
        process.send_signal(number)
    time.sleep(0.1)
    assert process.poll() is None
    process.stdin.close()
    assert process.wait(30) == 1


def test_a_process_that_is_told_of_no_sweep_ends_without_a_word() -> None:
    process = follow.begin()
    assert process.stdin and process.stdout
    process.stdin.close()
    assert (process.stdout.read(), process.wait(30)) == ("", 1)


def test_a_process_that_was_begun_before_is_the_one_that_records(
    tracked: Callable[[str], Plan], tmp_path: Path
) -> None:
    plan = tracked(f"{WAITS}print('recorded by', __import__('os').getpid(), flush=True)\nsys.exit(0)")
    begun = follow.begin()
    with contextlib.redirect_stderr(io.StringIO()) as said:
        assert drive(plan, serial, nothing, begun).exit_code == 0
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


def test_the_journal_is_read_on_from_where_it_was(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[int] = []
    whole = journal.lines

    def noted(path: Path, start: int = 0) -> Iterator[tuple[bytes, int]]:
        starts.append(start)
        return whole(path, start)

    points = [a_point(index, degree=index + 1) for index in range(4)]
    directory = write(root, points)
    file = directory / journal.FILE_NAME
    tracker = Tracker(directory, at(root))
    tracker.catch_up(final=False)
    monkeypatch.setattr(journal, "lines", noted)
    for number, point in enumerate(points):
        before = file.stat().st_size
        write(root, [*points, *(a_result(earlier, {"cost/cpu_ms": 1.0}) for earlier in points[: number + 1])])
        starts.clear()
        assert tracker.catch_up(final=False).added == 1
        # From where it was, then the point's own two records.
        assert starts[0] == before and len(starts) == 3
        assert set(runs(root)[1]) == {earlier["id"] for earlier in points[: number + 1]}, point


def test_mlflow_that_comes_back_gets_what_came_in_meanwhile(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = [a_point(index, degree=index + 1) for index in range(2)]
    results = [a_result(point, {"cost/cpu_ms": 1.0}) for point in points]
    tracker = Tracker(write(root, [*points, results[0]]), at(root), bulk=False)
    with monkeypatch.context() as patch:

        def lost(*_: object, **__: object) -> None:
            raise ConnectionError("the answer got lost")

        patch.setattr("mlflow.MlflowClient.set_terminated", lost)
        with pytest.raises(ConnectionError):
            tracker.catch_up(final=False)
    write(root, [*points, *results])
    added = tracker.catch_up(final=False)
    assert (added.added, added.completed) == (1, 1)
    assert {run.info.status for run in runs(root)[1].values()} == {"FINISHED"} and len(runs(root)[1]) == 2


@pytest.mark.slow
def test_following_costs_less_than_50_kb_a_point_of_20_kb(root: Path) -> None:
    """Ten thousand took 5 KB each when this was written; fewer have the fixed part shared among fewer."""
    n_points = 2500
    values = [float(number) / 7 for number in range(1000)]
    points = [a_point(index, degree=index + 1) for index in range(n_points)]
    results = []
    for point in points:
        result = a_result(point, {"cost/cpu_ms": 1.0})
        results.append({**result, "result": {**result["result"], "replicates": {"cost/cpu_ms": values}}})
    directory = write(root, [*points, *results])
    assert (directory / journal.FILE_NAME).stat().st_size > n_points * 18_000
    code = (
        "import pathlib, resource, sys\n"
        "from thpsweep.sweep.tracking.target import target\n"
        "from thpsweep.sweep.tracking.tracker import Tracker\n"
        "def peak_kb(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "tracker = Tracker(pathlib.Path(sys.argv[1]), target(pathlib.Path(sys.argv[2]), None))\n"
        "before = peak_kb()\n"
        "print(tracker.catch_up(final=True).added, peak_kb() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(directory), str(root)], check=True, capture_output=True, text=True
    )
    added, grown_kb = map(int, done.stdout.split())
    assert added == n_points and grown_kb < 50 * n_points
