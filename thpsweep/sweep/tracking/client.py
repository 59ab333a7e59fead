"""Open what a target names; read and write runs through MLflow's public API, which is all that a server has."""

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

# Read when MLflow is imported or when it asks a server, and inherited by `thpsweep ui`.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # else a line a run
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")  # its 120 s and seven retries are too long to wait for:
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # the journal has it all, and we ask again

import sqlalchemy
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, ViewType
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from thpsweep.errors import SweepError
from thpsweep.sweep.tracking import first_page, views
from thpsweep.sweep.tracking.lookup import Experiment, OwnRun, Params, PointRun, Reader
from thpsweep.sweep.tracking.names import ACTIVE, DIRECTORY, FINISHED_AT, N_POINTS, PARENT, POINT, RUNNING, SWEEP
from thpsweep.sweep.tracking.run import TrackedRun
from thpsweep.sweep.tracking.sql_reader import SqlReader
from thpsweep.sweep.tracking.target import Target, check_database, uri_of

LOUD = ("mlflow.store.db.utils", "urllib3.connectionpool")
"""Loggers that print what is raised as well, stack and all, or each attempt to reach a server that is down."""


class ApiReader:
    """A Reader through MlflowClient, as servers need."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def experiments(self) -> list[Experiment]:
        """List all experiments."""
        experiments: list[Experiment] = []
        token = None
        while True:
            page = self._client.search_experiments(view_type=ViewType.ALL, max_results=1000, page_token=token)
            experiments += [Experiment(one.experiment_id, one.name, one.lifecycle_stage == ACTIVE) for one in page]
            token = page.token
            if not token:
                return experiments

    def own_runs(self, sweep: str, begun_ms: int) -> list[OwnRun]:
        """List the runs whose tag names the sweep; where there are none, those that count points and began then."""
        everywhere = [experiment.id for experiment in self.experiments()]
        runs = [*search(self._client, everywhere, f"tags.`{SWEEP}` = '{sweep}'", ViewType.ALL)]
        if not runs:
            same_start = search(self._client, everywhere, f"attributes.start_time = {begun_ms}", ViewType.ALL)
            runs = [run for run in same_start if N_POINTS in run.data.metrics]
        return [
            OwnRun(
                run.info.run_id,
                run.info.experiment_id,
                run.info.lifecycle_stage == ACTIVE,
                run.data.tags.get(SWEEP),
                run.data.tags.get(DIRECTORY),
            )
            for run in runs
        ]

    def point_runs(self, own: str) -> list[PointRun]:
        """List the runs below a sweep's own."""
        return [
            PointRun(
                run.info.run_id,
                run.data.tags.get(POINT),
                run.data.tags.get(FINISHED_AT),
                run.info.status != RUNNING,
                run.info.lifecycle_stage == ACTIVE,
                run.info.start_time,
            )
            for run in self._below(own)
        ]

    def params(self, own: str) -> dict[str, Params]:
        """Give the params of those runs below a sweep's own that lack a tag by which they are known."""
        lacking = (run for run in self._below(own) if not {POINT, FINISHED_AT} <= run.data.tags.keys())
        return {run.info.run_id: [*run.data.params.items()] for run in lacking}

    def _below(self, own: str) -> Iterator[MlflowRun]:
        experiment_id = self._client.get_run(own).info.experiment_id
        return search(self._client, [experiment_id], f"tags.`{PARENT}` = '{own}'", ViewType.ALL)


def api_reader(target: Target) -> ApiReader:
    """Give a reader of what is there; nothing is made."""
    return ApiReader(MlflowClient(tracking_uri=target.uri))


