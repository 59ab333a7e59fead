"""`thpsweep plan`, zips, filters and plugins as a user meets them on the command line."""

from pathlib import Path

import pytest

from tests.model.test_plugins import GATE
from tests.place import SMALL, Place
from tests.sweep.journals import of_other_code
from thpsweep.arguments import for_hydra

SERIAL = "hydra/launcher=serial"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_plan_shows_points_and_makes_nothing(place: Place) -> None:
    shown = place.run("plan", *SMALL, "sharing.degree=1,4,4", "policy=copy,inplace")
    assert (shown.returncode, shown.stderr) == (0, ""), shown
    assert "4 points, 2 duplicates dropped; 0 already done" in shown.stdout
    assert "4 to run" in shown.stdout and "in one process" in shown.stdout and "assumed" in shown.stdout
    assert [line.split()[1:4] for line in shown.stdout.splitlines() if line.strip()[:1].isdigit()][:4] == [
        ["copy", "prefork", "1"],
        ["inplace", "prefork", "1"],
        ["copy", "prefork", "4"],
        ["inplace", "prefork", "4"],
    ]
    assert list(place.work.iterdir()) == [] and list(place.home.iterdir()) == []


def test_plan_knows_what_is_done_and_learns_from_it(place: Place) -> None:
    assert place.run("sweep", *SMALL, SERIAL, "sharing.degree=1,4").returncode == 0
    before = sorted(place.work.rglob("*"))
    again = place.run("plan", *SMALL, SERIAL, "sharing.degree=1,4").stdout
    assert "2 already done" in again and "nothing is left to run" in again
    more = place.run("plan", *SMALL, SERIAL, "sharing.degree=1,4,16").stdout
    assert "2 already done" in more and "they are taken over" in more, "the grid has grown"
    assert "in one process" in more and "learnt from 2 results in 1 journals" in more
    assert sorted(place.work.rglob("*")) == before


def test_plan_says_what_is_of_other_code(place: Place) -> None:
    assert place.run("sweep", *SMALL, SERIAL, "sharing.degree=1,4").returncode == 0
    (directory,) = (path.parent for path in place.work.glob("sweeps/*/journal.jsonl"))
    of_other_code(directory)
    directory.rename(directory.with_name(f"sweep-{'0' * 12}"))  # the name has the code in it, too
    shown = place.run("plan", *SMALL, SERIAL, "sharing.degree=1,4")
    (line,) = shown.stderr.splitlines()
    assert "is of other code than this: its results are not used" in line and "0 already done" in shown.stdout
    (named,) = place.run("plan", *SMALL, SERIAL, "sharing.degree=1", "sweep.name=sweep").stderr.splitlines()
    assert named == line


def test_plan_of_a_sweep_that_was_killed_before_its_first_record(place: Place) -> None:
    shown = place.run("plan", *SMALL, "sharing.degree=1,4").stdout
    directory = Path(shown.partition("already done in ")[2].splitlines()[0])
    directory.mkdir(parents=True)
    (directory / "journal.jsonl").touch()
    assert place.run("plan", *SMALL, "sharing.degree=1,4").stdout == shown


def test_long_plan_is_shortened_unless_asked(place: Place) -> None:
    sweep = ["plan", *SMALL, "sharing.degree=range(1,61)"]
    short, whole = place.run(*sweep).stdout, place.run(*sweep, "--all").stdout
    assert "20 more: --all" in short and len(short.splitlines()) < 50 < 60 < len(whole.splitlines())


def test_zip_and_filter_choose_the_points(place: Place) -> None:
    swept = ["sharing.degree=1,4,16", "run.seed=1,2,3", "policy=copy,inplace"]
    choice = ["sweep.zip=[sharing.degree,run.seed]", "sweep.where=policy == 'copy' or sharing.degree * run.seed < 9"]
    shown = place.run("plan", *SMALL, *swept, *choice).stdout
    assert "5 points, 1 filtered by sweep.where" in shown
    ended = place.run("sweep", *SMALL, SERIAL, *swept, *choice)
    assert ended.returncode == 0 and len(place.results()) == 5 and "1 filtered" in ended.stderr


