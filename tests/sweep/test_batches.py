"""Sweepers that work in batches make one sweep; what they are told of a metric that never comes is the user's choice."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SMALL = ("workload=prefork", "workload.regions=1", "run.replicates=2", "run.duration_s=120", "sweep.track=false")
SERIAL = "hydra/launcher=serial"
Sweep = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    def run(*overrides: str, exit_code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "thpsweep", "sweep", *SMALL, SERIAL, f"sweep.dir={tmp_path}", *overrides]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == exit_code, done.stderr
        return done

    return run


def results(root: Path) -> dict[str, list[int]]:
    """List the seeds that each sweep has results of."""
    found: dict[str, list[int]] = {}
    for file in root.glob("*/journal.jsonl"):
        records = [json.loads(line) for line in file.read_text().splitlines()]
        seeds = {r["id"]: r["point"]["run"]["seed"] for r in records if r["type"] == "point"}
        found[file.parent.name] = [seeds[r["id"]] for r in records if r["type"] == "result"]
    return found


def test_batches_are_one_sweep_that_the_same_command_resumes(sweep: Sweep, tmp_path: Path) -> None:
    batched = ("hydra/sweeper=basic", "hydra.sweeper.max_batch_size=2", "sweep.name=batched", "run.seed=1,2,3,4,5")
    for _ in range(2):
        sweep(*batched)
        assert list(results(tmp_path).values()) == [[1, 2, 3, 4, 5]]


def test_a_batch_is_not_the_grid_of_the_same_points(sweep: Sweep, tmp_path: Path) -> None:
    sweep("run.seed=1,2")
    sweep("hydra/sweeper=basic", "hydra.sweeper.max_batch_size=2", "run.seed=1,2,3")
    assert sorted(results(tmp_path).values()) == [[1, 2], [1, 2, 3]]


OPTUNA = ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=2", "sharing.degree=range(2,9)")
PAYBACK = ("policy=none", "sweep.objective=tradeoff/payback_s")
COUNTS = "sweep.objective_never=NUMBER counts instead"


@pytest.mark.slow
def test_what_never_pays_counts_as_the_user_says(sweep: Sweep, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="needs hydra-optuna-sweeper")
    assert COUNTS not in sweep(*OPTUNA, *PAYBACK, "sweep.objective_never=1e9").stderr
    assert sum(map(len, results(tmp_path).values())) <= 3


@pytest.mark.slow
def test_where_it_counts_as_nothing_the_points_are_named(sweep: Sweep, tmp_path: Path) -> None:
    """Optuna's sweeper ends at a trial without a number (1.3), or where none has one (1.4); results are kept."""
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="needs hydra-optuna-sweeper")
    said = sweep(*OPTUNA, *PAYBACK, exit_code=2).stderr
    assert COUNTS in said and "Traceback" not in said
    assert said.splitlines()[-1].endswith("expected sweep.objective_never=NUMBER")
    assert sum(map(len, results(tmp_path).values())) >= 1


def test_means_that_are_not_finite() -> None:
    from hydra.core.plugins import Plugins

    Plugins.instance()
    from hydra_plugins.thpsweep_launcher._points import mean_of

    result = {"metrics": {"a": {"mean": float("inf")}, "b": {"mean": float("nan")}, "c": {"mean": 2.5}}}
    assert [mean_of(result, name, 7.0, ["x=1"]) for name in "abc"] == [7.0, 7.0, 2.5]


def test_without_a_choice_the_job_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    from hydra_plugins.thpsweep_launcher._points import mean_of

    assert mean_of({"metrics": {"a": {"mean": float("inf")}}}, "a", None, ["x=1", "y=2"]) == float("inf")
    assert "a is inf at x=1 y=2; sweep.objective_never=NUMBER" in capsys.readouterr().err
