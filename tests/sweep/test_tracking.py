"""Does MLflow say what the journal says: all of it, once, whatever happened in between?"""

import concurrent.futures
import json
import math
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from thpsweep.errors import SweepError
from thpsweep.model.series import UNITS
from thpsweep.sweep import run_record, run_series, tracking

SWEEP_ID = "5" * 64


def a_point(index, policy="inplace", degree=195, **extra_params):
    point = {
        "workload": {"kind": "prefork", "regions": 2},
        "sharing": {"kind": "fixed", "degree": degree},
        "policy": {"name": policy, "mechanism": {"kind": policy}, "trigger": {"kind": "madvise", "at_s": [1.0]}},
        "machine": {"kind": "profile", "name": "x86_64"},
        "run": {"seed": 7, "replicates": 3, "duration_s": 60.0, "tick_s": 0.1},
    }
    params = {"policy": policy, "workload": "prefork", "sharing.degree": degree, **extra_params}
    return {"type": "point", "id": f"{index:064x}", "index": index, "params": params, "point": point}


def a_result(point, metrics, second=0, outcomes=None, facts=None):
    value = {
        "metrics": {name: {"mean": mean, "low": mean - 1, "high": mean + 1} for name, mean in metrics.items()},
        "replicates": {},
        "outcomes": outcomes or {"SUCCEED": 6},
        "facts": facts or {},
        "units": {},
    }
    return {
        "type": "result",
        "id": point["id"],
        "state": "done",
        "result": value,
        "error": None,
        "host": "node7",
        "wall_s": 0.25,
        "attempts": 1,
        "finished": f"2026-01-02T03:04:{second:02d}.500000+00:00",
    }


def a_failure(point, second=0):
    error = {"type": "ValueError", "message": "no\nroom", "traceback": "Traceback ...\nValueError: no room"}
    return {**a_result(point, {}, second), "state": "failed", "result": None, "error": error}


def with_series(result, time_s):
    """Add a course to a result: each series counts its steps from a number of its own."""
    found = {name: [1000.0 * number + step / 7 for step in range(len(time_s))] for number, name in enumerate(UNITS)}
    series = {name: {"mean": values, "baseline": values} for name, values in found.items()}
    return {**result, "result": {**result["result"], "series": {"time_s": time_s, **series}}}


def history(root, point, name):
    """List what MLflow has of a series, as (step, value, timestamp) in the order of the steps."""
    client = client_of(root)
    found = client.get_metric_history(runs(root)[1][point["id"]].info.run_id, name)
    return sorted((metric.step, metric.value, metric.timestamp) for metric in found)


def write(root, records, name="seed_debate", sweep_id=SWEEP_ID):
    directory = root / f"{name}-{sweep_id[:12]}"
    directory.mkdir(exist_ok=True)
    header = {
        "type": "sweep",
        "format": 1,
        "sweep": sweep_id,
        "name": name,
        "thpsweep": "0.1.0",
        "model": "m1",
        "created": "2026-01-02T03:00:00+00:00",
        "overrides": ["policy=copy,inplace", "note=a b"],
        "n_points": sum(record["type"] == "point" for record in records),
    }
    lines = [json.dumps(record) for record in [header, *records]]
    (directory / "journal.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return directory


def dump(root):
    with sqlite3.connect(root / "mlflow.db") as connection:
        return list(connection.iterdump())


def client_of(root):
    return MlflowClient(tracking_uri=tracking.database_uri(root))


def runs(root, experiment="seed_debate"):
    """Give the sweep's run and the points' runs by the point's id."""
    client = client_of(root)
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id], max_results=1000)
    parents = [run for run in found if "thpsweep.sweep" in run.data.tags]
    children = {run.data.tags["thpsweep.point"]: run for run in found if "thpsweep.point" in run.data.tags}
    assert len(parents) + len(children) == len(found)
    assert len(parents) == 1
    return parents[0], children


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    root = tmp_path_factory.mktemp("migrated")
    tracking._create_database(root)
    return root / "mlflow.db"


@pytest.fixture
def root(tmp_path, migrated):
    shutil.copy(migrated, tmp_path / "mlflow.db")
    return tmp_path


