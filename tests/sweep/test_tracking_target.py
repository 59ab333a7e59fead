"""Is a tracking URI that cannot work refused before anything runs, and does no password get out?"""

from pathlib import Path

import pytest

from thpsweep.errors import OptionError, SweepError
from thpsweep.sweep.tracking.target import target
from thpsweep.sweep.tracking.ui import ui_command


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
    with pytest.raises(OptionError, match=r"sweep\.tracking_uri=.*: allowed is "):
        target(tmp_path, uri)


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="allowed is a file"):
        target(tmp_path, f"sqlite:///{tmp_path}")


@pytest.mark.parametrize("uri", ["http://ada:hush@host:5000", "nonsense://ada:hush@host"])
def test_a_typed_password_is_refused_and_not_repeated(tmp_path: Path, uri: str) -> None:
    with pytest.raises(OptionError) as refusal:
        target(tmp_path, uri)
    assert "hush" not in str(refusal.value)


def test_a_password_from_the_environment_is_taken_and_kept_out_of_messages(tmp_path: Path) -> None:
    found = target(tmp_path, "http://ada:hush@host:5000", literal=False)
    assert found.shown("no answer from http://ada:hush@host:5000/api") == "no answer from http://ada:***@host:5000/api"


def test_the_ui_is_for_this_machine_only_and_finds_the_database(root: Path) -> None:
    command = ui_command(target(root, None), 5678)
    assert command[1:4] == ["-m", "mlflow", "ui"]
    options = dict(zip(command[4::2], command[5::2], strict=True))
    assert options["--host"] == "127.0.0.1"
    assert options["--port"] == "5678"
    assert options["--backend-store-uri"] == f"sqlite:///{root}/mlflow.db"


def test_the_ui_without_a_database_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match=r"mlflow\.db: no such file"):
        ui_command(target(tmp_path, None), 5000)
