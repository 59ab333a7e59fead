"""Read MLflow's tables with SQL, as MLflow takes seconds to start.

Source: mlflow 3.17.2 mlflow/store/tracking/dbmodels/models.py
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from thpsweep.sweep.tracking.lookup import Experiment, OwnRun, Params, PointRun
from thpsweep.sweep.tracking.names import ACTIVE, DIRECTORY, FINISHED_AT, N_POINTS, PARENT, POINT, RUNNING, SWEEP

EXPERIMENTS = "SELECT experiment_id, name, lifecycle_stage FROM experiments"

OWN_RUNS = f"""
    SELECT runs.run_uuid, runs.experiment_id, runs.lifecycle_stage, sweep.value, directory.value
    FROM runs
    LEFT JOIN tags sweep ON sweep."key" = '{SWEEP}' AND sweep.run_uuid = runs.run_uuid
    LEFT JOIN tags directory ON directory."key" = '{DIRECTORY}' AND directory.run_uuid = runs.run_uuid
    LEFT JOIN latest_metrics counted ON counted."key" = '{N_POINTS}' AND counted.run_uuid = runs.run_uuid
    WHERE sweep.value = :sweep OR (runs.start_time = :begun_ms AND counted.run_uuid IS NOT NULL)
"""

BELOW = f"""
    JOIN tags parent ON parent."key" = '{PARENT}' AND parent.value = :own AND parent.run_uuid = runs.run_uuid
    LEFT JOIN tags point ON point."key" = '{POINT}' AND point.run_uuid = runs.run_uuid
    LEFT JOIN tags finished ON finished."key" = '{FINISHED_AT}' AND finished.run_uuid = runs.run_uuid
"""

POINT_RUNS = f"""
    SELECT runs.run_uuid, point.value, finished.value, runs.status, runs.lifecycle_stage, runs.start_time
    FROM runs {BELOW}
"""

PARAMS = f"""
    SELECT runs.run_uuid, params."key", params.value
    FROM runs {BELOW} JOIN params ON params.run_uuid = runs.run_uuid
    WHERE point.value IS NULL OR finished.value IS NULL
"""

Execute = Callable[[str, Mapping[str, Any]], Sequence[Sequence[Any]]]
"""Carries out a statement with values for its names, and gives its rows."""


class SqlReader:
    """A Reader of a database."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute

    def experiments(self) -> list[Experiment]:
        """List all experiments."""
        return [Experiment(str(key), name, stage == ACTIVE) for key, name, stage in self._execute(EXPERIMENTS, {})]

    def own_runs(self, sweep: str, begun_ms: int) -> list[OwnRun]:
        """List the runs whose tag names the sweep, and those that count points and began then."""
        rows = self._execute(OWN_RUNS, {"sweep": sweep, "begun_ms": begun_ms})
        return [OwnRun(run, str(experiment), stage == ACTIVE, *tags) for run, experiment, stage, *tags in rows]

    def point_runs(self, own: str) -> list[PointRun]:
        """List the runs below a sweep's own."""
        return [
            PointRun(run, point, finished, status != RUNNING, stage == ACTIVE, start_ms)
            for run, point, finished, status, stage, start_ms in self._execute(POINT_RUNS, {"own": own})
        ]

    def params(self, own: str) -> dict[str, Params]:
        """Give the params of those runs below a sweep's own that lack a tag by which they are known."""
        params: dict[str, list[tuple[str, str]]] = {}
        for run, key, value in self._execute(PARAMS, {"own": own}):
            params.setdefault(run, []).append((key, value))
        return dict(params)


@contextlib.contextmanager
def reading(file: Path) -> Iterator[SqlReader]:
    """Open a SQLite database for reading, leaving nothing beside it."""
    # SQLite's own mode=ro leaves -wal and -shm behind, which only a connection that may write puts away.
    mode = "rw" if os.access(file, os.W_OK) and os.access(file.parent, os.W_OK) else "ro"
    if mode == "ro" and not file.with_name(f"{file.name}-wal").exists():
        mode = "ro&immutable=1"  # else it would have to make -wal and -shm, which whoever may only read cannot
    with contextlib.closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode={mode}", uri=True)) as connection:
        connection.execute("PRAGMA query_only = 1")
        yield SqlReader(lambda statement, values: connection.execute(statement, values).fetchall())
