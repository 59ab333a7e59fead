"""The command line as a user meets it: exit codes, one line an error, nothing left behind by a refusal."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.place import SMALL, Place
from thpsweep.arguments import HYDRA_VERBS, PLAIN_VERBS
from thpsweep.model.workloads.captured import SAMPLES

ROOT = Path(__file__).parents[1]
SLOW = ["workload=prefork", "run.replicates=4", "sweep.track=false", "hydra/launcher=serial"]
IN_PROCESS = "hydra/launcher=serial"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A folder that no refused command may leave anything in."""
    place = Place(tmp_path_factory.mktemp("refused"))
    sample = next(SAMPLES.glob("*.npz")).read_bytes()
    (place.home / "torn.npz").write_bytes(sample[: len(sample) // 2])
    before = sorted(place.home.rglob("*"))
    yield place
    assert list(place.work.iterdir()) == []
    assert sorted(place.home.rglob("*")) == before


@pytest.mark.parametrize("verb", ["run", "sweep"])
@pytest.mark.parametrize(
    ("overrides", "wanted"),
    [
        (["sharing.degreee=3"], ["sharing.degreee=3", "degree"]),
        (["sharing.degree=0"], ["sharing.degree=0", "1..2000"]),
        (["sharing.degree=1000000000"], ["sharing.degree=1000000000", "1..2000"]),
        (["policy=foo"], ["policy='foo'", "copy", "inplace"]),
        (["workload=captured", "workload.path=../home/torn.npz"], ["workload.path=", "torn.npz", "thpsweep capture"]),
        (["workload=captured", "workload.path=../home/none.npz"], ["workload.path", "none.npz", "redis_bgsave"]),
    ],
)
def test_bad_input_is_refused_in_one_line(refused: Place, verb: str, overrides: list[str], wanted: list[str]) -> None:
    ended = refused.run(verb, *overrides)
    lines = ended.stderr.splitlines()
    assert (ended.returncode, ended.stdout, len(lines)) == (2, "", 1), ended
    assert [word for word in wanted if word not in lines[0]] == []
    assert list(refused.work.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["sweep", "sharing.degree=1,16,0"], "sharing.degree=0"),
        (["sweep", "policy=copy,foo"], "policy='foo'"),
        (["sweep", "sharing.degreee=1,2"], "sharing.degreee=1"),
        (["sweep", "hydra.launcher.actors=0"], "hydra.launcher.actors=0"),
        (["sweep", "--run"], "Only one of"),
        (["sweep", "--config-dir", "nowhere"], "nowhere"),
        (["capture", "--pid", "999999999", "--out", "x.npz"], "999999999"),
        (["capture", "--pid", "1", "--out", "nowhere/x.npz"], "nowhere"),
        (["status"], "no sweeps"),
        (["ui"], "mlflow.db"),
    ],
)
def test_one_bad_part_refuses_the_whole_command(refused: Place, arguments: list[str], wanted: str) -> None:
    ended = refused.run(*arguments)
    assert (ended.returncode, ended.stdout, len(ended.stderr.splitlines())) == (2, "", 1), ended
    assert ended.stderr.startswith("thpsweep: ") and wanted in ended.stderr


def test_help_and_version_load_nothing_heavy() -> None:
    code = (
        "import sys; from thpsweep.cli import main\n"
        "try: main([sys.argv[1]])\n"
        "except SystemExit as end: assert not end.code\n"
        "print(sorted({'ray', 'mlflow', 'hydra', 'numpy', 'matplotlib'} & set(sys.modules)))"
    )
    for flag in ("--help", "--version"):
        ended = subprocess.run([sys.executable, "-c", code, flag], capture_output=True, text=True, check=True, cwd=ROOT)
        assert ended.stdout.splitlines()[-1] == "[]"


def test_sweep_with_ray_ends_with_table_plot_and_mlflow(place: Place) -> None:
    tracked = [text for text in SMALL if text != "sweep.track=false"]
    ended = place.run(
        "sweep", *tracked, "sharing.degree=1,4", "policy=copy,inplace", "hydra/launcher=ray", "hydra.launcher.actors=2"
    )
    assert ended.returncode == 0, ended
    assert "inplace" in ended.stdout and "thpsweep ui" in ended.stdout
    (directory,) = (path.parent for path in place.work.glob("sweeps/*/journal.jsonl"))
    assert {"journal.jsonl", "config.yaml", "plot.png"} <= {path.name for path in directory.iterdir()}
    assert (place.work / "sweeps" / "mlflow.db").exists() and len(place.results()) == 4
    assert [path.name for path in place.work.iterdir()] == ["sweeps"]


