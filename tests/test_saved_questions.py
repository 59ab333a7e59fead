"""Every saved question: planned whole, and run to its report at the size of a smoke test."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from thpsweep.shipped import conf_dir

ROOT = Path(__file__).parents[1]
QUESTIONS = sorted(path.stem for path in (conf_dir() / "experiment").glob("*.yaml"))
SMOKE = sorted(path.parent.name for path in (conf_dir() / "experiment").glob("*/smoke.yaml"))


def run(work: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "HOME": str(work), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "thpsweep", *arguments]
    return subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("name", QUESTIONS)
def test_each_asks_in_a_sentence(name: str) -> None:
    found = yaml.safe_load((conf_dir() / "experiment" / f"{name}.yaml").read_text())
    assert found["sweep"]["question"].endswith("?")


def test_each_but_the_first_light_has_a_smoke_variant() -> None:
    assert {*QUESTIONS} - {*SMOKE} <= {"first_light", "breakeven"}  # one is small itself, the other a search


@pytest.mark.slow
@pytest.mark.parametrize("name", SMOKE)
def test_each_can_be_planned_whole(name: str, tmp_path: Path) -> None:
    planned = run(tmp_path, "plan", f"experiment={name}")
    assert planned.returncode == 0, planned.stderr
    assert not list(tmp_path.glob("sweeps"))


@pytest.mark.slow
@pytest.mark.parametrize("name", SMOKE)
def test_each_ends_with_a_report(name: str, tmp_path: Path) -> None:
    done = run(tmp_path, "sweep", f"experiment={name}/smoke", "sweep.track=false", "hydra/launcher=serial")
    assert done.returncode == 0, done.stderr
    (page,) = tmp_path.glob("sweeps/*/report.html")
    assert f"Report: {page}" in done.stdout.replace("\n", "")
    text = page.read_text()
    question = yaml.safe_load((conf_dir() / "experiment" / f"{name}.yaml").read_text())["sweep"]["question"]
    assert question.split(",")[0].replace("'", "&#39;") in text and "data:image/png" in text
    records = [json.loads(line) for line in (page.parent / "journal.jsonl").read_text().splitlines()]
    points = [record["id"] for record in records if record["type"] == "point"]
    assert points and all(f'id="p-{key[:12]}"' in text for key in points)