@pytest.mark.parametrize("inside_params", [True, False])
def test_experiment_zips_and_filters(place: Place, inside_params: bool) -> None:
    question = place.work / "conf" / "experiment" / "mine.yaml"
    question.parent.mkdir(parents=True)
    params = "hydra:\n  sweeper:\n    params:\n      sharing.degree: 1,4,16\n      run.seed: 1,2,3\n"
    inner = "      sweep.zip: '[sharing.degree,run.seed]'\n      sweep.where: run.seed < 3\n"
    outer = "sweep:\n  zip: [sharing.degree, run.seed]\n  where: run.seed < 3\n"
    question.write_text(f"# @package _global_\n{params}{inner if inside_params else outer}")
    shown = place.run("plan", *SMALL, "--config-dir", "conf", "experiment=mine")
    assert "2 points, 1 filtered by sweep.where" in shown.stdout, shown


def test_filtered_points_are_not_checked(place: Place) -> None:
    huge = [
        "plan",
        "machine.memory_bytes=1e16",
        "workload=prefork",
        "workload.regions=1,1000000",
        "sharing.degree=2,2000",
    ]
    assert "GiB" in place.run(*huge).stderr
    assert "3 points" in place.run(*huge, "sweep.where=sharing.degree * workload.regions < 1e9").stdout


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["sharing.degree=1,2", "run.seed=1,2,3", "sweep.zip=[sharing.degree,run.seed]"], "run.seed has 3"),
        (["sweep.where=sharing.degre < 3"], "sharing.degree"),
        (["sweep.where=sharing.degree < 0"], "holds for none"),
        (["sweep.name=a,b"], "cannot be swept"),
        (["sharing.degree=range(9,1)"], "sharing.degree: no value"),
        (["policy=glob(nothing*)"], "policy: no value"),
        (["hydra/sweeper=basic"], "hydra/sweeper"),
        (["--plugin"], "--plugin FILE.py"),
        (["--plugin=../home/broken.py"], "line 1: SyntaxError"),
        (["--plugin=../home/always.py"], "always is taken"),
        (["--plugin=../home/odd_option.py"], "odd_option.py: expected fields of type int"),
    ],
)
def test_bad_plans_are_refused_in_one_line(place: Place, arguments: list[str], wanted: str) -> None:
    odd = GATE.replace("n: int = 1", "n: set = dataclasses.field(default_factory=set)")
    for name, text in (("broken", "def ("), ("always", GATE), ("odd_option", odd)):
        (place.home / f"{name}.py").write_text(text)
    ended = place.run("plan", *arguments)
    assert (ended.returncode, ended.stdout, len(ended.stderr.splitlines())) == (2, "", 1), ended
    assert wanted in ended.stderr and list(place.work.iterdir()) == []


def test_an_objective_that_is_no_metric_is_refused(place: Place) -> None:
    swept = [*SMALL, SERIAL, "hydra/sweeper=basic", "sharing.degree=1,2"]
    for value, wanted in (("[cost/cpu_ms,cost/nothing]", "benefit/lru_reduction"), ("3", "a metric of the results")):
        ended = place.run("sweep", *swept, f"sweep.objective={value}")
        assert ended.returncode == 2 and "sweep.objective=" in ended.stderr and wanted in ended.stderr, ended
        assert not place.results()


def test_zip_and_filter_are_refused_under_other_sweepers(place: Place) -> None:
    ended = place.run("sweep", *SMALL, SERIAL, "hydra/sweeper=basic", "sharing.degree=1,2", "sweep.where=run.seed < 3")
    assert ended.returncode == 2 and "hydra/sweeper" in ended.stderr and not place.results()


@pytest.mark.parametrize("launcher", ["serial", "basic", pytest.param("ray", marks=pytest.mark.slow)])
def test_plugin_works_in_a_sweep_and_a_changed_file_is_another_sweep(place: Place, launcher: str) -> None:
    file = place.home / "first_ones.py"
    file.write_text(GATE)
    command = ["sweep", *SMALL, "--plugin", str(file), "policy/gate=first_ones,always", f"hydra/launcher={launcher}"]
    ended = place.run(*command)
    assert ended.returncode == 0 and "first_ones" in ended.stdout, ended
    assert len(place.results()) == 2
    file.write_text(GATE.replace("self.n", "0"))
    assert place.run(*command).returncode == 0 and len(list(place.work.glob("sweeps/sweep-*"))) == 2
    assert len(place.results()) == 3  # `always` is what it was
    removed = [result["metrics"]["benefit/lru_entries_removed"]["mean"] for result in place.results().values()]
    assert removed.count(0) == 1


