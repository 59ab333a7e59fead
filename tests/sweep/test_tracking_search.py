"""A search in MLflow: a run a point as for grids, and the sweep's own run is over when the search is."""

import functools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from tests.each import each
from tests.sweep.planted import bisection, falling, plan_of
from thpsweep.answers.terminal.searched import searched
from thpsweep.sweep.driver.drive import drive
from thpsweep.sweep.local.launcher import Task
from thpsweep.sweep.local.serial import run_serial
from thpsweep.sweep.records import journal
from thpsweep.sweep.tracking.target import target
from thpsweep.sweep.tracking.tracker import track


def test_a_pause_between_two_proposals_is_not_the_end(root: Path, degrees: Callable[..., list[Task]]) -> None:
    ((_, task),) = degrees(2)
    point = task["point"]
    base = {**point, "run": {**point["run"], "replicates": 8}}
    plan = plan_of(root, bisection(base))
    where = target(root, None)
    ran = 0

    def interrupted(point: dict[str, Any]) -> dict[str, Any]:
        nonlocal ran
        ran += 1
        if ran == 27:  # the first sample has ended, nothing else is proposed yet
            os.kill(os.getpid(), signal.SIGINT)
        return falling(point)

    launch = functools.partial(run_serial, function=each(interrupted))
    assert drive(plan, launch, searched).exit_code == 130
    assert str(track(plan.directory, target=where)) == "27 runs added"
    parent = own_run(where.uri)
    assert parent.info.status == "RUNNING" and "breakeven search" in parent.data.tags["mlflow.note.content"]
    assert drive(plan, launch, searched).exit_code == 0
    n_points = len(journal.read(plan.directory).points)
    assert str(track(plan.directory, target=where)) == f"{n_points - 27} runs added"
    parent = own_run(where.uri)
    assert parent.info.status == "FINISHED" and parent.data.metrics["sweep/done"] == n_points
    kept = {file.path for file in MlflowClient(where.uri).list_artifacts(parent.info.run_id)}
    assert {"breakeven.json", "breakeven.txt", "plan.parquet"} <= kept
    assert str(track(plan.directory, target=where)) == "0 runs added"


def own_run(uri: str) -> Any:
    """Find the sweep's own run."""
    client = MlflowClient(uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    (found,) = client.search_runs(experiments, "tags.`thpsweep.sweep` LIKE '%'")
    return found