def test_a_point_reads_back_as_the_journal_has_it(root):
    point = a_point(0, regions_per_worker=4)
    metrics = {"cost/pte_updates": 199_680.0, "benefit/lru_entries_removed": 511.0, "tradeoff/net_cpu_ms": -12.5}
    result = a_result(point, metrics, outcomes={"PAGE_COUNT": 1, "SUCCEED": 5}, facts={"note": "scaled", "n": 2})
    tracking.track(write(root, [point, result]), root=root)
    parent, children = runs(root)
    run = children[point["id"]]
    assert run.data.metrics == {
        **metrics,
        "cost/pte_updates_low": 199_679.0,
        "cost/pte_updates_high": 199_681.0,
        "tradeoff/net_cpu_ms_low": -13.5,
        "tradeoff/net_cpu_ms_high": -11.5,
    }
    assert run.data.params == {
        "policy": "inplace",
        "mechanism": "inplace",
        "trigger": "madvise",
        "workload": "prefork",
        "sharing": "fixed",
        "sharing.degree": "195",
        "machine": "x86_64",
        "run.replicates": "3",
        "run.seed": "7",
        "regions_per_worker": "4",
    }
    assert run.info.status == "FINISHED"
    assert run.info.end_time - run.info.start_time == 250
    assert run.info.end_time == 1_767_323_040_500
    tags = run.data.tags
    assert tags["mlflow.runName"] == run.info.run_name == "inplace x0195 prefork regions_per_worker=4"
    assert tags["mlflow.parentRunId"] == parent.info.run_id
    assert tags["mlflow.note.content"] == "scaled"
    assert tags["thpsweep.outcomes"] == "SUCCEED=5 PAGE_COUNT=1"
    assert (tags["thpsweep.host"], tags["thpsweep.model"], tags["thpsweep.version"]) == ("node7", "m1", "0.1.0")
    assert tags["mlflow.user"]
    assert "mlflow.source.name" in tags


def test_the_resolved_point_is_an_artefact(root):
    point = a_point(0)
    tracking.track(write(root, [point, a_result(point, {"cost/cpu_ms": 1.0})]), root=root)
    run = runs(root)[1][point["id"]]
    file = client_of(root).download_artifacts(run.info.run_id, "point.json")
    assert json.loads(Path(file).read_text()) == point["point"]
    assert Path(run.info.artifact_uri.removeprefix("file://")).is_relative_to(root / "artifacts")


def test_the_sweep_is_the_parent_and_says_how_to_repeat_it(root):
    points = [a_point(0), a_point(1, "copy")]
    directory = write(root, [*points, a_result(points[0], {"cost/cpu_ms": 1.0}, 1), a_failure(points[1], 9)])
    tracking.track(directory, root=root)
    parent, _ = runs(root)
    assert parent.data.tags["thpsweep.sweep"] == SWEEP_ID
    assert "thpsweep sweep policy=copy,inplace 'note=a b'" in parent.data.tags["mlflow.note.content"]
    assert parent.data.metrics == {"sweep/points": 2, "sweep/done": 1, "sweep/failed": 1}
    assert (parent.info.status, parent.info.end_time) == ("FAILED", 1_767_323_049_500)


def test_the_experiment_opens_on_runs_and_keeps_artefacts_below_root(root):
    tracking.track(write(root, [a_point(0)]), root=root)
    experiment = client_of(root).get_experiment_by_name("seed_debate")
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    assert experiment.tags["mlflow.experiment.primaryMetric.name"] == "tradeoff/net_cpu_ms"
    assert experiment.artifact_location == (root / "artifacts").as_uri()


def test_tracking_twice_changes_nothing(root):
    points = [a_point(0), a_point(1, "copy"), a_point(2, "switch")]
    done = a_result(points[0], {"cost/cpu_ms": 1.0, "tradeoff/payback_s": math.inf})
    directory = write(root, [*points, done, a_failure(points[1])])
    (directory / "table.txt").write_text("a table")
    tracking.track(directory, root=root)
    before = dump(root)
    tracking.track(directory, root=root)
    assert dump(root) == before


