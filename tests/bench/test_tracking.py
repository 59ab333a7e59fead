"""What a small point costs, composed, simulated and recorded in MLflow: with thpsweep, and the way it is done today.

Run with `python -m pytest -m bench -s tests/bench/test_tracking.py`. Both sides are measured in one run. Theirs counts from
the end of its first job to the end of its last. Ours is printed twice: from the start of the command to its end, with Ray,
MLflow's new database, table and plot; and, as theirs, from the first result on, to the end of the command.
"""

import datetime
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from thpsweep.sweep.records import journal
from thpsweep.sweep.tracking.target import target

pytestmark = pytest.mark.bench

ROOT = Path(__file__).parents[2]
SMALL = ["workload=prefork", "workload.regions=1", "run.replicates=1", "run.duration_s=60"]
POLICIES = "policy=copy,inplace,inplace_pmd,switch,retract"


def run(cwd: Path, *command: str) -> float:
    """Run a command to its end. Units: seconds."""
    cwd.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(cwd)}
    began_s = time.monotonic()
    subprocess.run([sys.executable, *command], cwd=cwd, env=environment, check=True, capture_output=True)
    return time.monotonic() - began_s


def n_recorded(uri: str) -> int:
    """Count the finished runs of points."""
    client = MlflowClient(tracking_uri=uri)
    every = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_runs(every, "attributes.status = 'FINISHED'", max_results=50_000)
    return sum("thpsweep.point" in run.data.tags for run in found)


def first_result_s(root: Path) -> float:
    """Say when the first result of the sweep below `root` was journaled. Units: seconds since 1970."""
    (file,) = root.glob("*/journal.jsonl")
    ends = [record["finished"] for _, record in journal.records(file) if record["type"] == "result"]
    return datetime.datetime.fromisoformat(min(ends)).timestamp()


def plain_s(cwd: Path) -> float:
    """Time one point of the plain app: 30 points of the same kind."""
    run(cwd, "-m", "tests.bench.plain_app", *SMALL, POLICIES, "sharing.degree=2,6,11", "run.seed=1,2")
    ends = [float(line) for line in (cwd / "ends").read_text().split()]
    assert len(ends) == n_recorded(f"sqlite:///{cwd}/mlflow.db") == 30
    return (ends[-1] - ends[0]) / (len(ends) - 1)


@pytest.mark.parametrize("launcher", ["auto", "ray"])
@pytest.mark.parametrize("varied", ["run.seed", "workload.worker_hot_writes_per_page_hour"])
def test_two_thousand_small_points_composed_simulated_and_recorded(tmp_path: Path, launcher: str, varied: str) -> None:
    """Points that differ in their seeds only run side by side; those of other write rates do not."""
    ours = tmp_path / "ours"
    points = [POLICIES, "sharing.degree=range(2,12)", f"{varied}=range(1,41)"]
    whole_s = run(ours, "-m", "thpsweep", "sweep", *SMALL, *points, f"hydra/launcher={launcher}")
    ended_s = time.time()
    assert n_recorded(target(ours / "sweeps", None).uri) == 2000
    running_s = ended_s - first_result_s(ours / "sweeps")
    theirs_s = plain_s(tmp_path / "theirs")
    print(f"\n2,000 points of policy, degree and {varied}, {launcher}", end="; ")
    print(f"plain Hydra and fluent MLflow: {1000 * theirs_s:.0f} ms a point")
    for what, took_s in (("the whole command", whole_s), ("from the first result on", running_s)):
        print(f"  {what}: {took_s:.1f} s = {took_s / 2:.2f} ms a point: {theirs_s / (took_s / 2000):.0f} times as fast")
