"""Bring MLflow in line with a sweep's journal: the only importer of MLflow, the writer of nothing that is not there."""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shlex
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when MLflow is imported, inherited by its server

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from thpsweep.errors import SweepError
from thpsweep.sweep import run_record, run_series
from thpsweep.sweep.journal import Sweep, read

EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",  # else the UI opens on its GenAI pages
    "mlflow.experiment.primaryMetric.name": "tradeoff/net_cpu_ms",
}
ARTEFACT_SUFFIXES = {".jsonl", ".yaml", ".json", ".txt", ".csv", ".md", ".png", ".html", ".parquet"}
RUNNING = "RUNNING"


def track(directory: Path, *, root: Path, final: bool = True) -> None:
    """Add to <root>/mlflow.db what the journal of `directory` has and the database lacks; a second call adds nothing.

    A sweep is an MLflow run with one nested run a finished point, in an experiment named as the sweep: MLflow compares
    within an experiment, and the runs of one saved question, repeated ones too, have the same params and metrics,
    while those of two questions would fill each other's tables with empty columns. The sweep's run is RUNNING as long
    as points lack a result, then FAILED if any point failed. With `final` off, as while a sweep runs, the files of
    `directory` (journal, config, table, plots) are not copied to it yet.
    Raises: SweepError where the database is unusable.
    """
    sweep = read(directory)
    root = root.absolute()
    with _locked(root):
        client = _client(root)
        experiment_id = _experiment_id(client, root, sweep.header["name"])
        parent = _parent(client, experiment_id, sweep)
        _track_points(client, parent, sweep)
        if final:
            _track_files(client, parent, directory)
        _track_summary(client, parent, sweep)


def ui_command(root: Path, port: int) -> list[str]:
    """Give the command that shows the runs below `root` in a browser of this machine and of no other.

    Raises: SweepError where there is no database yet, or something else under its name.
    """
    root = root.absolute()
    if not _database(root).exists():
        raise SweepError(f"{_database(root)}: no such file; a finished `thpsweep sweep` makes it")
    _check_database(root)
    where = ["--backend-store-uri", database_uri(root), "--artifacts-destination", _artefacts_uri(root)]
    # One worker: SQLite gains nothing from four, and each takes 200 MB.
    return [sys.executable, "-m", "mlflow", "ui", *where, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]


def database_uri(root: Path) -> str:
    """Give the tracking URI of the runs below `root`; absolute, as MLflow takes a relative one from where it runs."""
    return f"sqlite:///{_database(root.absolute())}"


def _database(root: Path) -> Path:
    return root / "mlflow.db"


def _artefacts_uri(root: Path) -> str:
    return (root / "artifacts").as_uri()


@contextlib.contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Let one process at a time create, migrate or write the database."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".mlflow.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _client(root: Path) -> MlflowClient:
    if not _database(root).exists():
        _create_database(root)
    _check_database(root)
    try:
        return MlflowClient(tracking_uri=database_uri(root))
    except MlflowException as error:  # a database of another MLflow release
        first_line = str(error).splitlines()[0]
        raise SweepError(f"{_database(root)}: {first_line} (or move it away: it is rebuilt from journals)") from error


