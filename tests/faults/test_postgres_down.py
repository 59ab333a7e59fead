"""A sweep that is recorded on PostgreSQL loses and doubles nothing when what it talks to goes down in the middle."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.test_mlflow_down import ROOT, SMALL, recorded
from tests.servers import MlflowServer, PostgresServer, postgres, running
from thpsweep.sweep.tracking.target import target
from thpsweep.sweep.tracking.tracker import track

pytestmark = [pytest.mark.slow, pytest.mark.servers]

PASSWORD = "never-typed-anywhere"


N_RECORDED = """
    SELECT count(*) FROM runs JOIN experiments USING (experiment_id) JOIN tags USING (run_uuid)
    WHERE experiments.name = '{name}' AND tags.key = 'thpsweep.point'
"""


def n_recorded(database: PostgresServer, name: str) -> int:
    """Count the runs of points in an experiment, past whoever writes them."""
    return int(database.ask("mlflow", N_RECORDED.format(name=name)))


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresServer]:
    """Run one PostgreSQL for all tests of this file."""
    with postgres() as server:
        yield server


@pytest.fixture(scope="module")
def backend(database: PostgresServer) -> str:
    """Make the database that the MLflow server has."""
    return database.database("mlflow")


@pytest.fixture(scope="module")
def server(backend: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """Run an MLflow server on it, with a password."""
    with running(tmp_path_factory.mktemp("mlflow"), backend, password=PASSWORD) as made:
        yield made


@pytest.mark.parametrize(("way", "n_points"), [("http", 40), ("postgresql", 80)])
def test_what_is_written_to_goes_down_in_the_middle_and_comes_back(
    way: str,
    n_points: int,
    database: PostgresServer,
    backend: str,
    server: MlflowServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uri, other_side = (server.uri, server) if way == "http" else (backend, database)
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "WHERE": uri}
    overrides = [
        "workload.regions=128",
        "run.replicates=8",
        f"sharing.degree=range(2,{n_points + 2})",
        f"sweep.name={way}",
    ]
    thpsweep = [sys.executable, "-m", "thpsweep"]
    command = [*thpsweep, "sweep", *SMALL, *overrides, "sweep.tracking_uri=${oc.env:WHERE}"]
    process = subprocess.Popen(command, cwd=tmp_path, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "120")  # of this process, which only looks
    try:
        while n_recorded(database, way) == 0:
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        process.send_signal(signal.SIGSTOP)  # else a fast machine is through before the other side is down
        assert process.poll() is None and 0 < n_recorded(database, way) < n_points
        other_side.stop()
        process.send_signal(signal.SIGCONT)
        time.sleep(2)
        other_side.start()
        out, err = process.communicate(timeout=400)
    finally:
        process.kill()
    assert process.returncode == 0, err
    said = [subprocess.run([*thpsweep, "sync"], cwd=tmp_path, env=variables, capture_output=True) for _ in range(2)]
    assert [done.returncode for done in said] == [0, 0] and said[1].stdout.endswith(b": 0 runs added\n"), said
    (directory,) = (path.parent for path in tmp_path.glob("sweeps/*/journal.jsonl"))
    alone = target(tmp_path / "alone", None)
    track(directory, target=alone)
    there = recorded(uri, way)
    assert len(there) == n_points and there == recorded(alone.uri, way)
    secret = (PASSWORD if way == "http" else database.password).encode()
    assert secret not in out + err + b"".join(done.stdout + done.stderr for done in said)
    assert [path for path in directory.parent.rglob("*") if path.is_file() and secret in path.read_bytes()] == []
