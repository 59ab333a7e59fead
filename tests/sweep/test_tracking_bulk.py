"""Is what goes into MLflow's tables in bulk the same, field by field, as what its public API writes?"""

import shutil
import sqlite3

import pytest
import sqlalchemy
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from tests.sweep.journals import a_point, a_result, write
from tests.sweep.readback import everything, whatever_may_come
from tests.sweep.recorded import at, client_of, runs
from thpsweep.sweep.records import environment
from thpsweep.sweep.tracking import bulk
from thpsweep.sweep.tracking.tracker import track


@pytest.fixture
def two_ways(tmp_path, migrated):
    """Record one journal, with everything that may stand in one, in bulk and through the public API."""
    records = whatever_may_come()
    told_of = []
    for way in ("bulk", "single"):
        root = tmp_path / way
        root.mkdir()
        shutil.copy(migrated, root / "mlflow.db")
        directory = write(root, records)
        (directory / environment.FILE_NAME).write_text('{"user": "ada", "commit": "c0ffee"}\n')
        track(directory, target=at(root), bulk=way == "bulk")
        told_of.append(everything(client_of(root)))
    return told_of


@pytest.mark.parametrize("part", ["experiment", "runs", "orders", "filters", "deleted"])
def test_both_ways_read_back_the_same(two_ways, part):
    in_bulk, one_by_one = two_ways
    assert in_bulk[part] == one_by_one[part]


def test_what_is_compared_is_not_empty(two_ways):
    found = two_ways[0]
    assert len(found["runs"]) == 6 and all(found["filters"]) and {len(order) for order in found["orders"]} == {6}
    assert len(found["runs"][2]["histories"]["series/lru_entries"]) == 2


def test_another_column_in_mlflows_tables_leads_to_the_public_api_with_one_warning(root, monkeypatch, capsys):
    monkeypatch.setitem(bulk.COLUMNS, "runs", bulk.COLUMNS["runs"] - {"deleted_time"})
    points = [a_point(index, degree=index + 1) for index in range(3)]
    directory = write(root, [*points, *(a_result(point, {"cost/cpu_ms": 1.0}) for point in points)])
    track(directory, target=at(root))
    assert set(runs(root)[1]) == {point["id"] for point in points}
    said = capsys.readouterr().err
    assert said.count("one by one") == 1 and "columns of runs" in said


def test_rows_that_the_database_refuses_go_through_the_public_api_with_one_warning(root, monkeypatch, capsys):
    refused = bulk._run_row

    def strange(*arguments):
        return {**refused(*arguments), "status": "MOSTLY_DONE"}  # breaks a constraint of the table

    monkeypatch.setattr(bulk, "_run_row", strange)
    points = [a_point(index, degree=index + 1) for index in range(3)]
    directory = write(root, [*points, *(a_result(point, {"cost/cpu_ms": 1.0}) for point in points)])
    track(directory, target=at(root))
    assert {run.info.status for run in runs(root)[1].values()} == {"FINISHED"}
    assert len(runs(root)[1]) == 3
    assert capsys.readouterr().err.count("one by one") == 1


def test_a_locked_database_is_no_reason_to_go_slow(root, monkeypatch, capsys):
    points = [a_point(0)]
    directory = write(root, [*points, a_result(points[0], {"cost/cpu_ms": 1.0})])
    track(write(root, points), target=at(root))
    monkeypatch.setattr(bulk, "_rows", lambda *_: (_ for _ in ()).throw(locked()))
    write(root, [*points, a_result(points[0], {"cost/cpu_ms": 1.0})])
    with pytest.raises(MlflowException, match="locked"):
        track(directory, target=at(root))
    assert "one by one" not in capsys.readouterr().err


def locked():
    return sqlalchemy.exc.OperationalError("INSERT", {}, sqlite3.OperationalError("database is locked"))


def test_a_transaction_that_breaks_off_leaves_nothing(root, monkeypatch):
    points = [a_point(index, degree=index + 1) for index in range(3)]
    directory = write(root, [*points, *(a_result(point, {"cost/cpu_ms": 1.0}) for point in points)])

    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bulk.TrackedRun, "latest", stopped)
        with pytest.raises(KeyboardInterrupt):
            track(directory, target=at(root))
    assert runs(root)[1] == {}
    track(directory, target=at(root))
    assert len(runs(root)[1]) == 3


def test_the_number_of_points_costs_no_call_of_the_public_api(tmp_path, migrated, monkeypatch):
    calls = []
    monkeypatch.setattr(MlflowClient, "create_run", counted(MlflowClient.create_run, calls))
    for n_points in (2, 40):
        root = tmp_path / str(n_points)
        root.mkdir()
        shutil.copy(migrated, root / "mlflow.db")
        points = [a_point(index, degree=index + 1) for index in range(n_points)]
        track(write(root, [*points, *(a_result(p, {"cost/cpu_ms": 1.0}) for p in points)]), target=at(root))
        assert len(runs(root)[1]) == n_points
    assert len(calls) == 2  # the sweep's own run of each


def counted(function, calls):
    def call(*arguments, **options):
        calls.append(arguments)
        return function(*arguments, **options)

    return call
