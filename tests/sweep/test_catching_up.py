"""A tracker reads a journal on from where it was, and holds little of it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sweep.journals import a_point, a_result, write
from tests.sweep.recorded import at, runs
from thpsweep.sweep.records import journal
from thpsweep.sweep.tracking.tracker import Tracker


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