def test_a_small_terminal_breaks_lines_and_no_numbers(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("FORCE_COLOR", "1"), ("COLUMNS", "40"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    out = re.sub(r"\x1b\[[\d;]*m", "", place.run("sweep", *SMALL, IN_PROCESS, "policy=none,inplace_pmd").stdout)
    assert "inplace_pmd" in out and "payback" in out and re.search(r"\d,\d{3} ", out), out


def test_run_records_one_point_as_a_sweep_does(place: Place) -> None:
    assert place.run("run", *SMALL, "sharing.degree=4").returncode == 0
    alone = place.results()
    again = place.run("sweep", *SMALL, "sharing.degree=4", IN_PROCESS)
    assert "1 already done" in again.stderr and place.results() == alone


def test_one_point_loads_no_picture_and_composes_once(tmp_path: Path) -> None:
    code = (
        "import json, sys; from hydra._internal.config_loader_impl import ConfigLoaderImpl as Loader\n"
        "from thpsweep.cli import main\n"
        "load, calls = Loader.load_configuration, []\n"
        "Loader.load_configuration = lambda *given, **named: (calls.append(1), load(*given, **named))[1]\n"
        "try: main(['run', *sys.argv[1:]])\n"
        "except SystemExit as end: assert not end.code\n"
        "print(json.dumps([len(calls), sorted({'ray', 'mlflow', 'scipy', 'matplotlib', 'jinja2'} & set(sys.modules))]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *SMALL]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
    assert json.loads(ended.stdout.splitlines()[-1]) == [1, []]


@pytest.mark.parametrize("verb", ["run", "sweep"])
def test_the_verb_says_whether_it_is_a_sweep_whatever_hydra_mode_says(place: Place, verb: str) -> None:
    ended = place.run(
        verb, *SMALL, IN_PROCESS, "sharing.degree=4", "hydra.mode=MULTIRUN" if verb == "run" else "hydra.mode=RUN"
    )
    assert (ended.returncode, len(place.results())) == (0, 1), ended


@pytest.mark.parametrize("plugins", ["hydra/launcher=basic", "hydra/sweeper=basic"])
def test_hydras_own_launcher_and_sweeper_work_with_ours(place: Place, plugins: str) -> None:
    ended = place.run("sweep", *SMALL, "sharing.degree=1,4", IN_PROCESS, plugins)
    assert (ended.returncode, len(place.results())) == (0, 2), ended


def test_both_of_hydras_own_are_refused_as_nobody_would_record_anything(place: Place) -> None:
    ended = place.run("sweep", *SMALL, "sharing.degree=1,4", "hydra/launcher=basic", "hydra/sweeper=basic")
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1), ended
    assert "no results would be recorded" in ended.stderr


def test_driver_killed_in_the_middle_goes_on_to_the_same_results(place: Place, tmp_path: Path) -> None:
    command = ["sweep", *SLOW, "sharing.degree=20,21,22,23,24,25", "policy=copy,inplace"]
    process = place.start(*command)
    while len(place.results()) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.kill()
    process.communicate()
    kept = place.results()
    assert 2 <= len(kept) < 12
    resumed = place.run(*command)
    assert resumed.returncode == 0 and "already done" in resumed.stderr, resumed
    (tmp_path / "undisturbed").mkdir()
    undisturbed = Place(tmp_path / "undisturbed")
    assert undisturbed.run(*command).returncode == 0
    assert place.results() == undisturbed.results() and len(place.results()) == 12
    assert kept.items() <= place.results().items()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_sweep_says_how_to_go_on(place: Place, number: signal.Signals, code: int) -> None:
    process = place.start("sweep", *SLOW, "sharing.degree=range(20,40)")
    while not place.results():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "the same command goes on" in err and "Traceback" not in err


def test_second_driver_of_a_sweep_is_refused(place: Place) -> None:
    command = ["sweep", *SLOW, "sharing.degree=range(20,40)"]
    first = place.start(*command)
    while not place.results():
        assert first.poll() is None, first.communicate()
        time.sleep(0.02)
    second = place.run(*command)
    first.kill()
    first.communicate()
    assert second.returncode == 2 and f"already being run by process {first.pid}" in second.stderr


def test_status_counts_what_is_done(place: Place) -> None:
    place.run("sweep", *SMALL, "sharing.degree=1,4", IN_PROCESS)
    assert "2 of 2 points done, 0 failed" in place.run("status").stdout


def test_options_of_ones_own_and_hydras_questions(place: Place) -> None:
    mine = place.home / "conf" / "policy" / "mine.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text("defaults:\n  - mechanism: copy\n  - trigger: madvise\n  - _self_\nname: mine\n")
    shown = place.run("sweep", "--config-dir", str(mine.parents[1]), "policy=mine", "--cfg", "job")
    assert shown.returncode == 0 and "name: mine" in shown.stdout


@pytest.mark.parametrize(
    ("option", "content", "wanted"),
    [
        ("experiment", b"run:\n  seed: {3\n", "experiment/mine.yaml: line 3: cannot be read as YAML"),
        ("experiment", b"\xff\xfe", "cannot be read as YAML"),
        ("experiment", b"run:\n  seed: 3\n", "@package _global_"),
        ("workload", b"regions: 3\n", "defaults: [base_NAME, _self_]"),
    ],
)
def test_files_of_ones_own_that_are_wrong_are_one_line(place: Place, option: str, content: bytes, wanted: str) -> None:
    file = place.home / "conf" / option / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    ended = place.run("plan", "--config-dir", str(file.parents[1]), f"{option}=mine")
    assert (ended.returncode, ended.stdout, len(ended.stderr.splitlines())) == (2, "", 1), ended
    assert wanted in ended.stderr


def test_a_given_name_is_one_sweeps(place: Place) -> None:
    command = ["sweep", *SMALL, IN_PROCESS, "sweep.name=mine", "policy=copy,none"]
    assert place.run(*command, "sharing.degree=2").returncode == 0
    refused = place.run(*command, "sharing.degree=3")
    assert refused.returncode == 2
    assert "sharing.degree: 2 there, 3 here" in refused.stderr and "sweep.force=true" in refused.stderr
    assert place.run(*command, "sharing.degree=3", "sweep.force=true").returncode == 0
    assert len(place.results()) == 4


@pytest.mark.parametrize("limit", ["sweep.deadline_s=0.0", "sweep.memory_bytes=-1"])
def test_limits_are_checked_before_anything_runs(refused: Place, limit: str) -> None:
    ended = refused.run("sweep", *SMALL, limit)
    assert (
        ended.returncode == 2 and limit.partition("=")[0] in ended.stderr and "null or a number above 0" in ended.stderr
    )


def test_deadline_and_memory_reach_the_points(place: Place) -> None:
    ended = place.run("sweep", *SMALL, IN_PROCESS, "sharing.degree=2", "sweep.deadline_s=0.001")
    assert ended.returncode == 1 and "timeout: policy=inplace" in ended.stderr
    assert "it took longer than sweep.deadline_s=0.001" in ended.stderr


def test_the_command_alone_shows_each_verb_with_an_example_that_can_be_tried(place: Place) -> None:
    ended = place.run()
    shown = re.findall(r"^ +thpsweep (\w+)", ended.stdout, re.MULTILINE)
    assert (ended.returncode, sorted(shown)) == (0, sorted([*HYDRA_VERBS, *PLAIN_VERBS]))


def test_help_of_a_sweep_shows_examples_that_can_be_planned_then_groups_and_no_prices(place: Place) -> None:
    said = place.run("sweep", "--help").stdout
    assert "pte_scan_ns" not in said and said.index("Examples:") < said.index("Groups and their options")
    for example in re.findall(r"^  thpsweep (?:run|sweep|plan) (.*)$", said, re.MULTILINE):
        planned = place.run("plan", *shlex.split(example))
        assert planned.returncode == 0 and "to run" in planned.stdout, (example, planned)


def test_shipped_names_work_where_a_file_is_asked_for(place: Place) -> None:
    refused = place.run("advise", "--capture", "redis", "--machine", "zen5_vm")
    assert (refused.returncode, refused.stdout) == (2, "") and "one of redis_bgsave" in refused.stderr
    refused = place.run("validate", "--list", "--machine", "zen9")
    assert refused.returncode == 2 and "zen5_vm" in refused.stderr
    assert place.run("validate", "--list", "--machine", "zen5_vm").returncode == 0
