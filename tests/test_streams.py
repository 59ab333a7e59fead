"""Standard streams that are closed, full or of few characters lose nothing; a file that says no is one line."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SMALL = ["workload=prefork", "workload.regions=1", "run.replicates=2", "run.duration_s=300", "hydra/launcher=serial"]
SWEEP = ["sweep", *SMALL, "sharing.degree=2"]


def run(
    work: Path, arguments: list[str], redirected: str = "", **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run a command line of a shell, whose redirections Python has no other way to ask for."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    variables.pop("HYDRA_FULL_ERROR", None)
    shell = ["sh", "-c", f'"$@" {redirected}', "sh", sys.executable, "-m", "thpsweep", *arguments]
    given: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 120}
    return subprocess.run(shell, cwd=work, env=variables, **given)


def test_what_is_opened_takes_the_place_of_no_closed_stream(tmp_path: Path) -> None:
    code = "from thpsweep import streams; streams.prepare(); print(open('found', 'w').fileno(), file=open('said', 'w'))"
    shell = ["sh", "-c", '"$@" <&- >&- 2>&-', "sh", sys.executable, "-c", code]
    subprocess.run(shell, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
    assert int((tmp_path / "said").read_text()) > 2


def test_errors_do_not_go_to_standard_output_where_there_is_no_other(tmp_path: Path) -> None:
    ended = run(tmp_path, ["status"], "2>&-")
    assert ended.returncode == 2 and ended.stdout == ""


def test_a_sweep_without_any_stream_is_recorded(tmp_path: Path) -> None:
    assert run(tmp_path, SWEEP, "<&- >&- 2>&-").returncode == 0
    assert run(tmp_path, ["status"]).stdout.splitlines()[2].endswith("MLflow is in step")


def test_a_stream_that_knows_no_dashes_gets_question_marks_and_the_files_are_whole(tmp_path: Path) -> None:
    ended = run(tmp_path, [*SWEEP, "sweep.track=false"], PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert ended.returncode == 0 and "inplace" in ended.stdout and "?" in ended.stdout, ended.stderr
    (table,) = tmp_path.glob("sweeps/*/table.txt")
    assert "─" in table.read_text(encoding="utf-8")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_standard_output_is_one_line(tmp_path: Path) -> None:
    ended = run(tmp_path, ["plan", *SMALL, "sharing.degree=2"], ">/dev/full")
    assert (ended.returncode, ended.stderr) == (3, "thpsweep: standard output: No space left on device\n")


def test_a_file_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    assert run(tmp_path, [*SWEEP, "sweep.track=false"]).returncode == 0
    (journal,) = tmp_path.glob("sweeps/*/journal.jsonl")
    journal.unlink()
    journal.mkdir()
    ended = run(tmp_path, [*SWEEP, "sweep.track=false"])
    assert (ended.returncode, ended.stderr) == (2, f"thpsweep: {journal}: Is a directory\n")
