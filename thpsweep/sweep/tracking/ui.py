"""The command that shows recorded runs in a browser; needs no MLflow in this process."""

import importlib.metadata
import importlib.util
import re
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import sqlalchemy

from thpsweep.errors import SweepError
from thpsweep.sweep.tracking import views
from thpsweep.sweep.tracking.first_page import PAGE
from thpsweep.sweep.tracking.target import Target, check_database

NEWEST = 3
"""Experiments that links are given for; the UI lists the others."""

EXPERIMENTS = """
    SELECT experiments.name, experiments.experiment_id, count(point.run_uuid) FROM experiments
    JOIN experiment_tags view_tag ON view_tag.experiment_id = experiments.experiment_id AND view_tag.key = :view
    JOIN runs ON runs.experiment_id = experiments.experiment_id AND runs.lifecycle_stage = 'active'
    LEFT JOIN tags point ON point.run_uuid = runs.run_uuid AND point.key = 'thpsweep.point'
    WHERE experiments.lifecycle_stage = 'active'
    GROUP BY experiments.name, experiments.experiment_id ORDER BY max(runs.start_time) DESC
"""

SETTINGS = {
    # Else seven processes of 50 MB wait for jobs of its GenAI pages. Source: mlflow 3.17.2 mlflow/server/__init__.py
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def ui_command(target: Target, port: int) -> tuple[list[str], Mapping[str, str]]:
    """Give the command that shows a database's runs in a browser of this machine and of no other, and its variables.

    The database is named in a variable: any user can read a command line, and the URI may hold a password.
    Raises: SweepError where there is no SQLite database yet, or something else under its name.
    """
    if target.file is not None and not target.file.exists():
        raise SweepError(f"{target.file}: no such file; a finished `thpsweep sweep` makes it")
    if target.file is not None:
        check_database(target.file)
    where = ["--artifacts-destination", target.artefacts_uri, "--host", "127.0.0.1", "--port", str(port)]
    # One worker: SQLite gains nothing from four, and each takes 200 MB.
    return [sys.executable, "-m", "mlflow", "ui", *where, "--workers", "1"], {
        "MLFLOW_BACKEND_STORE_URI": target.uri,
        **SETTINGS,
    }


def check_port(port: int) -> None:
    """Find out what the server would say in a page of its own. Raises: SweepError where nobody can listen on it."""
    if not 1 <= port <= 65535:
        raise SweepError(f"--port {port}: expected 1..65535")
    try:
        with socket.socket() as trial:
            trial.setsockopt(
                socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
            )  # as servers do: not held up by one that has ended
            trial.bind(("127.0.0.1", port))
    except OSError as problem:
        raise SweepError(f"--port {port}: {problem.strerror}; expected a port that is free") from problem


def links(target: Target, port: int) -> list[str]:
    """Say where the UI shows the newest experiments, their table and their charts, and what the charts leave out.

    Raises: SweepError where the database cannot be read, or is of another release of MLflow.
    """
    engine = sqlalchemy.create_engine(target.uri)
    try:
        with engine.connect() as connection:
            revision = connection.execute(sqlalchemy.text("SELECT version_num FROM alembic_version")).scalar()
            check_revision(target, str(revision))
            rows = connection.execute(sqlalchemy.text(EXPERIMENTS), {"view": views.TAG}).fetchmany(NEWEST)
    except sqlalchemy.exc.DBAPIError as problem:
        why = target.shown(" ".join(str(problem.orig).split()))
        raise SweepError(f"{target.shown(target.uri)}: cannot be read ({why[:300]})") from problem
    finally:
        engine.dispose()
    lines = []
    for name, experiment_id, n_points in rows:
        table, charts = views.links(f"http://127.0.0.1:{port}", str(experiment_id))
        lines += [f"{name}, table:  {table}", f"{name}, charts: {charts}"]
        if n_points > PAGE:
            drawn = f"the charts draw {PAGE} of {n_points} points, spread over policies and values"
            lines.append(f"{name}: {drawn}; {n_points - PAGE} are not drawn. {views.EVERYWHERE.capitalize()}")
    return lines


def check_revision(target: Target, revision: str) -> None:
    """Find out whether a database's tables are those of the MLflow that is installed. Raises: SweepError."""
    known = _revisions()
    if not known or revision == known[-1]:
        return
    release = importlib.metadata.version("mlflow")
    where = target.shown(str(target.file or target.uri))
    uri = target.shown(target.uri)
    advice = (
        f"make a copy, then `mlflow db upgrade {uri}`"
        if revision in known
        else "install the MLflow that made it, or a newer one"
    )
    text = f"tables of another MLflow than {release} ({revision}; expected {known[-1]}); {advice}"
    raise SweepError(f"{where}: {text}; or move it away: `thpsweep sync` makes it anew from the journals")


def _revisions() -> list[str]:
    """List the revisions of MLflow's tables, the newest last, from its migrations; importing MLflow takes seconds."""
    spec = importlib.util.find_spec("mlflow")
    folders = [
        Path(path) / "store" / "db_migrations" / "versions" for path in (spec and spec.submodule_search_locations) or ()
    ]
    texts = [file.read_text(encoding="utf-8") for folder in folders for file in folder.glob("*.py")]
    revisions = [re.findall(r"^(?:down_)?revision(?:: [^=]+)? = (.+)$", text, re.MULTILINE) for text in texts]
    before = {pair[0].strip("\"' "): pair[1].strip("\"' ") for pair in revisions if len(pair) == 2}
    newest = set(before) - set(before.values())
    return [*sorted(set(before) - newest), *newest] if len(newest) == 1 else []
