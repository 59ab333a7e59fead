"""Each point has one active run, or a user deleted it and is told so: whatever was deleted, restored, renamed, tagged."""

import dataclasses
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.entities import ViewType

from tests.sweep.journals import SWEEP_ID, a_point, a_result, write
from tests.sweep.recorded import at, client_of, runs
from thpsweep.sweep.tracking import sql_reader
from thpsweep.sweep.tracking.added import Added
from thpsweep.sweep.tracking.client import api_reader
from thpsweep.sweep.tracking.lag import Questions
from thpsweep.sweep.tracking.lookup import Reader
from thpsweep.sweep.tracking.tracker import track

N_POINTS = 3
POINTS = [a_point(index, degree=index + 1) for index in range(N_POINTS)]
OURS = ("thpsweep.point", "thpsweep.finished", "thpsweep.sweep", "thpsweep.state", "mlflow.note.content")


@dataclasses.dataclass
class World:
    """A sweep, the database that has it, and a user of MLflow's UI."""

    root: Path
    sweep: str
    results: list[int] = dataclasses.field(default_factory=lambda: [1] * N_POINTS)
    """How often each point ran; not at all is 0."""
    pair_of: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    """Each run that ever was: its point, and when its result came in."""

    def __post_init__(self) -> None:
        self.client = MlflowClient(tracking_uri=at(self.root).uri)

    @property
    def directory(self) -> Path:
        """The sweep's folder."""
        return self.root / f"s{self.sweep[:12]}-{self.sweep[:12]}"

    @property
    def finished(self) -> dict[str, str]:
        """When the latest result of each point came in."""
        return {p["id"]: a_result(p, {}, 3 * n)["finished"] for p, n in zip(POINTS, self.results, strict=True) if n}

    def sync(self, bulk: bool) -> Added:
        """Bring MLflow in line with the journal."""
        records = [
            a_result(point, {"cost/cpu_ms": float(number)}, 3 * number)
            for point, n in zip(POINTS, self.results, strict=True)
            for number in range(1, n + 1)
        ]
        directory = write(self.root, [*POINTS, *records], name=f"s{self.sweep[:12]}", sweep_id=self.sweep)
        in_trash = self.ids(ViewType.DELETED_ONLY)
        added = track(directory, target=at(self.root), bulk=bulk)
        assert in_trash <= self.ids(ViewType.DELETED_ONLY)  # nothing comes back by itself
        new = [run for run in self.every() if run.info.run_id not in self.pair_of and "thpsweep.point" in run.data.tags]
        pairs = {run.info.run_id: (run.data.tags["thpsweep.point"], run.data.tags["thpsweep.finished"]) for run in new}
        assert not {*pairs.values()} & {*self.pair_of.values()}  # nor is it written again
        self.pair_of |= pairs
        return added

    def ids(self, view: int) -> set[str]:
        """Give the ids of the runs that were there before, so far as the experiment was."""
        return {run.info.run_id for run in self.every(view)} if self.pair_of else set()

    def every(self, view: int = ViewType.ALL) -> list:
        """Give the runs of the sweep's experiment, its own included; in the order in which they were made."""
        return sorted(self.client.search_runs([self.experiment.experiment_id], run_view_type=view), key=str)

    @property
    def experiment(self):
        """Give the experiment that was made for the sweep, under whatever name, deleted or not."""
        found = [e for e in self.client.search_experiments(view_type=ViewType.ALL) if self.sweep[:12] in e.name]
        assert len(found) == 1, found
        return found[0]

    def act(self, what: str, which: int, tag: str) -> None:
        """Do one thing in the UI, if it is possible there."""
        experiment = self.experiment
        if what == "delete the experiment" and experiment.lifecycle_stage == "active":
            self.client.delete_experiment(experiment.experiment_id)
        elif what == "restore the experiment" and experiment.lifecycle_stage != "active":
            self.client.restore_experiment(experiment.experiment_id)
        elif what == "rename the experiment" and experiment.lifecycle_stage == "active":
            self.client.rename_experiment(experiment.experiment_id, f"mine {which} {self.sweep[:12]}")
        every = self.every()
        run = every[which % len(every)]
        is_active = run.info.lifecycle_stage == "active"
        if experiment.lifecycle_stage != "active":
            return  # the UI does not show its runs
        if what == "delete a run" and is_active:
            self.client.delete_run(run.info.run_id)
        elif what == "restore a run" and not is_active:
            self.client.restore_run(run.info.run_id)
        elif what == "rename a run" and is_active:
            self.client.set_tag(run.info.run_id, "mlflow.runName", f"renamed {which}")
        elif what == "tag a run" and is_active:
            self.client.set_tag(run.info.run_id, "mine", str(which))
        elif what == "remove a tag" and is_active and tag in run.data.tags:
            self.client.delete_tag(run.info.run_id, tag)