def _create_database(root: Path) -> None:
    """Create and migrate under another name, so that whoever sees mlflow.db sees all its tables."""
    unfinished = root / ".mlflow-unfinished.db"
    unfinished.unlink(missing_ok=True)
    talkative = logging.getLogger("mlflow.store.db.utils")
    level = talkative.level
    talkative.setLevel(logging.WARNING)
    try:
        store: Any = SqlAlchemyStore  # has no annotations
        store(f"sqlite:///{unfinished}", _artefacts_uri(root)).engine.dispose()
    finally:
        talkative.setLevel(level)
    with contextlib.closing(sqlite3.connect(unfinished)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")  # stays with the file; halves the time of a run
    unfinished.rename(_database(root))


def _check_database(root: Path) -> None:
    """Find out at once what MLflow would find out after a minute of trying again."""
    try:
        with contextlib.closing(sqlite3.connect(_database(root))) as connection:
            connection.execute("SELECT count(*) FROM experiments").fetchone()
    except sqlite3.DatabaseError as error:
        raise SweepError(f"{_database(root)}: not an MLflow database ({error}); move it away") from error


def _experiment_id(client: MlflowClient, root: Path, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        created: str = client.create_experiment(name, artifact_location=_artefacts_uri(root), tags=EXPERIMENT_TAGS)
        return created
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _search(client: MlflowClient, experiment_id: str, tag: str, value: str) -> Iterator[Run]:
    token = None
    while True:
        page = client.search_runs([experiment_id], f"tags.`{tag}` = '{value}'", max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _parent(client: MlflowClient, experiment_id: str, sweep: Sweep) -> Run:
    header = sweep.header
    for found in _search(client, experiment_id, "thpsweep.sweep", header["sweep"]):
        return found
    name, command = sweep.directory.name, shlex.join(["thpsweep", "sweep", *header["overrides"]])
    tags = run_record.provenance(sweep.header) | {
        "thpsweep.sweep": header["sweep"],
        "thpsweep.directory": name,
        "mlflow.note.content": f"`{command}`\n\n{header['n_points']} points in `{name}`",
    }
    created_ms = run_record.epoch_ms(header["created"])
    return client.create_run(experiment_id, start_time=created_ms, tags=tags, run_name=name)


def _track_points(client: MlflowClient, parent: Run, sweep: Sweep) -> None:
    found = {
        run.data.tags["thpsweep.point"]: run
        for run in _search(client, parent.info.experiment_id, "mlflow.parentRunId", parent.info.run_id)
    }
    for point_id, record in sweep.points.items():
        result = sweep.results.get(point_id)
        if result is None:
            continue
        run = found.get(point_id)
        if run is not None and run.data.tags["thpsweep.finished"] != result["finished"]:
            client.delete_run(run.info.run_id)  # the point ran again: params and metrics of a run cannot be taken back
            run = None
        if run is None or run.info.status == RUNNING:  # RUNNING: whoever wrote it was stopped in between
            _log_point(client, parent, sweep, record, result, run)


def _log_point(
    client: MlflowClient, parent: Run, sweep: Sweep, record: dict[str, Any], result: dict[str, Any], run: Run | None
) -> None:
    """Write a point's run; terminating it comes last and says that it is whole."""
    start_ms, end_ms = run_record.times_ms(result)
    if run is None:
        tags = run_record.provenance(sweep.header) | run_record.point_tags(record, result)
        tags["mlflow.parentRunId"] = parent.info.run_id
        name = run_record.run_name(record)
        run = client.create_run(parent.info.experiment_id, start_time=start_ms, tags=tags, run_name=name)
    run_id = run.info.run_id
    totals = [Metric(name, value, end_ms, 0) for name, value in run_record.metrics(result).items()]
    client.log_batch(  # at most 30 + 3 x 50 metrics, of the 1,000 that a batch may have; those already there stay single
        run_id,
        metrics=totals + [Metric(*step) for step in run_series.values(result, start_ms, end_ms)],
        params=[Param(name, value) for name, value in run_record.params(record).items()],
    )
    client.log_text(run_id, json.dumps(record["point"], indent=2, sort_keys=True) + "\n", "point.json")
    client.set_terminated(run_id, "FINISHED" if result["state"] == "done" else "FAILED", end_ms)


def _track_files(client: MlflowClient, parent: Run, directory: Path) -> None:
    """Copy the sweep's files that are new or changed; a tag remembers what they held, wherever artefacts are kept."""
    known = json.loads(parent.data.tags.get("thpsweep.files", "{}"))
    files = [path for path in sorted(directory.iterdir()) if path.suffix in ARTEFACT_SUFFIXES and path.is_file()]
    held = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in files}
    for path in files:
        if known.get(path.name) != held[path.name]:
            client.log_artifact(parent.info.run_id, str(path))
    if known | held != known:
        client.set_tag(parent.info.run_id, "thpsweep.files", json.dumps(known | held, sort_keys=True))


def _track_summary(client: MlflowClient, parent: Run, sweep: Sweep) -> None:
    results = list(sweep.results.values())
    done = sum(result["state"] == "done" for result in results)
    counts = {"sweep/points": len(sweep.points), "sweep/done": done, "sweep/failed": len(results) - done}
    end_ms = max((run_record.epoch_ms(result["finished"]) for result in results), default=parent.info.start_time)
    run_id = parent.info.run_id
    if counts != {name: parent.data.metrics.get(name) for name in counts}:
        client.log_batch(run_id, metrics=[Metric(name, n, end_ms, len(results)) for name, n in counts.items()])
    status = RUNNING if len(results) < len(sweep.points) else "FINISHED" if done == len(results) else "FAILED"
    if status != RUNNING and (parent.info.status, parent.info.end_time) != (status, end_ms):
        client.set_terminated(run_id, status, end_ms)