def test_a_resumed_sweep_adds_only_what_is_new(root):
    points = [a_point(index, degree=index + 1) for index in range(3)]
    results = [a_result(point, {"cost/pte_updates": 5.0}, index) for index, point in enumerate(points)]
    tracking.track(write(root, [*points, *results[:2]]), root=root, final=False)
    parent, before = runs(root)
    assert parent.info.status == "RUNNING"
    tracking.track(write(root, [*points, *results]), root=root)
    finished, after = runs(root)
    assert set(after) - set(before) == {points[2]["id"]}
    assert {key: after[key].info.run_id for key in before} == {key: run.info.run_id for key, run in before.items()}
    assert (finished.info.run_id, finished.info.status) == (parent.info.run_id, "FINISHED")
    assert finished.data.metrics["sweep/done"] == 3


def test_a_run_that_was_left_half_written_is_completed(root, monkeypatch):
    point = a_point(0)
    directory = write(root, [point, a_result(point, {"cost/pte_updates": 5.0})])
    with monkeypatch.context() as patch:

        def killed(*_, **__):
            raise KeyboardInterrupt

        patch.setattr(MlflowClient, "log_text", killed)
        with pytest.raises(KeyboardInterrupt):
            tracking.track(directory, root=root)
    half = runs(root)[1][point["id"]]
    tracking.track(directory, root=root)
    whole = runs(root)[1][point["id"]]
    assert (half.info.status, whole.info.status) == ("RUNNING", "FINISHED")
    assert half.info.run_id == whole.info.run_id
    assert len(client_of(root).get_metric_history(whole.info.run_id, "cost/pte_updates")) == 1


def test_a_series_reads_back_step_by_step_in_simulated_seconds(root):
    point = a_point(0)
    result = with_series(a_result(point, {"cost/cpu_ms": 1.0}), [0.5, 1.0, 1.5, 60.0, 125.0])
    tracking.track(write(root, [point, result]), root=root)
    for name in run_series.SERIES:
        value = result["result"]["series"][name]["mean"]
        begun_ms = 1_767_323_040_250
        assert history(root, point, name) == [
            (1, value[1], begun_ms + 2),
            (2, value[2], begun_ms + 3),
            (60, value[3], begun_ms + 120),
            (125, value[4], begun_ms + 250),
        ]
    shown = runs(root)[1][point["id"]].data.metrics
    assert {name for name in shown if name.startswith("series/")} == set(run_series.SERIES)
    assert all(shown[name] == result["result"]["series"][name]["mean"][-1] for name in run_series.SERIES)


@pytest.mark.parametrize("n_steps", [1, 49, 50, 51, 200])
def test_a_series_in_mlflow_has_at_most_50_steps_and_the_last(n_steps):
    result = with_series(a_result(a_point(0), {}), [60.0 * (step + 1) for step in range(n_steps)])
    chosen = [step for step in run_series.values(result, 0, 1000) if step.name == "series/lru_entries"]
    assert len(chosen) <= 50
    assert (chosen[-1].step, chosen[-1].time_ms) == (60 * n_steps, 1000)
    assert chosen[-1].value == result["result"]["series"]["series/lru_entries"]["mean"][-1]


def test_a_tick_that_floats_cannot_add_up_stays_in_its_second():
    result = with_series(a_result(a_point(0), {}), [tick * 0.1 for tick in range(1, 71)])
    assert [step.step for step in run_series.values(result, 0, 1000)[:7]] == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("stopped_at", ["log_text", "set_terminated"])
def test_a_series_is_not_doubled_by_writing_it_again(root, monkeypatch, stopped_at):
    point = a_point(0)
    result = with_series(a_result(point, {"cost/cpu_ms": 1.0}), [60.0 * step for step in range(1, 61)])
    directory = write(root, [point, result])
    with monkeypatch.context() as patch:

        def killed(*_, **__):
            raise KeyboardInterrupt

        patch.setattr(MlflowClient, stopped_at, killed)
        with pytest.raises(KeyboardInterrupt):
            tracking.track(directory, root=root)
    half = history(root, point, "series/memory_bytes")
    tracking.track(directory, root=root)
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
            tracking.track(directory, root=root)
    tracking.track(directory, root=root)
    for name in run_series.SERIES:
        assert [value for _, value, _ in history(root, point, name)] == result["result"]["series"][name]["mean"]


