"""MLflow follows the journal while a sweep runs, and keeps no sweep from running or from ending."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
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
from thpsweep.sweep.tracking.tracker import Tracker

Degrees = Callable[..., list[Task]]
MakePlan = Callable[[Sequence[Task]], Plan]


class Fake:
    """Stand in for the tracker: do something when asked to catch up, and remember being asked."""

    def __init__(self, act: Callable[["Fake"], None] = lambda _: None) -> None:
        self.act, self.n_steps = act, 0
        self.asked: list[bool] = []

    def catch_up(self, *, final: bool) -> None:
        """Do it."""
        self.asked.append(final)
        self.act(self)


@pytest.fixture
def tracked(make_plan: MakePlan, degrees: Degrees, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Fake], Plan]]:
    """Plan two points whose runs are recorded by a fake, often."""

    def plan(fake: Fake) -> Plan:
        monkeypatch.setattr(follow, "_tracker", lambda *_: fake)
        monkeypatch.setattr(follow, "EVERY_S", 0.001)
        monkeypatch.setattr(follow, "SELDOM_S", 0.01)
        return dataclasses.replace(make_plan(degrees(1, 3)), tracked=True)

    yield plan


def nothing(_: journal.Sweep) -> None:
    """Finish without an answer."""


def test_sweep_goes_on_where_mlflow_cannot(tracked: Callable[[Fake], Plan], capsys: pytest.CaptureFixture[str]) -> None:
    def broken(_: Fake) -> None:
        raise OSError("no database\ntoday")

    plan = tracked(Fake(broken))
    assert drive(plan, serial, nothing).exit_code == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "MLflow" in line]
    assert len(said) == 2
    assert "OSError: no database today" in said[0] and f"thpsweep sync {plan.directory}" in said[1]


def test_mlflow_is_told_while_the_sweep_runs_and_once_at_the_end(tracked: Callable[[Fake], Plan]) -> None:
    during = threading.Event()
    fake = Fake(lambda _: during.set())

    def slow(tasks: Sequence[Task], terms: Terms) -> Generator[Arrival, None, None]:
        assert during.wait(10)
        yield from serial(tasks)

    drive(tracked(fake), slow, nothing)
    assert fake.asked[0] is False and fake.asked[-1] is True and fake.asked.count(True) == 1


def test_a_sweep_that_is_over_does_not_wait_for_an_mlflow_that_hangs(
    tracked: Callable[[Fake], Plan], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "STUCK_S", 0.3)
    released = threading.Event()
    plan = tracked(Fake(lambda _: bool(released.wait(60)) and None))
    began_s = time.monotonic()
    assert drive(plan, serial, nothing).exit_code == 0
    took_s = time.monotonic() - began_s
    released.set()
    assert took_s < 10
    assert f"thpsweep sync {plan.directory}" in capsys.readouterr().err


def test_it_waits_for_one_that_is_slow(
    tracked: Callable[[Fake], Plan], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "STUCK_S", 0.3)

    def slowly(fake: Fake) -> None:
        for _ in range(12 if fake.asked[-1] else 0):
            time.sleep(0.1)
            fake.n_steps += 1

    assert drive(tracked(Fake(slowly)), serial, nothing).exit_code == 0
    assert "sync" not in capsys.readouterr().err


def test_it_does_not_wait_for_ever_even_then(
    tracked: Callable[[Fake], Plan], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "PATIENCE_S", 0.5)
    ended = threading.Event()

    def endlessly(fake: Fake) -> None:
        while not ended.wait(0.01):
            fake.n_steps += 1

    drive(tracked(Fake(endlessly)), serial, nothing)
    ended.set()
    assert "thpsweep sync" in capsys.readouterr().err


def test_what_came_in_before_an_interruption_is_recorded_without_the_files(tracked: Callable[[Fake], Plan]) -> None:
    fake = Fake()

    def stopped(tasks: Sequence[Task], terms: Terms) -> Generator[Arrival, None, None]:
        yield [(tasks[0][0], outcome("done", result={}))]
        os.kill(os.getpid(), signal.SIGINT)
        assert terms.draining.is_set()

    assert drive(tracked(fake), stopped, nothing).exit_code == 130
    assert fake.asked and True not in fake.asked


def test_no_thread_is_started_where_nothing_is_tracked(
    make_plan: MakePlan, degrees: Degrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "_tracker", lambda *_: pytest.fail("not tracked"))
    before = threading.active_count()
    drive(
        make_plan(degrees(1)), serial, lambda _: None if threading.active_count() == before else pytest.fail("thread")
    )


def test_the_journal_is_read_on_from_where_it_was(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[int] = []
    whole = journal.records

    def noted(path: Path, start: int = 0) -> Iterator[tuple[int, journal.Record]]:
        starts.append(start)
        return whole(path, start)

    points = [a_point(index, degree=index + 1) for index in range(4)]
    directory = write(root, points)
    file = directory / journal.FILE_NAME
    tracker = Tracker(directory, at(root))
    tracker.catch_up(final=False)
    monkeypatch.setattr(journal, "records", noted)
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