def test_plugin_in_the_environment_and_a_yaml_variant_of_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    workload = place.home / "quiet.py"
    workload.write_text(
        "import dataclasses\nfrom thpsweep.model.workloads.base import Loaded\n\n\n"
        "@dataclasses.dataclass\nclass Quiet(Loaded):\n    note: str = 'mine'\n"
    )
    prefork = (Path(__file__).parents[1] / "conf" / "workload" / "prefork.yaml").read_text()
    variant = place.home / "conf" / "workload" / "quiet_small.yaml"
    variant.parent.mkdir(parents=True)
    variant.write_text(prefork.replace("base_prefork", "base_quiet").replace("regions: 64", "regions: 1"))
    monkeypatch.setenv("THPSWEEP_PLUGINS", str(workload))
    short = [text for text in SMALL if not text.startswith("workload")]
    ended = place.run(
        "run", "--config-dir", str(place.home / "conf"), *short, "workload=quiet_small", "workload.note=x"
    )
    assert (ended.returncode, len(place.results())) == (0, 1), ended
    asked = place.run("run", *short, "workload=quiet")
    assert asked.returncode == 2 and "workload.hot_regions is not set" in asked.stderr


@pytest.mark.parametrize("verb", ["run", "plan"])
def test_hydras_questions_are_answered_with_a_plugin(place: Place, verb: str) -> None:
    (place.work / "first_ones.py").write_text(GATE)
    config = place.run(verb, "--plugin", "first_ones.py", "policy/gate=first_ones", "--cfg", "job")
    assert config.returncode == 0 and "'n': 1" in config.stdout, config
    info = place.run(verb, "--info", "defaults", "--plugin=first_ones.py", "policy/gate=first_ones")
    assert info.returncode == 0 and "policy/gate/first_ones" in info.stdout, info


@pytest.mark.parametrize(
    "line", ["sweep --plugin first_ones.py policy/gate=f", "plan --plugin=first_ones.py policy/gate=f"]
)
def test_shells_complete_options_of_a_plugin(place: Place, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    (place.work / "first_ones.py").write_text(GATE)
    monkeypatch.setenv("COMP_LINE", f"thpsweep {line}")
    assert place.run("-sc", "query=bash").stdout.split() == ["policy/gate=first_ones"]


def test_a_yaml_file_cannot_name_code(place: Place) -> None:
    (place.work / "first_ones.py").write_text(GATE)
    ended = place.run("plan", *SMALL, "policy/gate=all_of", "policy.gate.gates=[{kind:first_ones}]")
    assert ended.returncode == 2 and "gate.kind='first_ones'" in ended.stderr
    ended = place.run("plan", *SMALL, "++policy._target_=first_ones.FirstOnes")
    assert ended.returncode == 2 and "no such key" in ended.stderr


@pytest.mark.slow
@pytest.mark.servers
def test_hydras_basic_sweeper_runs_points_in_ray(place: Place) -> None:
    plugins = ["hydra/sweeper=basic", "hydra/launcher=ray", "hydra.launcher.actors=1"]
    ended = place.run("sweep", *SMALL, *plugins, "sharing.degree=1,4")
    assert (ended.returncode, len(place.results())) == (0, 2), ended


def test_flags_may_stand_anywhere(place: Place) -> None:
    shown = place.run("run", "sharing.degree=3", "--cfg", "job", "run.seed=9", "--package", "run")
    assert shown.returncode == 0 and "seed: 9" in shown.stdout, shown


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["sweep", "a=1", "--config-dir", "d", "b=2"], ["--multirun", "a=1", "b=2", "--config-dir", "d"]),
        (["sweep", "--config-dir", "d=1", "b=2"], ["--multirun", "b=2", "--config-dir", "d=1"]),
        (["run", "--info", "~a", "+b=1"], ["~a", "+b=1", "--info"]),
        (["plan", "--all", "a=1"], ["--multirun", "a=1"]),
        (["sweep", "--cfg", "job", "a=1"], ["a=1", "--cfg", "job"]),
        (["-sc", "query=bash"], ["query=bash", "-sc"]),
        (["run", "sweep.where=a < 1"], ["sweep.where='a < 1'"]),
    ],
)
def test_what_hydra_reads_of_a_command_line(arguments: list[str], wanted: list[str]) -> None:
    assert for_hydra(arguments) == wanted