def test_two_at_once_on_a_new_root_make_one_database_and_one_run_each(tmp_path):
    points = [a_point(index, degree=index + 1) for index in range(5)]
    directory = write(tmp_path, [*points, *(a_result(point, {"cost/cpu_ms": 1.0}) for point in points)])
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(tracking.track, directory, root=tmp_path) for _ in range(2)]:
            future.result()
    client = client_of(tmp_path)
    found = client.search_runs([client.get_experiment_by_name("seed_debate").experiment_id])
    assert len(found) == 1 + len(points)


def test_a_failed_point_says_why(root):
    point = a_point(0)
    tracking.track(write(root, [point, a_failure(point)]), root=root)
    run = runs(root)[1][point["id"]]
    assert run.info.status == "FAILED"
    assert run.data.tags["thpsweep.error"] == "ValueError: no room"
    assert "Traceback" in run.data.tags["mlflow.note.content"]
    assert run.data.metrics == {}


def test_a_point_that_failed_and_then_succeeded_has_one_run(root):
    point = a_point(0)
    tracking.track(write(root, [point, a_failure(point, 1)]), root=root)
    tracking.track(write(root, [point, a_failure(point, 1), a_result(point, {"cost/cpu_ms": 2.0}, 5)]), root=root)
    parent, children = runs(root)
    assert children[point["id"]].data.metrics == {"cost/cpu_ms": 2.0}
    assert (parent.info.status, parent.data.metrics["sweep/failed"]) == ("FINISHED", 0)


@pytest.mark.parametrize(
    ("payback_s", "said"), [(math.inf, "never"), (math.nan, "undefined"), (3.5, "pays back")], ids=str
)
def test_payback_that_is_no_number_is_a_word(root, payback_s, said):
    point = a_point(0)
    tracking.track(write(root, [point, a_result(point, {"tradeoff/payback_s": payback_s})]), root=root)
    run = runs(root)[1][point["id"]]
    assert run.data.tags["payback"] == said
    assert run.data.metrics == ({"tradeoff/payback_s": 3.5} if math.isfinite(payback_s) else {})


def test_never_can_be_searched_for(root):
    points = [a_point(0), a_point(1)]
    results = [a_result(points[0], {"tradeoff/payback_s": math.inf}), a_result(points[1], {"tradeoff/payback_s": 1.0})]
    tracking.track(write(root, [*points, *results]), root=root)
    client = client_of(root)
    experiment_id = client.get_experiment_by_name("seed_debate").experiment_id
    found = client.search_runs([experiment_id], "tags.payback = 'never'")
    assert [run.data.tags["thpsweep.point"] for run in found] == [points[0]["id"]]


def test_a_run_stays_within_what_the_ui_can_show():
    point = a_point(0, **{f"workload.option_{index}": index for index in range(40)})
    many = {f"cost/other_{index}": float(index) for index in range(50)}
    chosen = run_record.metrics(a_result(point, many | dict.fromkeys(run_record.FIRST, 1.0)))
    assert len(chosen) == 30
    assert set(run_record.FIRST) <= set(chosen)
    longer = with_series(a_result(point, many | dict.fromkeys(run_record.FIRST, 1.0)), [60.0, 120.0])
    chosen = run_record.metrics(longer)
    assert len(chosen) + len({step.name for step in run_series.values(longer, 0, 1)}) == 30
    assert set(run_record.FIRST) <= set(chosen)
    assert len(run_record.params(point)) == 20
    assert {"policy", "workload", "sharing.degree"} <= set(run_record.params(point))


def test_the_same_metrics_are_chosen_whether_or_not_one_is_infinite():
    many = {f"cost/other_{index}": float(index) for index in range(50)}
    finite = run_record.metrics(a_result(a_point(0), {**many, "tradeoff/payback_s": 1.0}))
    infinite = run_record.metrics(a_result(a_point(0), {**many, "tradeoff/payback_s": math.inf}))
    assert set(finite) - set(infinite) == {"tradeoff/payback_s"}
    assert set(infinite) < set(finite)


def test_names_sort_by_degree():
    names = [run_record.run_name(a_point(0, degree=degree)) for degree in (1, 4, 16, 195, 1024)]
    assert sorted(names) == names


