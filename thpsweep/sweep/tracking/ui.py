"""The command that shows recorded runs in a browser; needs no MLflow in this process."""

import sys

from thpsweep.errors import SweepError
from thpsweep.sweep.tracking.target import Target, check_database


def ui_command(target: Target, port: int) -> list[str]:
    """Give the command that shows a database's runs in a browser of this machine and of no other.

    Raises: SweepError where there is no SQLite database yet, or something else under its name.
    """
    if target.file is not None and not target.file.exists():
        raise SweepError(f"{target.file}: no such file; a finished `thpsweep sweep` makes it")
    if target.file is not None:
        check_database(target.file)
    where = ["--backend-store-uri", target.uri, "--artifacts-destination", target.artefacts_uri]
    # One worker: SQLite gains nothing from four, and each takes 200 MB.
    return [sys.executable, "-m", "mlflow", "ui", *where, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