def check(world: World, added: Added) -> None:
    """Hold what MLflow has against the journal."""
    lag = Questions().describe(at(world.root), world.directory)
    if world.experiment.lifecycle_stage != "active":
        assert "was deleted in MLflow" in str(added)
        assert "was deleted in MLflow" in lag
        return
    active = [run for run in world.every(ViewType.ACTIVE_ONLY) if "mlflow.parentRunId" in run.data.tags]
    assert all(run.info.status == "FINISHED" for run in active)
    pairs = Counter((run.data.tags["thpsweep.point"], run.data.tags["thpsweep.finished"]) for run in active)
    assert set(pairs.values()) <= {1} and set(pairs) <= set(world.finished.items())
    n_deleted = len(world.finished) - len(pairs)
    assert added.deleted == n_deleted
    own = [run for run in world.every() if "mlflow.parentRunId" not in run.data.tags]
    assert len(own) == 1 and ("own run was deleted" in str(added)) == (own[0].info.lifecycle_stage != "active")
    wanted = f"; {n_deleted} run{'s' * (n_deleted != 1)} deleted there" if n_deleted else ""
    assert lag == f"MLflow is in step{wanted}"


ACTIONS = [
    "delete a run",
    "restore a run",
    "rename a run",
    "tag a run",
    "remove a tag",
    "delete the experiment",
    "restore the experiment",
    "rename the experiment",
]
STEP = st.one_of(
    st.tuples(st.just("sync"), st.booleans(), st.none()),
    st.tuples(st.just("run a point again"), st.integers(0, N_POINTS - 1), st.none()),
    st.tuples(st.sampled_from(ACTIONS), st.integers(0, 9), st.sampled_from(OURS)),
    st.tuples(st.sampled_from(ACTIONS[:2]), st.integers(0, 9), st.sampled_from(OURS)),
)
STEPS = st.lists(STEP, min_size=4, max_size=14)
number = iter(range(10**6))


