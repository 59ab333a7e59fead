"""Say how far MLflow is behind a journal, changing nothing; SQLite is asked directly, as MLflow takes seconds to start."""

import contextlib
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from thpsweep.sweep.tracking.target import Target

RECORDED = """
    SELECT point.value, finished.value FROM tags sweep
    JOIN runs parent_run ON parent_run.run_uuid = sweep.run_uuid AND parent_run.lifecycle_stage = 'active'
    JOIN tags parent ON parent.key = 'mlflow.parentRunId' AND parent.value = sweep.run_uuid
    JOIN runs ON runs.run_uuid = parent.run_uuid AND runs.lifecycle_stage = 'active' AND runs.status != 'RUNNING'
    JOIN tags point ON point.key = 'thpsweep.point' AND point.run_uuid = runs.run_uuid
    JOIN tags finished ON finished.key = 'thpsweep.finished' AND finished.run_uuid = runs.run_uuid
    WHERE sweep.key = 'thpsweep.sweep' AND sweep.value = ?
"""


def behind(target: Target, sweep: str, finished: Mapping[str, str]) -> str:
    """Compare the runs that are there with when each point's result came in, in words."""
    try:
        recorded = _in_file(target.file, sweep) if target.file else _through_mlflow(target, sweep)
    except Exception as problem:  # whatever a database or a server may raise: a question must not fail on it
        return f"MLflow cannot be asked ({target.why(problem)[:200]})"
    missing = sum(recorded.get(point) != at for point, at in finished.items())
    return f"MLflow is {missing} runs behind" if missing else "MLflow is in step"


def _in_file(file: Path, sweep: str) -> dict[str, str]:
    if not file.exists():
        return {}
    with contextlib.closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        return dict(connection.execute(RECORDED, [sweep]))


def _through_mlflow(target: Target, sweep: str) -> dict[str, str]:
    from thpsweep.sweep.tracking.client import recorded_of

    return recorded_of(target, sweep)
