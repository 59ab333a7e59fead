"""Does MLflow say what the journal says: all of it, once, whatever happened in between?"""

import concurrent.futures
import json
import math
import shutil
import sqlite3

import pytest
from mlflow.exceptions import MlflowException

from tests.sweep.journals import SWEEP_ID, a_failure, a_point, a_result, with_series, write
from tests.sweep.recorded import at, client_of, dump, history, runs
from thpsweep.errors import SweepError
from thpsweep.shipped import conf_dir
from thpsweep.sweep.records import environment, run_series
from thpsweep.sweep.tracking import client as api
from thpsweep.sweep.tracking import views
from thpsweep.sweep.tracking.lag import Questions
from thpsweep.sweep.tracking.target import check_database
from thpsweep.sweep.tracking.tracker import track


def test_a_point_reads_back_as_the_journal_has_it(root):
    point = a_point(0, regions_per_worker=4)
    metrics = {"cost/pte_updates": 199_680.0, "benefit/lru_entries_removed": 511.0, "tradeoff/net_cpu_ms": -12.5}
    result = a_result(point, metrics, outcomes={"PAGE_COUNT": 1, "SUCCEED": 5}, facts={"note": "scaled", "n": 2})
    directory = write(root, [point, result])
    (directory / environment.FILE_NAME).write_text('{"user": "ada", "commit": "c0ffee", "changes": [" M a.py"]}\n')
    track(directory, target=at(root))
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
    assert tags["mlflow.user"] == "ada"
    assert (tags["mlflow.source.git.commit"], tags["thpsweep.changes"]) == ("c0ffee", "a.py")


def test_the_sweep_is_the_parent_and_says_how_to_repeat_it(root):
    points = [a_point(0), a_point(1, "copy")]
    directory = write(root, [*points, a_result(points[0], {"cost/cpu_ms": 1.0}, 1), a_failure(points[1], 9)])
    track(directory, target=at(root))
    parent, _ = runs(root)
    assert parent.data.tags["thpsweep.sweep"] == SWEEP_ID
    assert "thpsweep sweep policy=copy,inplace 'note=a b'" in parent.data.tags["mlflow.note.content"]
    assert parent.data.metrics == {"sweep/points": 2, "sweep/done": 1, "sweep/failed": 1}
    assert (parent.info.status, parent.info.end_time) == ("FAILED", 1_767_323_049_500)


def test_the_experiment_opens_on_runs_and_keeps_artefacts_below_root(root):
    track(write(root, [a_point(0)]), target=at(root))
    experiment = client_of(root).get_experiment_by_name("seed_debate")
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    assert experiment.tags["mlflow.experiment.primaryMetric.name"] == "tradeoff/net_cpu_ms"
    assert experiment.artifact_location == (root / "artifacts").as_uri()