@pytest.fixture(scope="module")
def database(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a database that all sequences share, as those of many sweeps do."""
    root = tmp_path_factory.mktemp("trash")
    shutil.copy(migrated, root / "mlflow.db")
    return root


def follow(database: Path, steps: list, first: list[int]) -> None:
    """Record a sweep, do the steps, sync, and compare."""
    world = World(database, f"{next(number):064x}"[::-1], first)
    check(world, world.sync(True))
    for what, which, tag in [*steps, ("sync", True, None)]:
        if what == "sync":
            check(world, world.sync(which))
        elif what == "run a point again":
            world.results[which] += 1
        else:
            world.act(what, which, tag)
    before = [(run.info.run_id, run.info.lifecycle_stage, run.data.tags) for run in world.every()]
    again = world.sync(True)
    assert (again.added, again.replaced, again.completed, again.doubled, again.relabelled) == (0, 0, 0, 0, 0)
    assert [(run.info.run_id, run.info.lifecycle_stage, run.data.tags) for run in world.every()] == before


FIRST = st.lists(st.integers(0, 1), min_size=N_POINTS, max_size=N_POINTS)
SYNC = ("sync", True, None)
DELETE, RESTORE, LOSE_TAG = (ACTIONS[number] for number in (0, 1, 4))
DELETE_ALL, RESTORE_ALL, RENAME_ALL = ACTIONS[5:]
KINDS = [
    [*((DELETE, each, OURS[0]) for each in range(4)), SYNC, (RESTORE, 1, OURS[0])],
    [(DELETE, 1, OURS[0]), SYNC, (DELETE_ALL, 0, OURS[0]), SYNC, (RESTORE_ALL, 0, OURS[0]), SYNC],
    [("run a point again", 0, None), SYNC, (DELETE_ALL, 0, OURS[0]), (RESTORE_ALL, 0, OURS[0]), SYNC],
    [("run a point again", 0, None), (DELETE_ALL, 0, OURS[0]), SYNC, ("run a point again", 0, None), SYNC],
    [(RENAME_ALL, 1, OURS[0]), *((LOSE_TAG, each, tag) for each in range(4) for tag in OURS[:3]), SYNC],
    [*((LOSE_TAG, each, OURS[1]) for each in range(4)), (DELETE, 0, OURS[0]), (DELETE, 1, OURS[0]), SYNC],
    [
        *((LOSE_TAG, each, OURS[0]) for each in range(4)),
        *(("run a point again", each, None) for each in range(3)),
        SYNC,
    ],
]
SEQUENCES = int(os.environ.get("TRASH_SEQUENCES", "40"))
"""Tried at length: a sequence takes some seconds, so that a few hundred are for a machine that has nothing else to do."""

HOW = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture],
    "derandomize": True,
    "phases": [Phase.explicit, Phase.generate],  # a sequence takes a second: to shrink one takes minutes
}


@pytest.mark.parametrize("n_results", [0, 1])
@pytest.mark.parametrize(
    "steps", KINDS, ids=["runs", "experiment", "again", "unrecorded", "tags", "tags of deleted", "tags of replaced"]
)
def test_one_active_run_a_point_after_each_kind_of_change(database: Path, steps: list, n_results: int) -> None:
    follow(database, steps, [n_results] * N_POINTS)


@settings(max_examples=3, **HOW)
@given(steps=STEPS, first=FIRST)
def test_one_active_run_a_point_whatever_a_user_did(database: Path, steps: list, first: list[int]) -> None:
    follow(database, steps, first)


@pytest.mark.slow
@settings(max_examples=SEQUENCES, **HOW)
@given(steps=STEPS, first=FIRST)
def test_one_active_run_a_point_whatever_a_user_did_at_length(database: Path, steps: list, first: list[int]) -> None:
    follow(database, steps, first)


def test_two_sweeps_that_began_at_once_are_told_apart_by_their_folder(root: Path) -> None:
    for sweep in ("8" * 64, "9" * 64):
        track(write(root, POINTS, name=sweep[:3], sweep_id=sweep), target=at(root))
        client = client_of(root)
        (own,) = client.search_runs([client.get_experiment_by_name(sweep[:3]).experiment_id])
        client.delete_tag(own.info.run_id, "thpsweep.sweep")
    for sweep in ("8" * 64, "9" * 64):
        track(write(root, POINTS, name=sweep[:3], sweep_id=sweep), target=at(root))
        (own,) = client.search_runs([client.get_experiment_by_name(sweep[:3]).experiment_id])
        assert own.data.tags["thpsweep.sweep"] == sweep


@pytest.fixture
def recorded(root: Path) -> Path:
    """Give the directory of a sweep of three points that is recorded."""
    directory = write(root, [*POINTS, *(a_result(point, {"cost/cpu_ms": 1.0}) for point in POINTS)])
    track(directory, target=at(root))
    return directory


def test_a_run_that_was_deleted_stays_deleted_and_is_counted(recorded: Path, root: Path) -> None:
    client = client_of(root)
    client.delete_run(runs(root)[1][POINTS[0]["id"]].info.run_id)
    assert str(track(recorded, target=at(root))) == "0 runs added, 1 deleted in MLflow, left in its trash"
    assert set(runs(root)[1]) == {point["id"] for point in POINTS[1:]}


def test_an_experiment_that_was_deleted_stays_deleted_and_says_how_to_get_it_back(recorded: Path, root: Path) -> None:
    client = client_of(root)
    experiment_id = client.get_experiment_by_name("seed_debate").experiment_id
    client.delete_run(runs(root)[1][POINTS[0]["id"]].info.run_id)
    client.delete_experiment(experiment_id)
    text = str(track(recorded, target=at(root)))
    assert f"mlflow experiments restore -x {experiment_id}" in text and "'seed_debate' was deleted in MLflow" in text
    assert client.get_experiment(experiment_id).lifecycle_stage == "deleted"
    client.restore_experiment(experiment_id)  # with all its runs, the one that was deleted before included
    assert str(track(recorded, target=at(root))) == "0 runs added" and len(runs(root)[1]) == len(POINTS)


def test_a_sweep_of_the_name_of_a_deleted_experiment_gets_another_one(recorded: Path, root: Path) -> None:
    client = client_of(root)
    client.delete_experiment(client.get_experiment_by_name("seed_debate").experiment_id)
    other = write(root, [POINTS[0], a_result(POINTS[0], {"cost/cpu_ms": 1.0})], sweep_id="6" * 64)
    assert "recorded in the experiment 'seed_debate-666666666666'" in str(track(other, target=at(root)))
    assert len(runs(root, "seed_debate-666666666666")[1]) == 1


def test_a_renamed_experiment_is_found(recorded: Path, root: Path) -> None:
    client = client_of(root)
    client.rename_experiment(client.get_experiment_by_name("seed_debate").experiment_id, "for the paper")
    assert str(track(recorded, target=at(root))) == "0 runs added" and len(runs(root, "for the paper")[1]) == 3
    assert client.get_experiment_by_name("seed_debate") is None


def test_restoring_an_experiment_restores_runs_that_were_deleted_before_it(root: Path) -> None:
    """MLflow 3.17.2, SqlAlchemyStore.restore_experiment: marks every run of the experiment as active."""
    client = client_of(root)
    experiment_id = client.create_experiment("e")
    run_id = client.create_run(experiment_id).info.run_id
    client.delete_run(run_id)
    client.delete_experiment(experiment_id)
    client.restore_experiment(experiment_id)
    assert client.get_run(run_id).info.lifecycle_stage == "active"


def test_nothing_but_the_database_is_left_beside_it(recorded: Path, root: Path) -> None:
    Questions().describe(at(root), recorded)
    assert sorted(file.name for file in root.glob("mlflow.db*")) == ["mlflow.db"]


def test_a_database_and_the_public_api_tell_the_same(recorded: Path, root: Path) -> None:
    client, (own, by_point) = client_of(root), runs(root)
    begun_ms, changed, deleted = own.info.start_time, by_point[POINTS[0]["id"]], by_point[POINTS[1]["id"]]
    client.delete_tag(changed.info.run_id, "thpsweep.finished")
    client.delete_run(deleted.info.run_id)
    for has_tag in (True, False):
        with sql_reader.reading(root / "mlflow.db") as reader:
            by_sql, by_api = (answers(each, own.info.run_id, begun_ms) for each in (reader, api_reader(at(root))))
        assert by_sql == by_api
        assert [run.sweep for run in by_sql["own runs"]] == [SWEEP_ID if has_tag else None]
        assert [run.id for run in by_sql["point runs"] if not run.active] == [deleted.info.run_id]
        assert list(by_sql["params"]) == [changed.info.run_id]
        if has_tag:
            client.delete_tag(own.info.run_id, "thpsweep.sweep")


def answers(reader: Reader, own: str, begun_ms: int) -> dict[str, Any]:
    """Ask a reader all that there is to ask, order aside."""
    return {
        "experiments": sorted(reader.experiments()),
        "own runs": sorted(reader.own_runs(SWEEP_ID, begun_ms)),
        "point runs": sorted(reader.point_runs(own), key=lambda run: run.id),
        "params": {run: sorted(params) for run, params in reader.params(own).items()},
    }
