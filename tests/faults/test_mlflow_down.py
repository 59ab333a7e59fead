"""A sweep loses nothing and does not wait for ever when MLflow is down, silent, or killed while it is written to."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tests.servers import MlflowServer, running, silent
from thpsweep.sweep.tracking.target import target
from thpsweep.sweep.tracking.tracker import track

pytestmark = [pytest.mark.slow, pytest.mark.servers]

ROOT = Path(__file__).parents[2]
SMALL = ["workload=prefork", "workload.regions=1", "run.replicates=2", "run.duration_s=300", "hydra/launcher=serial"]
VARYING = {"thpsweep.wall_s", "thpsweep.finished", "thpsweep.host", "mlflow.parentRunId", "thpsweep.files"}
"""Tags of when and where, which differ between two runs of one sweep."""


def start(cwd: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Start a command as a user does."""
    cwd.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(cwd)}
    call = [sys.executable, "-m", "thpsweep", *arguments]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(call, cwd=cwd, env=environment, **pipes)


def run(cwd: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    process = start(cwd, *arguments)
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def recorded(uri: str, name: str = "sweep") -> dict[str, Any]:
    """Read back what MLflow has of each point, without what differs from one time to the next; each point once."""
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(name)
    every = client.search_runs([experiment.experiment_id], max_results=2000) if experiment else []
    points = [run for run in every if "thpsweep.point" in run.data.tags]
    found = {
        run.data.tags["thpsweep.point"]: (
            run.info.status,
            run.info.run_name,
            run.data.params,
            run.data.metrics,
            {key: value for key, value in run.data.tags.items() if key not in VARYING},
            sorted((m.step, m.value) for m in client.get_metric_history(run.info.run_id, "series/lru_entries")),
        )
        for run in points
    }
    assert len(found) == len(points), "a point was recorded twice"
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """Run one server for all tests of this file."""
    with running(tmp_path_factory.mktemp("server")) as made:
        yield made


def in_bulk(cwd: Path) -> dict[str, Any]:
    """Record the one sweep of a folder anew in SQLite, in bulk: what any other way has to give, too."""
    (directory,) = (path.parent for path in cwd.glob("sweeps/*/journal.jsonl"))
    other = target(cwd / "other", None)
    track(directory, target=other)
    return recorded(other.uri)


def test_server_killed_in_the_middle_and_started_again(server: MlflowServer, tmp_path: Path) -> None:
    overrides = ["workload.regions=32", "run.replicates=8", "sharing.degree=range(2,82)", "sweep.name=middle"]
    process = start(tmp_path, "sweep", *SMALL, *overrides, f"sweep.tracking_uri={server.uri}")
    while len(recorded(server.uri, "middle")) < 3:
        assert process.poll() is None, process.communicate()
        time.sleep(0.2)
    server.stop()
    time.sleep(2)
    was_running = process.poll() is None
    server.start()
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0 and was_running, err
    synced = run(tmp_path, "sync")
    assert synced.returncode == 0, synced
    (directory,) = (path.parent for path in tmp_path.glob("sweeps/*/journal.jsonl"))
    other = target(tmp_path / "other", None)
    track(directory, target=other)
    through_server = recorded(server.uri, "middle")
    assert len(through_server) == 80 and through_server == recorded(other.uri, "middle")
    assert run(tmp_path, "sync").stdout == f"sweeps/{directory.name}: 0 runs added\n"


def test_server_that_is_down_all_the_time_is_caught_up_with_later(server: MlflowServer, tmp_path: Path) -> None:
    server.stop()
    overrides = ["sharing.degree=1,2,3,4", "sweep.name=down", f"sweep.tracking_uri={server.uri}"]
    ended = run(tmp_path, "sweep", *SMALL, *overrides)
    assert ended.returncode == 0 and "thpsweep sync" in ended.stderr, ended
    status = run(tmp_path, "status")
    assert status.returncode == 0 and "4 of 4 points done" in status.stdout and "cannot be asked" in status.stdout
    server.start()
    assert "MLflow is 4 runs behind" in run(tmp_path, "status").stdout
    assert "4 runs added" in run(tmp_path, "sync").stdout
    assert "MLflow is in step" in run(tmp_path, "status").stdout
    assert len(recorded(server.uri, "down")) == 4


def test_server_that_never_answers_keeps_no_sweep_from_ending(tmp_path: Path) -> None:
    with silent() as uri:
        began_s = time.monotonic()
        ended = run(tmp_path, "sweep", *SMALL, "sharing.degree=1,2", f"sweep.tracking_uri={uri}")
        took_s = time.monotonic() - began_s
    assert ended.returncode == 0 and "thpsweep sync" in ended.stderr, ended
    assert took_s < 60
    (directory,) = (path.parent for path in tmp_path.glob("sweeps/*/journal.jsonl"))
    added = track(directory, target=target(tmp_path / "sweeps", None))
    assert added.added == 2


def test_sync_killed_at_random_moments_completes_what_it_began_and_doubles_nothing(
    server: MlflowServer, tmp_path: Path
) -> None:
    overrides = ["sharing.degree=range(2,82)", "sweep.track=false", f"sweep.tracking_uri={server.uri}"]
    assert run(tmp_path, "sweep", *SMALL, *overrides).returncode == 0
    wanted = in_bulk(tmp_path)
    chance = random.Random(4)
    numbers = []
    for _ in range(3):
        before = len(recorded(server.uri))
        process = start(tmp_path, "sync")
        while process.poll() is None and len(recorded(server.uri)) <= before:
            time.sleep(0.05)
        time.sleep(chance.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        numbers.append(len(recorded(server.uri)))
    assert numbers[0] > 0 and numbers == sorted(numbers)
    assert run(tmp_path, "sync").returncode == 0
    assert recorded(server.uri) == wanted and len(wanted) == 80


def test_sync_to_a_database_killed_at_random_moments_loses_and_doubles_nothing(tmp_path: Path) -> None:
    assert run(tmp_path, "sweep", *SMALL, "sharing.degree=range(2,202)", "sweep.track=false").returncode == 0
    wanted = in_bulk(tmp_path)
    chance = random.Random(5)
    for _ in range(4):
        process = start(tmp_path, "sync")
        time.sleep(chance.uniform(1.5, 5.0))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert run(tmp_path, "sync").returncode == 0
    assert recorded(target(tmp_path / "sweeps", None).uri) == wanted and len(wanted) == 200