def test_the_view_has_what_varies_beside_cost_and_benefit(root):
    points = [a_point(index, degree=195, wide=8, write_rate=index // 2) for index in range(4)]
    track(write(root, points), target=at(root))
    experiment = client_of(root).get_experiment_by_name("seed_debate")
    view = json.loads(experiment.tags["mlflow.sharedViewState.thpsweep"])
    state = json.loads(view["state"])
    params = ["sharing.degree", "policy", "write_rate"]
    assert state["selectedColumns"][:4] == [*(f"params.`{key}`" for key in params), "metrics.`cost/pte_updates`"]
    assert state["compareRunCharts"][0]["selectedParams"] == params
    assert len(experiment.tags["mlflow.sharedViewState.thpsweep"]) < 5000  # more than that MLflow refuses


def test_a_view_that_somebody_changed_stays(root):
    track(write(root, [a_point(0)]), target=at(root))
    client = client_of(root)
    experiment = client.get_experiment_by_name("seed_debate")
    client.set_experiment_tag(experiment.experiment_id, "mlflow.sharedViewState.thpsweep", "mine")
    track(write(root, [a_point(0)]), target=at(root))
    assert client.get_experiment_by_name("seed_debate").tags["mlflow.sharedViewState.thpsweep"] == "mine"


def test_runs_of_a_policy_have_one_colour_whatever_the_sweep(root):
    points = [a_point(index, policy, index + 1) for index, policy in enumerate(["copy", "switch", "copy", "my_own"])]
    track(write(root, [*points, *(a_result(point, {"cost/cpu_ms": 1.0}) for point in points)]), target=at(root))
    colours = [runs(root)[1][point["id"]].data.tags["mlflow.runColor"] for point in points]
    assert colours[0] == colours[2] != colours[1] and colours[3] in views.COLOURS.values()


def test_every_policy_that_ships_has_a_colour_of_its_own():
    shipped = {file.stem for file in (conf_dir() / "policy").glob("*.yaml")}
    assert shipped <= set(views.COLOURS) and len({*views.COLOURS.values()}) == len(views.COLOURS)


def test_tracking_twice_changes_nothing(root):
    points = [a_point(0), a_point(1, "copy"), a_point(2, "switch")]
    done = a_result(points[0], {"cost/cpu_ms": 1.0, "tradeoff/payback_s": math.inf})
    directory = write(root, [*points, done, a_failure(points[1])])
    (directory / "table.txt").write_text("a table")
    track(directory, target=at(root))
    before = dump(root)
    track(directory, target=at(root))
    assert dump(root) == before


def test_a_resumed_sweep_adds_only_what_is_new(root):
    points = [a_point(index, degree=index + 1) for index in range(3)]
    results = [a_result(point, {"cost/pte_updates": 5.0}, index) for index, point in enumerate(points)]
    track(write(root, [*points, *results[:2]]), target=at(root), final=False)
    parent, before = runs(root)
    assert parent.info.status == "RUNNING"
    track(write(root, [*points, *results]), target=at(root))
    finished, after = runs(root)
    assert set(after) - set(before) == {points[2]["id"]}
    assert {key: after[key].info.run_id for key in before} == {key: run.info.run_id for key, run in before.items()}
    assert (finished.info.run_id, finished.info.status) == (parent.info.run_id, "FINISHED")
    assert finished.data.metrics["sweep/done"] == 3


def test_a_series_reads_back_step_by_step_in_simulated_seconds(root):
    point = a_point(0)
    result = with_series(a_result(point, {"cost/cpu_ms": 1.0}), [0.5, 1.0, 1.5, 60.0, 125.0])
    track(write(root, [point, result]), target=at(root))
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


def test_two_at_once_on_a_new_root_make_one_database_and_one_run_each(tmp_path):
    points = [a_point(index, degree=index + 1) for index in range(5)]
    directory = write(tmp_path, [*points, *(a_result(point, {"cost/cpu_ms": 1.0}) for point in points)])
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(track, directory, target=at(tmp_path)) for _ in range(2)]:
            future.result()
    client = client_of(tmp_path)
    found = client.search_runs([client.get_experiment_by_name("seed_debate").experiment_id])
    assert len(found) == 1 + len(points)


def test_a_failed_point_says_why(root):
    point = a_point(0)
    track(write(root, [point, a_failure(point)]), target=at(root))
    run = runs(root)[1][point["id"]]
    assert run.info.status == "FAILED"
    assert run.data.tags["thpsweep.error"] == "ValueError: no room"
    assert "Traceback" in run.data.tags["mlflow.note.content"]
    assert run.data.metrics == {}


def test_a_point_that_failed_and_then_succeeded_has_one_run(root):
    point = a_point(0)
    track(write(root, [point, a_failure(point, 1)]), target=at(root))
    track(write(root, [point, a_failure(point, 1), a_result(point, {"cost/cpu_ms": 2.0}, 5)]), target=at(root))
    parent, children = runs(root)
    assert children[point["id"]].data.metrics == {"cost/cpu_ms": 2.0}
    assert (parent.info.status, parent.data.metrics["sweep/failed"]) == ("FINISHED", 0)


@pytest.mark.parametrize(
    ("payback_s", "said"), [(math.inf, "never"), (math.nan, "undefined"), (3.5, "pays back")], ids=str
)
def test_payback_that_is_no_number_is_a_word(root, payback_s, said):
    point = a_point(0)
    track(write(root, [point, a_result(point, {"tradeoff/payback_s": payback_s})]), target=at(root))
    run = runs(root)[1][point["id"]]
    assert run.data.tags["payback"] == said
    assert run.data.metrics == ({"tradeoff/payback_s": 3.5} if math.isfinite(payback_s) else {})


def test_never_can_be_searched_for(root):
    points = [a_point(0), a_point(1)]
    results = [a_result(points[0], {"tradeoff/payback_s": math.inf}), a_result(points[1], {"tradeoff/payback_s": 1.0})]
    track(write(root, [*points, *results]), target=at(root))
    client = client_of(root)
    experiment_id = client.get_experiment_by_name("seed_debate").experiment_id
    found = client.search_runs([experiment_id], "tags.payback = 'never'")
    assert [run.data.tags["thpsweep.point"] for run in found] == [points[0]["id"]]


def test_sweeps_of_one_name_share_an_experiment(root):
    one = write(root, [a_point(0)])
    other = write(root, [a_point(1)], sweep_id="6" * 64)
    track(one, target=at(root))
    track(other, target=at(root))
    client = client_of(root)
    found = client.search_runs([client.get_experiment_by_name("seed_debate").experiment_id])
    assert {run.data.tags["thpsweep.sweep"] for run in found} == {"5" * 64, "6" * 64}


def test_a_new_database_is_whole_and_in_wal_mode(migrated):
    with sqlite3.connect(migrated) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert [file.name for file in migrated.parent.iterdir() if "unfinished" in file.name] == []
    assert client_of(migrated.parent).search_experiments()


@pytest.mark.parametrize("name", ["a%20b", "c#d", "e?f", "g%h i"])
def test_a_folder_may_have_a_name_that_means_something_in_a_uri(tmp_path, migrated, name):
    root = tmp_path / name
    root.mkdir()
    shutil.copy(migrated, root)
    point = a_point(0)
    directory = write(root, [point, a_result(point, {"cost/cpu_ms": 1.0})])
    (directory / "table.txt").write_text("1")
    assert track(directory, target=at(root)).added == 1
    assert Questions().describe(at(root), directory) == "MLflow is in step"
    assert (
        list(root.glob("artifacts/**/table.txt"))
        and [file for file in tmp_path.rglob("*.db") if root not in file.parents] == []
    )


def test_the_experiment_that_mlflow_makes_itself_has_its_artefacts_there_too(tmp_path):
    root = tmp_path / "a b%20c"
    root.mkdir()
    api.connect(at(root))
    assert client_of(root).get_experiment("0").artifact_location == f"{at(root).artefacts_uri}/0"


def test_another_file_under_the_name_of_the_database_is_an_error(tmp_path):
    (tmp_path / "mlflow.db").write_text("something else, long enough to be taken for a header" * 40)
    with pytest.raises(SweepError, match="not an MLflow database"):
        track(write(tmp_path, [a_point(0)]), target=at(tmp_path))


def test_a_database_that_cannot_be_opened_is_not_to_be_moved_away(tmp_path):
    (tmp_path / "mlflow.db").mkdir()
    with pytest.raises(SweepError, match="cannot be used now") as error:
        check_database(tmp_path / "mlflow.db")
    assert "move it away" not in str(error.value)


def test_a_database_of_another_mlflow_is_one_line(root):
    with sqlite3.connect(root / "mlflow.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'older'")
    with pytest.raises(SweepError, match="out-of-date") as error:
        track(write(root, [a_point(0)]), target=at(root))
    assert len(str(error.value).splitlines()) == 1
    assert isinstance(error.value.__cause__, MlflowException)
