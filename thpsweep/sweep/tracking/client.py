"""Open what a target names, and write runs through MLflow's public API, one after the other: servers need that."""

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import unquote, urlsplit

# Read when MLflow is imported or when it asks a server, and inherited by `thpsweep ui`.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # else a line a run
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")  # its 120 s and seven retries are too long to wait for:
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # the journal has it all, and we ask again

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, ViewType
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from thpsweep.errors import SweepError
from thpsweep.sweep.tracking import first_page, views
from thpsweep.sweep.tracking.reconcile import Recorded
from thpsweep.sweep.tracking.run import FINISHED_AT, PARENT, POINT, RUNNING, SWEEP, TrackedRun
from thpsweep.sweep.tracking.target import Target, check_database, uri_of

ACTIVE = "active"
"""Lifecycle stage of what is not in the trash."""

LOUD = ("mlflow.store.db.utils", "urllib3.connectionpool")
"""Loggers that print what is raised as well, stack and all, or each attempt to reach a server that is down."""


class Below(NamedTuple):
    """The runs below a sweep's own: by point, and the ids of those whose tags a user changed."""

    points: dict[str, list[Recorded]]
    unlabelled: list[str]

    @classmethod
    def of(cls, rows: Iterable[Sequence[Any]]) -> Self:
        """Sort rows of point, finishing time, run id, status and lifecycle stage."""
        below = cls({}, [])
        for point, finished, run_id, status, stage in rows:
            if point is None or finished is None:
                below.unlabelled.append(run_id)
                continue
            run = Recorded(run_id, finished, status != RUNNING, stage == ACTIVE)
            below.points.setdefault(point, []).append(run)
        return below


class ApiWriter:
    """Write runs through MlflowClient. Stopped in between it leaves a RUNNING run, which is completed later."""

    batch = 1

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def recorded(self, experiment_id: str, parent_id: str) -> Below:
        """Give what is there below a sweep's run, also in the trash."""
        return Below.of(self.rows(experiment_id, parent_id))

    def rows(self, experiment_id: str, parent_id: str) -> Iterator[tuple[str | None, ...]]:
        """Give point, finishing time, run id, status and lifecycle stage of each run below a sweep's own."""
        for run in search(self._client, [experiment_id], f"tags.`{PARENT}` = '{parent_id}'", ViewType.ALL):
            tags, info = run.data.tags, run.info
            yield tags.get(POINT), tags.get(FINISHED_AT), info.run_id, info.status, info.lifecycle_stage

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


def rows_of(target: Target, sweep: str) -> list[list[Any]]:
    """Give what `lag.compare` wants of the runs below a sweep's own; make nothing."""
    rows = []
    with quiet():
        client = MlflowClient(tracking_uri=target.uri)
        experiments = {found.experiment_id: found for found in client.search_experiments(view_type=ViewType.ALL)}
        for own in search(client, list(experiments), f"tags.`{SWEEP}` = '{sweep}'", ViewType.ALL):
            found = experiments[own.info.experiment_id]
            below = [*ApiWriter(client).rows(found.experiment_id, own.info.run_id)] or [(None,) * 5]
            rows += [[found.lifecycle_stage, found.name, *row] for row in below]
    return rows


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
