"""Config files hold values: what names code, grows without bound or includes itself is refused in one line."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HEAD = "# @package _global_\ndefaults:\n  - override /workload: prefork\n"
Plan = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Plan with an experiment of that content, and with overrides."""

    def run(content: str, *overrides: str, group: str = "experiment") -> subprocess.CompletedProcess[str]:
        file = tmp_path / "conf" / group / "mine.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(content)
        command = [sys.executable, "-m", "thpsweep", "plan", "--config-dir", str(tmp_path / "conf"), *overrides]
        chosen = [f"{group}=mine", f"sweep.dir={tmp_path}", "workload=prefork"]
        return subprocess.run([*command, *chosen], capture_output=True, text=True, timeout=120)

    return run


HARMLESS = {
    "callback": "hydra:\n  callbacks:\n    a:\n      _target_: builtins.dict\n",
    "callback by a dotted key": "hydra.callbacks.a._target_: builtins.dict\n",
    "launcher": "hydra:\n  launcher:\n    _target_: builtins.dict\n",
    "inside a launcher": "hydra:\n  launcher:\n    actors:\n      _target_: builtins.int\n",
    "factory of a log": "hydra:\n  job_logging:\n    filters:\n      a:\n        (): logging.Filter\n",
    "class of a log": "hydra:\n  job_logging:\n    handlers:\n      a:\n        class: collections.OrderedDict\n",
    "object of a log": "hydra:\n  job_logging:\n    formatters:\n      a:\n        format: ext://builtins.dict\n",
}


@pytest.mark.parametrize("what", HARMLESS)
def test_a_file_cannot_name_code(plan: Plan, what: str) -> None:
    done = plan(HEAD + HARMLESS[what])
    assert done.returncode == 2, done.stdout
    (line,) = done.stderr.splitlines()
    assert "experiment/mine.yaml: " in line and "names code; expected values" in line


def test_a_file_of_a_group_of_hydras_cannot_either(plan: Plan) -> None:
    done = plan("_target_: hydra_plugins.thpsweep_launcher.SerialLauncher\n", group="hydra/launcher")
    assert done.returncode == 2 and "names code" in done.stderr


def test_installed_launchers_still_go(plan: Plan) -> None:
    assert plan(HEAD, "hydra/launcher=basic").returncode == 0


def test_aliases_that_multiply_are_refused_at_once(plan: Plan) -> None:
    lines = [f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 20)}]" for n in range(1, 5)]
    done = plan("\n".join([HEAD + "x:", "  a0: &a0 [1]", *lines, ""]))
    assert done.returncode == 2 and "its aliases (*NAME) make over 100,000 values" in done.stderr


def test_aliases_that_do_not_are_as_good_as_before(plan: Plan) -> None:
    content = HEAD + "run:\n  seed: &n 7\n  replicates: *n\n"
    assert plan(content, "sweep.track=false").returncode == 0


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("# @package _global_\ndefaults:\n  - mine\n", "includes itself"),
        ("# @package _global_\ndefaults:\n  - /experiment: [mine]\n", "includes itself"),
        (HEAD + "run:\n  seed: 1\n  seed: 2\n", "line 6: cannot be read as YAML (found duplicate key seed)"),
        (HEAD + "run:\n  beer: 7\n", "run.beer: no such key; expected below run one of duration_s"),
        (HEAD + "hydra:\n  sweeper:\n    params:\n      run.seed: null\n", "{'run.seed': None}: expected KEY: VALUES"),
        (HEAD + "hydra:\n  sweeper:\n    params:\n      run.seed: {a: 1}\n", "expected KEY: VALUES"),
        (HEAD + "hydra:\n  sweeper:\n    params:\n      run.seed: []\n", "run.seed"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(plan: Plan, content: str, line: str) -> None:
    done = plan(content)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and line in done.stderr


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("hydra.sweeper.params={run.seed:1}", "expected on the command line are its axes: KEY=VALUES"),
        ("+hydra.sweeper.params.k=1", "expected on the command line are its axes: KEY=VALUES"),
        ("workload={beer:2},{beer:4}", "workload.beer: no such key; expected below workload one of"),
        ("run.seed=null", "run.seed=null: expected a value of type int"),
        ("sweep.dir=", "sweep.dir='': expected a folder"),
        ("run.seed=range(1,1000000000)", "999,999,999 combinations; expected at most 1,000,000"),
        ("run.seed=range(1,2,0)", "expected a step that is not 0"),
        ("policy.trigger.beer?=1,2", "policy.trigger.beer?: no point has such a key"),
        ("sweep.drop=[run.seed]", "sweep.drop='run.seed': expected an axis of the experiment: it has none"),
        ("sweep.grids=[7]", "sweep.grids=[7]: expected [{KEY: VALUES, ...}, ...]"),
        ("run.seed=" + 100_000 * "x", "(100,0"),
    ],
)
def test_what_is_wrong_with_a_command_is_one_short_line(override: str, line: str, tmp_path: Path) -> None:
    fixed = ["workload=prefork"] if not override.startswith("workload") else []
    command = [sys.executable, "-m", "thpsweep", "plan", *fixed, f"sweep.dir={tmp_path}", override]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and len(done.stderr) < 2500 and line in done.stderr
