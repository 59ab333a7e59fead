"""Does the sweep's own run hold what a person needs to understand and repeat it, each file once?"""

import json
import math
from pathlib import Path

import pandas
import pytest

from tests.sweep.journals import a_failure, a_point, a_result, with_series, write
from tests.sweep.recorded import at, client_of, runs
from thpsweep.sweep.tracking import tables
from thpsweep.sweep.tracking.tracker import track

TABLES = ["metrics.parquet", "replicates.parquet", "series.parquet"]


def artefact(root, name):
    """Fetch a file of the sweep's run."""
    return Path(client_of(root).download_artifacts(runs(root)[0].info.run_id, name))


def test_files_of_the_sweep_come_at_the_end_and_again_when_changed(root):
    point = a_point(0)
    directory = write(root, [point, a_result(point, {"cost/cpu_ms": 1.0})])
    (directory / "frontier.png").write_bytes(b"one")
    (directory / "journal.lock").write_text("not an artefact")
    track(directory, target=at(root), final=False)
    run_id = runs(root)[0].info.run_id
    assert [file.path for file in client_of(root).list_artifacts(run_id)] == ["plan.parquet"]
    track(directory, target=at(root))
    held = [file.path for file in client_of(root).list_artifacts(run_id)]
    assert held == sorted(["frontier.png", "journal.jsonl", "plan.parquet", *TABLES])
    (directory / "frontier.png").write_bytes(b"two")
    track(directory, target=at(root))
    assert artefact(root, "frontier.png").read_bytes() == b"two"


def test_the_plan_has_every_point_with_its_choices_and_all_of_it(root, monkeypatch):
    monkeypatch.setattr(tables, "AT_ONCE", 2)
    points = [a_point(index, degree=index + 1, note=[index]) for index in range(5)]
    track(write(root, points), target=at(root), final=False)
    plan = pandas.read_parquet(artefact(root, "plan.parquet"))
    assert plan["point"].tolist() == [point["id"] for point in points]
    assert plan["sharing.degree"].tolist() == [1, 2, 3, 4, 5]
    assert plan["note"].tolist() == ["[0]", "[1]", "[2]", "[3]", "[4]"]
    assert [json.loads(text) for text in plan["json"]] == [point["point"] for point in points]


def test_the_tables_have_every_value_of_the_journal_and_failures_none(root, monkeypatch):
    monkeypatch.setattr(tables, "AT_ONCE", 2)
    points = [a_point(index, degree=index + 1) for index in range(4)]
    results = [
        with_series(a_result(p, {"cost/cpu_ms": 1.5, "tradeoff/payback_s": math.inf}), [1.0, 2.0]) for p in points
    ]
    for number, result in enumerate(results):
        result["result"] |= {"replicates": {"cost/cpu_ms": [number, 2.0]}, "units": {"cost/cpu_ms": "ms"}}
    track(write(root, [*points, *results[:3], a_failure(points[3])]), target=at(root))
    metrics, replicates, series = (pandas.read_parquet(artefact(root, name)) for name in TABLES)
    assert (
        metrics[metrics["metric"] == "cost/cpu_ms"].drop(columns=["point", "metric"]).values.tolist()
        == [["ms", 1.5, 0.5, 2.5]] * 3
    )
    assert metrics[metrics["metric"] == "tradeoff/payback_s"]["mean"].tolist() == [math.inf] * 3
    assert replicates["value"].tolist() == [0.0, 2.0, 1.0, 2.0, 2.0, 2.0]
    one = series[(series["point"] == points[1]["id"]) & (series["series"] == "series/lru_entries")]
    expected = results[1]["result"]["series"]["series/lru_entries"]
    assert (one["time_s"].tolist(), one["value"].tolist()) == ([1.0, 2.0], expected["mean"])
    assert set(metrics["point"]) == {point["id"] for point in points[:3]}


def test_tables_follow_a_journal_that_goes_on(root):
    points = [a_point(0), a_point(1, "copy")]
    first, second = (a_result(point, {"cost/cpu_ms": 1.0}) for point in points)
    track(write(root, [*points, first]), target=at(root))
    track(write(root, [*points, first, second]), target=at(root))
    assert len(pandas.read_parquet(artefact(root, "metrics.parquet"))) == 2


@pytest.mark.parametrize(("values", "kind"), [([1, None], "int64"), ([1, 2.5], "double"), ([1, "a"], "string")])
def test_numbers_stay_numbers_in_the_plan(values, kind):
    assert str(tables._column(values).type) == kind


def test_an_integer_beyond_64_bits_is_text():
    assert tables._column([2**70]).to_pylist() == [str(2**70)]