def reader(client: MlflowClient, store: Any) -> Reader:
    """Give what reads best: SQL of a database, `store` being MLflow's own of it; the public API of a server."""
    if store is None:
        return ApiReader(client)

    def execute(statement: str, values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        quote = store.engine.dialect.identifier_preparer.initial_quote
        with store.engine.connect() as connection:
            text = sqlalchemy.text(statement.replace('"', quote) if quote == "`" else statement)
            rows: Sequence[Sequence[Any]] = connection.execute(text, dict(values)).fetchall()
        return rows

    return SqlReader(execute)


class ApiWriter:
    """Write runs through MlflowClient. Stopped in between it leaves a RUNNING run, which is completed later."""

    batch = 1

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def write(self, experiment_id: str, runs: Sequence[TrackedRun]) -> list[str]:
        """Write runs; give their ids."""
        return [self._write(experiment_id, run) for run in runs]

    def _write(self, experiment_id: str, run: TrackedRun) -> str:
        tags = dict(run.tags)
        made = self._client.create_run(experiment_id, start_time=run.start_ms, tags=tags, run_name=run.name)
        self.complete(made.info.run_id, run)
        return str(made.info.run_id)

    def complete(self, run_id: str, run: TrackedRun) -> None:
        """Write what a run may lack; terminating it comes last and says that it is whole."""
        self._client.log_batch(  # at most 30 + 3 x 50 metrics, of the 1,000 that a batch may have; known ones stay single
            run_id,
            metrics=[Metric(*step) for step in run.metrics],
            params=[Param(name, value) for name, value in run.params.items()],
        )
        self._client.set_terminated(run_id, run.status, run.end_ms)

    def complete_texts(self, experiment_id: str, axes: Mapping[str, str]) -> None:
        """Give the runs of points that were written before an axis needed texts the param that has them."""
        if all(axis == key for key, axis in axes.items()):
            return
        for run in search(self._client, [experiment_id], views.POINTS_ONLY):
            known = run.data.params
            lacking = {key: text for key, text in first_page.text_params(known, axes).items() if key not in known}
            if lacking:
                self._client.log_batch(run.info.run_id, params=[Param(*pair) for pair in lacking.items()])


def connect(target: Target) -> tuple[MlflowClient, Any]:
    """Connect, making the database where there is none; give MLflow's store of a database, too, None of a server.

    Disposing of the store's engine closes the database, so that SQLite puts its -wal and -shm away: MLflow has one
    engine for each URI and process. Raises: SweepError where it is unusable.
    """
    if target.file is not None:
        if not target.file.exists():
            create(target.file, target.artefacts_uri)
        check_database(target.file)
    try:
        # Before the client: a new database's own experiment then has its artefacts where ours have them.
        opened = None if target.is_server else store(target)
        return MlflowClient(tracking_uri=target.uri), opened
    except MlflowException as error:  # a database of another MLflow release
        first_line = str(error).splitlines()[0]
        where = target.shown(str(target.file or target.uri))
        raise SweepError(f"{where}: {first_line} (or move it away: it is rebuilt from journals)") from error


def store(target: Target) -> Any:
    """Open MLflow's own store of a database; Any, as it has no annotations."""
    made: Any = SqlAlchemyStore
    return made(target.uri, target.artefacts_uri)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence loggers that repeat an exception, so that it is reported once, where it is caught."""
    loggers = [logging.getLogger(name) for name in LOUD]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def create(file: Path, artefacts_uri: str) -> None:
    """Create and migrate under another name, so that a reader of the database finds all its tables."""
    unfinished = file.with_name(f".{file.stem}-unfinished.db")
    unfinished.unlink(missing_ok=True)
    with quiet():
        store(Target(uri_of(unfinished), Path(unquote(urlsplit(artefacts_uri).path)))).engine.dispose()
    with contextlib.closing(sqlite3.connect(unfinished)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")  # stays with the file; halves the time of a run
    unfinished.rename(file)


def search(
    client: MlflowClient, experiment_ids: Sequence[str], text: str, view: int = ViewType.ACTIVE_ONLY
) -> Iterator[MlflowRun]:
    """Give the runs that a filter finds, page by page."""
    token = None
    while experiment_ids:
        page = client.search_runs(list(experiment_ids), text, view, max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
