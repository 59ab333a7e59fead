"""Is a tracking URI that cannot work refused before anything runs, and does no password get out?"""

import socket
import sqlite3
import sys
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from tests.sweep.journals import a_point, write
from thpsweep.errors import OptionError, SweepError
from thpsweep.sweep.tracking.target import target
from thpsweep.sweep.tracking.tracker import track
from thpsweep.sweep.tracking.ui import check_port, links, ui_command


def test_none_is_the_database_beside_the_sweeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = target(Path("sweeps"), None)
    assert found.uri == f"sqlite:///{tmp_path}/sweeps/mlflow.db"
    assert found.artefacts_uri == f"file://{tmp_path}/sweeps/artifacts"


def test_a_relative_database_is_refused_with_the_absolute_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError, match=f"sqlite:///{tmp_path}/mine.db"):
        target(tmp_path, "sqlite:///mine.db")


@pytest.mark.parametrize(
    "uri",
    [
        "mlruns",
        "file:///tmp/mlruns",
        "databricks",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:////nowhere/at/all/mlflow.db",
        "sqlite:////proc/mlflow.db/x",
        "http://",
        "http://host:port",
        "postgresql://",
        "oracle://host/db",
        "postgresql+nosuchdriver://host/db",
    ],
)
def test_what_cannot_work_is_refused_by_name_value_and_what_is_allowed(tmp_path: Path, uri: str) -> None:
    with pytest.raises(OptionError, match=r"sweep\.tracking_uri=.*: expected "):
        target(tmp_path, uri)


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="expected a file"):
        target(tmp_path, f"sqlite:///{tmp_path}")


URIS_WITH_PASSWORDS = [
    "http://ada:hush@host:5000",
    "nonsense://ada:hush@host",
    "postgresql://host/db?user=ada&password=hush",
]


@pytest.mark.parametrize("uri", URIS_WITH_PASSWORDS)
def test_a_typed_password_is_refused_and_not_repeated(tmp_path: Path, uri: str) -> None:
    with pytest.raises(OptionError) as refusal:
        target(tmp_path, uri)
    assert "hush" not in str(refusal.value)


def test_a_password_from_the_environment_is_taken_and_kept_out_of_messages(tmp_path: Path) -> None:
    found = target(tmp_path, "http://ada:hush@host:5000", literal=False)
    assert found.shown("no answer from http://ada:hush@host:5000/api") == "no answer from http://ada:***@host:5000/api"


def test_a_database_may_be_reached_through_its_socket(tmp_path: Path) -> None:
    uri = "postgresql://ada@/db?host=/run/postgresql&password=hush"
    assert target(tmp_path, uri, literal=False).shown(uri) == uri.replace("hush", "***")


def test_the_ui_is_for_this_machine_only_and_finds_the_database(root: Path) -> None:
    command, variables = ui_command(target(root, None), 5678)
    assert command[1:4] == ["-m", "mlflow", "ui"]
    options = dict(zip(command[4::2], command[5::2], strict=True))
    assert options["--host"] == "127.0.0.1"
    assert options["--port"] == "5678"
    assert variables["MLFLOW_BACKEND_STORE_URI"] == f"sqlite:///{root}/mlflow.db"
    assert variables["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"


def test_the_ui_without_a_database_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match=r"mlflow\.db: no such file"):
        ui_command(target(tmp_path, None), 5000)


def test_a_refusal_of_the_database_is_said_without_the_statement(root: Path) -> None:
    directory = write(root, [a_point(0)])
    with sqlite3.connect(root / "mlflow.db") as connection:
        connection.execute("ALTER TABLE runs RENAME TO walks")
    with pytest.raises(MlflowException, match=r"\[SQL: INSERT") as refusal:  # they put it into their text
        track(directory, target=target(root, None))
    text = target(root, None).why(refusal.value)
    assert text.startswith("OperationalError: table runs has no column") and "INSERT" not in text


@pytest.mark.parametrize(
    ("revision", "wanted"),
    [("451aebb31d03", "mlflow db upgrade sqlite:///"), ("of the future", "install the MLflow that made it")],
)
def test_the_ui_of_a_database_of_another_mlflow_is_one_line(root: Path, revision: str, wanted: str) -> None:
    where = target(root, None)
    assert links(where, 5000) == []
    with sqlite3.connect(root / "mlflow.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [revision])
    with pytest.raises(SweepError, match=wanted) as error:
        links(where, 5000)
    assert len(str(error.value).splitlines()) == 1 and "thpsweep sync" in str(error.value)


def test_a_port_that_nobody_can_listen_on_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SweepError, match=rf"--port {port}: Address already in use"):
            check_port(port)
    check_port(port)
    for wrong in (0, 65536):
        with pytest.raises(SweepError, match=r"1\.\.65535"):
            check_port(wrong)


def test_a_browser_is_told_no_password_and_no_user(tmp_path: Path) -> None:
    found = target(tmp_path, "https://ada:h%40sh@host:5000/mlflow", literal=False)
    assert found.without_user == found.shown_by(tmp_path, tmp_path / "a") == "https://host:5000/mlflow"
    assert found.shown("h%40sh h@sh") == "*** ***"


def test_the_hint_at_the_end_of_a_sweep_leads_to_where_its_runs_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here, there = tmp_path / "sweeps", tmp_path / "there"
    assert target(here, None).shown_by(here, here / "a") == "thpsweep ui"
    assert target(there, None).shown_by(there, there / "a") == f"thpsweep ui --dir {there}"
    spaced = tmp_path / "there too"
    assert target(spaced, None).shown_by(spaced, spaced / "a") == f"thpsweep ui --dir '{spaced}'"
    assert target(here, f"sqlite:///{tmp_path}/b.db").shown_by(here, here / "a") == f"thpsweep ui {here}/a"


def test_a_driver_that_is_missing_is_named_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(OptionError, match=r"sweep\.tracking_uri=.*pip install 'thpsweep\[postgresql\]'"):
        target(tmp_path, "postgresql://host/db")
