"""Is what goes into MLflow's tables in bulk the same, field by field, as what its public API writes?"""

import math
import shutil
import sqlite3

import pytest
import sqlalchemy
from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException

from tests.sweep.journals import a_failure, a_point, a_result, with_series, write
from tests.sweep.recorded import at, client_of, runs
from thpsweep.sweep import environment
from thpsweep.sweep.tracking import bulk
from thpsweep.sweep.tracking.tracker import track

OWN = {"run_id", "run_uuid", "artifact_uri"}
"""What holds a run's id, which differs."""

INFO = ["run_name", "experiment_id", "user_id", "status", "start_time", "end_time", "lifecycle_stage"]
ORDERS = [
    ["metrics.`cost/cpu_ms` DESC"],
    ["params.`sharing.degree`"],
    ["attributes.start_time"],
    ["tags.`mlflow.runName`"],
]
FILTERS = [
    "metrics.`cost/cpu_ms` > 2",
    "params.policy = 'copy'",
    "tags.payback = 'never'",
    "attributes.status = 'FAILED'",
    "attributes.run_name LIKE '%x0003%'",
    "attributes.user_id = 'ada'",
]


def everything(root):
    """Read back all that MlflowClient tells of an experiment; ids of runs are left out, or cut out of what holds them."""
    client = client_of(root)
    experiment = client.get_experiment_by_name("seed_debate")
    parent, children = runs(root)
    every = [parent, *(children[key] for key in sorted(children))]
    names = {run.info.run_id: run.info.run_name for run in every}
    return {
        "experiment": (
            experiment.tags,
            experiment.lifecycle_stage,
            experiment.artifact_location == f"file://{root}/artifacts",
        ),
        "runs": [told(client, client.get_run(run.info.run_id), names, root) for run in every],
        "orders": [[names[run.info.run_id] for run in searched(client, experiment, "", order)] for order in ORDERS],
        "filters": [sorted(names[run.info.run_id] for run in searched(client, experiment, text)) for text in FILTERS],
        "deleted": len(client.search_runs([experiment.experiment_id], run_view_type=ViewType.DELETED_ONLY)),
    }


def searched(client, experiment, text, order=None):
    return client.search_runs([experiment.experiment_id], text, max_results=100, order_by=order)


def told(client, run, names, root):
    """Give all of a run: info, params, tags, metrics and their history, inputs and outputs."""
    info = {name: getattr(run.info, name) for name in INFO}
    unknown = set(dict(run.info)) - set(INFO) - OWN
    tags = {key: names.get(value, value) for key, value in run.data.tags.items() if key != "thpsweep.files"}
    histories = {
        key: sorted((m.step, m.timestamp, m.value, m.key) for m in client.get_metric_history(run.info.run_id, key))
        for key in run.data.metrics
    }
    return {
        "info": info,
        "other info": {name: getattr(run.info, name) for name in unknown},
        "artefacts": run.info.artifact_uri.replace(run.info.run_id, "ID").replace(str(root), "ROOT"),
        "params": run.data.params,
        "tags": tags,
        "metrics": run.data.metrics,
        "histories": histories,
        "inputs": (run.inputs.dataset_inputs, run.outputs and run.outputs.model_outputs),
    }


@pytest.fixture
def two_ways(tmp_path, migrated):
    """Record one journal, with everything that may stand in one, in bulk and through the public API."""
    points = [a_point(index, policy, index + 1, note=text) for index, (policy, text) in enumerate(PAIRS)]
    results = [
        a_result(points[0], {"cost/cpu_ms": 1.0, "tradeoff/payback_s": math.inf, "tradeoff/net_cpu_ms": -3.5}, 1),
        with_series(a_result(points[1], {"cost/cpu_ms": 4.0, "tradeoff/payback_s": 3.0}, 2), [0.5, 1.0, 61.0]),
        a_failure(points[2], 3),
        {**a_failure(points[3], 4), "state": "timeout"},
        with_series(a_result(points[4], {"cost/cpu_ms": 2.0, "tradeoff/payback_s": math.nan}, 5), [1.0] * 3),
    ]
    told_of = []
    for way in ("bulk", "single"):
        root = tmp_path / way
        root.mkdir()
        shutil.copy(migrated, root / "mlflow.db")
        directory = write(root, [*points, *results])
        (directory / environment.FILE_NAME).write_text('{"user": "ada", "commit": "c0ffee"}\n')
        track(directory, target=at(root), bulk=way == "bulk")
        told_of.append(everything(root))
    return told_of


PAIRS = [("copy", "plain"), ("inplace", "naïve ✓"), ("switch", "quote ' \" %"), ("copy", "l" * 9000), ("none", "")]


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
        patch.setattr(bulk.Run, "latest", stopped)
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