def test_files_of_the_sweep_come_at_the_end_and_again_when_changed(root):
    point = a_point(0)
    directory = write(root, [point, a_result(point, {"cost/cpu_ms": 1.0})])
    (directory / "frontier.png").write_bytes(b"one")
    (directory / "journal.lock").write_text("not an artefact")
    tracking.track(directory, root=root, final=False)
    run_id = runs(root)[0].info.run_id
    assert client_of(root).list_artifacts(run_id) == []
    tracking.track(directory, root=root)
    assert [file.path for file in client_of(root).list_artifacts(run_id)] == ["frontier.png", "journal.jsonl"]
    (directory / "frontier.png").write_bytes(b"two")
    tracking.track(directory, root=root)
    assert Path(client_of(root).download_artifacts(run_id, "frontier.png")).read_bytes() == b"two"


def test_sweeps_of_one_name_share_an_experiment(root):
    one = write(root, [a_point(0)])
    other = write(root, [a_point(1)], sweep_id="6" * 64)
    tracking.track(one, root=root)
    tracking.track(other, root=root)
    client = client_of(root)
    found = client.search_runs([client.get_experiment_by_name("seed_debate").experiment_id])
    assert {run.data.tags["thpsweep.sweep"] for run in found} == {"5" * 64, "6" * 64}


def test_an_experiment_deleted_in_the_ui_is_brought_back(root):
    directory = write(root, [a_point(0)])
    tracking.track(directory, root=root)
    client = client_of(root)
    client.delete_experiment(client.get_experiment_by_name("seed_debate").experiment_id)
    tracking.track(directory, root=root)
    assert client.get_experiment_by_name("seed_debate").lifecycle_stage == "active"


def test_a_new_database_is_whole_and_in_wal_mode(migrated):
    with sqlite3.connect(migrated) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert [file.name for file in migrated.parent.iterdir() if "unfinished" in file.name] == []
    assert client_of(migrated.parent).search_experiments()


def test_the_ui_is_for_this_machine_only_and_finds_the_database(root):
    command = tracking.ui_command(root, 5678)
    assert command[:4] == [sys.executable, "-m", "mlflow", "ui"]
    options = dict(zip(command[4::2], command[5::2], strict=True))
    assert options["--host"] == "127.0.0.1"
    assert options["--port"] == "5678"
    assert options["--backend-store-uri"] == f"sqlite:///{root}/mlflow.db"


def test_a_relative_root_gives_an_absolute_uri(root, monkeypatch):
    monkeypatch.chdir(root.parent)
    assert tracking.database_uri(Path(root.name)) == tracking.database_uri(root)


def test_the_ui_without_a_database_is_an_error(tmp_path):
    with pytest.raises(SweepError, match=r"mlflow\.db: no such file"):
        tracking.ui_command(tmp_path, 5000)


def test_another_file_under_the_name_of_the_database_is_an_error(tmp_path):
    (tmp_path / "mlflow.db").write_text("something else, long enough to be taken for a header" * 40)
    with pytest.raises(SweepError, match="not an MLflow database"):
        tracking.track(write(tmp_path, [a_point(0)]), root=tmp_path)


def test_a_database_of_another_mlflow_is_one_line(root):
    with sqlite3.connect(root / "mlflow.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'older'")
    with pytest.raises(SweepError, match="out-of-date") as error:
        tracking.track(write(root, [a_point(0)]), root=root)
    assert len(str(error.value).splitlines()) == 1
    assert isinstance(error.value.__cause__, MlflowException)


def test_a_package_that_is_not_checked_out_has_no_commit(tmp_path, monkeypatch):
    (tmp_path / "__init__.py").write_text("")
    monkeypatch.setattr(run_record.thpsweep, "__file__", str(tmp_path / "__init__.py"))
    assert run_record._git_commit.__wrapped__() == ""


def test_a_checked_out_package_has_its_commit(tmp_path, monkeypatch):
    (tmp_path / "__init__.py").write_text("")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *command], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    monkeypatch.setattr(run_record.thpsweep, "__file__", str(tmp_path / "__init__.py"))
    assert run_record._git_commit.__wrapped__() == head
