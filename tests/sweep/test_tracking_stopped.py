"""Whoever is stopped while writing runs through MLflow's public API leaves a part; is it completed, and not doubled?"""

import pytest
from mlflow import MlflowClient

from tests.sweep.journals import a_point, a_result, with_series, write
from tests.sweep.recorded import at, client_of, history, runs
from thpsweep.sweep.records import run_series
from thpsweep.sweep.tracking.tracker import track


def test_a_run_that_was_left_half_written_is_completed(root, monkeypatch):
    point = a_point(0)
    directory = write(root, [point, a_result(point, {"cost/pte_updates": 5.0})])
    with monkeypatch.context() as patch:

        def killed(*_, **__):
            raise KeyboardInterrupt

        patch.setattr(MlflowClient, "set_terminated", killed)
        with pytest.raises(KeyboardInterrupt):
            track(directory, target=at(root), bulk=False)
    half = runs(root)[1][point["id"]]
    track(directory, target=at(root))
    whole = runs(root)[1][point["id"]]
    assert (half.info.status, whole.info.status) == ("RUNNING", "FINISHED")
    assert half.info.run_id == whole.info.run_id
    assert len(client_of(root).get_metric_history(whole.info.run_id, "cost/pte_updates")) == 1


def test_a_series_is_not_doubled_by_writing_it_again(root, monkeypatch):
    point = a_point(0)
    result = with_series(a_result(point, {"cost/cpu_ms": 1.0}), [60.0 * step for step in range(1, 61)])
    directory = write(root, [point, result])
    with monkeypatch.context() as patch:

        def killed(*_, **__):
            raise KeyboardInterrupt

        patch.setattr(MlflowClient, "set_terminated", killed)
        with pytest.raises(KeyboardInterrupt):
            track(directory, target=at(root), bulk=False)
    half = history(root, point, "series/memory_bytes")
    track(directory, target=at(root))
    assert history(root, point, "series/memory_bytes") == half
    assert [step for step, _, _ in half] == [120 * step for step in range(1, 31)]


def test_a_series_written_in_part_is_completed(root, monkeypatch):
    point = a_point(0)
    result = with_series(a_result(point, {"cost/cpu_ms": 1.0}), [60.0, 120.0, 180.0])
    directory = write(root, [point, result])
    log_batch = MlflowClient.log_batch

    def part(client, run_id, metrics, **_):
        log_batch(client, run_id, metrics=metrics[: len(metrics) // 2])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", part)
        with pytest.raises(KeyboardInterrupt):
            track(directory, target=at(root), bulk=False)
    track(directory, target=at(root))
    for name in run_series.SERIES:
        assert [value for _, value, _ in history(root, point, name)] == result["result"]["series"][name]["mean"]
