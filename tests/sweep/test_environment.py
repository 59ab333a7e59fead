"""Does a sweep remember what it was run with?"""

import json
import subprocess
from pathlib import Path

import pytest

from thpsweep.sweep.records import environment


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder that passes for the package."""
    (tmp_path / "__init__.py").write_text("")
    monkeypatch.setattr(environment.thpsweep, "__file__", str(tmp_path / "__init__.py"))
    return tmp_path


def git(package: Path, *command: str) -> str:
    """Run git there."""
    call = ["git", "-C", str(package), "-c", "user.name=a", "-c", "user.email=a@b", *command]
    return subprocess.run(call, check=True, capture_output=True, text=True).stdout.strip()


def test_a_package_that_is_not_checked_out_has_no_commit(package: Path) -> None:
    assert environment._checkout.__wrapped__() == {}


def test_a_checked_out_package_has_its_commit_and_what_changed_since(package: Path) -> None:
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"]):
        git(package, *command)
    (package / "__init__.py").write_text("changed = True\n")
    found = environment._checkout.__wrapped__()
    assert found["commit"] == git(package, "rev-parse", "HEAD")
    assert found["changes"] == ["M __init__.py"] and "+changed = True" in found["diff"]


def test_a_long_diff_is_cut(package: Path) -> None:
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"]):
        git(package, *command)
    (package / "__init__.py").write_text("x" * 300_000)
    diff = environment._checkout.__wrapped__()["diff"]
    assert len(diff) < environment.MAX_DIFF_CHARACTERS + 100 and "characters in all" in diff


def test_packages_are_those_that_thpsweep_requires() -> None:
    found = environment.environment()["packages"]
    assert {"mlflow", "numpy", "hydra-core"} <= set(found) and "pytest" not in found


def test_a_start_in_the_same_environment_adds_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment.record(tmp_path)
    environment.record(tmp_path)
    file = tmp_path / environment.FILE_NAME
    assert len(file.read_text().splitlines()) == 1
    monkeypatch.setattr(environment, "_user", lambda: "ada")
    environment.record(tmp_path)
    assert [json.loads(line)["user"] for line in file.read_text().splitlines()][1] == "ada"
    assert environment.latest(tmp_path)["user"] == "ada"


def test_a_torn_last_line_does_not_count(tmp_path: Path) -> None:
    (tmp_path / environment.FILE_NAME).write_text('{"user": "ada"}\n{"use')
    assert environment.latest(tmp_path) == {"user": "ada"}
