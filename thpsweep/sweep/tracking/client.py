"""Open what a target names, and write runs through MLflow's public API, one after the other: servers need that."""

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

# Read when MLflow is imported or when it asks a server, and inherited by `thpsweep ui`.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # else a line a run
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")  # its 120 s and seven retries suit nobody who waits:
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # the journal has it all, and we ask again

from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from thpsweep.errors import SweepError
from thpsweep.sweep.tracking import views
from thpsweep.sweep.tracking.run import FINISHED_AT, PARENT, POINT, RUNNING, SWEEP, Recorded, Run
from thpsweep.sweep.tracking.target import Target, check_database, uri_of

EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",  # else lists of experiments call it GenAI
    "mlflow.experiment.primaryMetric.name": views.NET,
}

LOUD = ("mlflow.store.db.utils", "urllib3.connectionpool")
"""Loggers that print what is raised as well, stack and all, or each attempt to reach a server that is down."""


class ApiWriter:
    """Write runs through MlflowClient. Stopped in between it leaves a RUNNING run, which is completed later."""

    batch = 1

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def recorded(self, experiment_id: str, parent_id: str) -> dict[str, Recorded]:
        """Give what is there below a sweep's run, by point."""
        found = search(self._client, experiment_id, PARENT, parent_id)
        return {
            run.data.tags[POINT]: Recorded(run.info.run_id, run.data.tags[FINISHED_AT], run.info.status != RUNNING)
            for run in found
        }

    def write(self, experiment_id: str, runs: Sequence[Run]) -> list[str]:
        """Write runs; give their ids."""
        return [self._write(experiment_id, run) for run in runs]

    def _write(self, experiment_id: str, run: Run) -> str:
        tags = dict(run.tags)
        made = self._client.create_run(experiment_id, start_time=run.start_ms, tags=tags, run_name=run.name)
        self.complete(made.info.run_id, run)
        return str(made.info.run_id)

    def complete(self, run_id: str, run: Run) -> None:
        """Write what a run may lack; terminating it comes last and says that it is whole."""
        self._client.log_batch(  # at most 30 + 3 x 50 metrics, of the 1,000 that a batch may have; known ones stay single
            run_id,
            metrics=[Metric(*step) for step in run.metrics],
            params=[Param(name, value) for name, value in run.params.items()],
        )
        self._client.set_terminated(run_id, run.status, run.end_ms)


def connect(target: Target) -> MlflowClient:
    """Connect, making the database where there is none. Raises: SweepError where it is unusable."""
    if target.file is not None:
        if not target.file.exists():
            create(target.file, target.artefacts_uri)
        check_database(target.file)
    try:
        if not target.is_server:  # a new database's own experiment then has its artefacts where ours have them
            store(target)
        return MlflowClient(tracking_uri=target.uri)
    except MlflowException as error:  # a database of another MLflow release
        first_line = str(error).splitlines()[0]
        where = target.shown(str(target.file or target.uri))
        raise SweepError(f"{where}: {first_line} (or move it away: it is rebuilt from journals)") from error


def recorded_of(target: Target, sweep: str) -> dict[str, str]:
    """Give the points of a sweep that have a whole run, and when the result of each came in; make nothing."""
    with quiet():
        client = MlflowClient(tracking_uri=target.uri)
        every = [experiment.experiment_id for experiment in client.search_experiments()]
        for parent in client.search_runs(every, f"tags.`{SWEEP}` = '{sweep}'"):
            found = ApiWriter(client).recorded(parent.info.experiment_id, parent.info.run_id)
            return {point: recorded.finished for point, recorded in found.items() if recorded.whole}
    return {}


def store(target: Target) -> Any:
    """Open MLflow's own store of a database; Any, as it has no annotations."""
    made: Any = SqlAlchemyStore
    return made(target.uri, target.artefacts_uri)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let what goes wrong be said once, by whoever catches it."""
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
    """Create and migrate under another name, so that whoever sees the database sees all its tables."""
    unfinished = file.with_name(f".{file.stem}-unfinished.db")
    unfinished.unlink(missing_ok=True)
    with quiet():
        store(Target(uri_of(unfinished), Path(unquote(urlsplit(artefacts_uri).path)))).engine.dispose()
    with contextlib.closing(sqlite3.connect(unfinished)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")  # stays with the file; halves the time of a run
    unfinished.rename(file)


def experiment(client: MlflowClient, target: Target, name: str, varied: Sequence[str] = ()) -> str:
    """Find or make the experiment of that name, with a view for what is `varied` if it has none; give its id."""
    view = {views.TAG: views.view(varied)}
    found = client.get_experiment_by_name(name)
    if found is None:
        location = None if target.is_server else target.artefacts_uri
        created: str = client.create_experiment(name, artifact_location=location, tags=EXPERIMENT_TAGS | view)
        return created
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    for key, value in (EXPERIMENT_TAGS | view).items():
        if key not in found.tags:  # what somebody changed in the UI is theirs
            client.set_experiment_tag(found.experiment_id, key, value)
    return str(found.experiment_id)


def search(client: MlflowClient, experiment_id: str, tag: str, value: str) -> Iterator[MlflowRun]:
    """Give the runs with a tag, page by page."""
    token = None
    while True:
        page = client.search_runs([experiment_id], f"tags.`{tag}` = '{value}'", max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
