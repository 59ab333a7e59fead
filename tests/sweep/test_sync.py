"""Does `thpsweep sync` bring MLflow in line with journals, once, wherever they were to be recorded?"""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sweep.journals import a_point, a_result, header, write
from tests.sweep.recorded import dump, runs
from thpsweep.cli import main
from thpsweep.sweep.records import journal, writer

ROOT = Path(__file__).parents[2]
SMALL = ["workload=prefork", "workload.regions=1", "run.replicates=1", "run.duration_s=60", "hydra/launcher=serial"]


def sync(*arguments):
    """Run the command in this process; give its exit code."""
    with pytest.raises(SystemExit) as end:
        main(["sync", *map(str, arguments)])
    return end.value.code


@pytest.fixture
def sweep(root):
    """Give a finished sweep that MLflow does not know."""
    points = [a_point(index, degree=index + 1) for index in range(3)]
    return write(root, [*points, *(a_result(point, {"cost/cpu_ms": 1.0}) for point in points)])


@pytest.fixture
def closed_port():
    """Give a port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_it_adds_what_is_missing_and_the_second_time_nothing(sweep, root, capsys):
    assert sync(sweep) == 0
    assert capsys.readouterr().out == f"{sweep}: 3 runs added\n"
    before = dump(root)
    assert sync("--dir", root) == 0
    assert capsys.readouterr().out == f"{sweep}: 0 runs added\n"
    assert dump(root) == before and len(runs(root)[1]) == 3


def test_all_sweeps_are_synced_though_one_cannot_be(sweep, root, capsys):
    (root / "broken").mkdir()
    (root / "broken" / journal.FILE_NAME).write_text("")
    assert sync("--dir", root) == 1
    told = capsys.readouterr()
    assert "3 runs added" in told.out and len(told.err.splitlines()) == 1 and "broken" in told.err


def test_a_sweep_that_is_being_run_is_left_to_its_driver(sweep, root, capsys):
    with writer.writing(sweep, header("seed_debate", "5" * 64, 3), []):
        assert sync(sweep) == 0
    assert "is being run" in capsys.readouterr().out
    sync(sweep)
    assert "3 runs added" in capsys.readouterr().out


def test_it_goes_where_the_sweep_was_told_to_and_the_option_wins(sweep, tmp_path, migrated, capsys):
    for name in ("told", "option"):
        (tmp_path / name).mkdir()
        shutil.copy(migrated, tmp_path / name / "mlflow.db")
    (sweep / "config.yaml").write_text(f"sweep:\n  tracking_uri: sqlite:///{tmp_path}/told/mlflow.db\n")
    assert sync(sweep) == 0
    assert sync(sweep, "--tracking-uri", f"sqlite:///{tmp_path}/option/mlflow.db") == 0
    assert capsys.readouterr().out.count("3 runs added") == 2
    assert len(runs(tmp_path / "told")[1]) == len(runs(tmp_path / "option")[1]) == 3


def test_a_server_that_is_down_is_one_line_and_exit_code_1(sweep, closed_port, capsys):
    assert sync(sweep, "--tracking-uri", f"http://127.0.0.1:{closed_port}") == 1
    told = capsys.readouterr()
    assert (told.out, told.err) == (
        "",
        f"thpsweep: {sweep}: not recorded (http://127.0.0.1:{closed_port}: Connection refused)\n",
    )


def test_a_user_who_may_only_read_is_told_so_in_one_line(sweep, root):
    as_reader = [] if os.geteuid() else ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"]
    if as_reader and not shutil.which("setpriv"):
        pytest.skip("as root it needs setpriv (util-linux)")
    command = [*as_reader, sys.executable, "-m", "thpsweep", "sync", str(sweep)]
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        ended = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120
        )
    finally:
        for folder in folders:
            folder.chmod(0o755)
    why = f"{root}/.mlflow.lock: Permission denied; expected a user who may write there"
    assert (ended.returncode, ended.stderr) == (1, f"thpsweep: {sweep}: not recorded ({why})\n")


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["nowhere"], "nowhere: no sweep there"),
        (["--dir", "nowhere"], "nowhere: no sweeps there"),
        (["SWEEP", "--tracking-uri", "mlruns"], "--tracking-uri='mlruns': expected"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(sweep, arguments, wanted, capsys):
    assert sync(*(sweep if text == "SWEEP" else text for text in arguments)) == 2
    assert wanted in capsys.readouterr().err


def test_a_variable_that_is_not_set_is_named(sweep, capsys, monkeypatch):
    monkeypatch.delenv("MY_MLFLOW", raising=False)
    (sweep / "config.yaml").write_text("sweep:\n  tracking_uri: ${oc.env:MY_MLFLOW}\n")
    assert sync(sweep) == 2
    assert "MY_MLFLOW" in capsys.readouterr().err


def command(cwd, *arguments, **environment):
    """Run a command as a user does."""
    call = [sys.executable, "-m", "thpsweep", *arguments]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(cwd), **environment}
    return subprocess.run(call, cwd=cwd, env=variables, capture_output=True, text=True, timeout=120)


def test_a_password_in_an_override_is_refused_before_anything_is_written(tmp_path):
    ended = command(tmp_path, "sweep", *SMALL, "sweep.tracking_uri=http://ada:hush@127.0.0.1:1")
    assert (ended.returncode, len(ended.stderr.splitlines()), list(tmp_path.iterdir())) == (2, 1, [])
    assert "sweep.tracking_uri" in ended.stderr and "hush" not in ended.stderr


def test_a_password_in_the_environment_is_written_nowhere_and_the_sweep_goes_on_without_mlflow(tmp_path, closed_port):
    uri = f"http://ada:hush@127.0.0.1:{closed_port}"
    ended = command(tmp_path, "sweep", *SMALL, "sweep.tracking_uri=${oc.env:MY_MLFLOW}", MY_MLFLOW=uri)
    assert ended.returncode == 0, ended
    assert "thpsweep sync" in ended.stderr and "hush" not in ended.stdout + ended.stderr
    files = [path for path in (tmp_path / "sweeps").rglob("*") if path.is_file()]
    assert {"journal.jsonl", "config.yaml", "environment.jsonl"} <= {path.name for path in files}
    assert [path for path in files if b"hush" in path.read_bytes()] == []
