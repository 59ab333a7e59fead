"""The command that shows recorded runs in a browser; needs no MLflow in this process."""

import socket
import sys
from collections.abc import Mapping

import sqlalchemy

from thpsweep.errors import SweepError
from thpsweep.sweep.tracking import views
from thpsweep.sweep.tracking.target import Target, check_database

NEWEST = 3
"""Experiments that links are given for; the UI lists the others."""

EXPERIMENTS = """
    SELECT experiments.name, experiments.experiment_id FROM experiments
    JOIN experiment_tags view_tag ON view_tag.experiment_id = experiments.experiment_id AND view_tag.key = :view
    JOIN runs ON runs.experiment_id = experiments.experiment_id AND runs.lifecycle_stage = 'active'
    WHERE experiments.lifecycle_stage = 'active'
    GROUP BY experiments.name, experiments.experiment_id ORDER BY max(runs.start_time) DESC
"""


def ui_command(target: Target, port: int) -> tuple[list[str], Mapping[str, str]]:
    """Give the command that shows a database's runs in a browser of this machine and of no other, and its variables.

    The database is named in a variable: a command line is for everybody to read, and the URI may hold a password.
    Raises: SweepError where there is no SQLite database yet, or something else under its name.
    """
    if target.file is not None and not target.file.exists():
        raise SweepError(f"{target.file}: no such file; a finished `thpsweep sweep` makes it")
    if target.file is not None:
        check_database(target.file)
    where = ["--artifacts-destination", target.artefacts_uri, "--host", "127.0.0.1", "--port", str(port)]
    # One worker: SQLite gains nothing from four, and each takes 200 MB.
    return [sys.executable, "-m", "mlflow", "ui", *where, "--workers", "1"], {"MLFLOW_BACKEND_STORE_URI": target.uri}


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
    """Say where the UI shows the newest experiments: their table, and their charts.

    Raises: SweepError where the database cannot be read.
    """
    try:
        engine = sqlalchemy.create_engine(target.uri)
        with engine.connect() as connection:
            found = connection.execute(sqlalchemy.text(EXPERIMENTS), {"view": views.TAG}).fetchmany(NEWEST)
        engine.dispose()
    except sqlalchemy.exc.DBAPIError as problem:
        why = target.shown(" ".join(str(problem.orig).split()))
        raise SweepError(f"{target.shown(target.uri)}: cannot be read ({why[:300]})") from problem
    said = []
    for name, experiment_id in found:
        table, charts = views.links(f"http://127.0.0.1:{port}", str(experiment_id))
        said += [f"{name}, table:  {table}", f"{name}, charts: {charts}"]
    return said
