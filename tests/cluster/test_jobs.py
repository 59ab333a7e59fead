"""What stands in jobs/: each at most a page, says how it is used, is what it is published to be, and has its token on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from tests.cluster.conftest import ROOT

JOBS = ROOT / "jobs"
SCHEMA = json.loads((Path(__file__).parent / "rayjob.schema.json").read_text())
SCRIPTS = {"local.sh": ["head"], "slurm.sbatch": ["policy=copy"], "submit.py": ["--", "policy=copy", "sweep.dir=/x"]}


def rayjob() -> dict:
    (found,) = yaml.safe_load_all((JOBS / "rayjob.yaml").read_text())
    return found


def run(script: str, home: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a script where there is neither Ray nor Slurm: it has to refuse before it would need them."""
    program = [sys.executable] if script.endswith(".py") else ["bash"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), **variables}
    command = [*program, str(JOBS / script), *SCRIPTS[script]]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("name", ["local.sh", "submit.py", "rayjob.yaml", "slurm.sbatch"])
def test_is_a_page_that_begins_with_its_use(name: str) -> None:
    lines = (JOBS / name).read_text().splitlines()
    assert len(lines) <= 80 and max(map(len, lines)) <= 125
    assert any(f"jobs/{name}" in line for line in lines[:20])


@pytest.mark.parametrize("script", SCRIPTS)
def test_refuses_to_run_without_the_token(script: str, tmp_path: Path) -> None:
    done = run(script, tmp_path, RAY_AUTH_MODE="disabled")
    assert done.returncode == 2
    assert "RAY_AUTH_MODE='disabled': expected token (THPSWEEP_INSECURE_RAY=1 if you mean it)" in done.stderr


@pytest.mark.parametrize("script", ["local.sh", "slurm.sbatch"])
def test_says_aloud_that_there_is_no_token_where_that_is_meant(script: str, tmp_path: Path) -> None:
    done = run(script, tmp_path, RAY_AUTH_MODE="disabled", THPSWEEP_INSECURE_RAY="1")
    assert "WITHOUT A TOKEN WHOEVER REACHES" in done.stderr


def test_a_token_is_made_once_and_is_nobody_elses_to_read(tmp_path: Path) -> None:
    token = tmp_path / ".ray/auth_token"
    for _ in range(2):
        run("local.sh", tmp_path)
        made = token.read_text()
        assert len(made) == 64 and int(made, 16)
        assert token.stat().st_mode & 0o077 == 0
    assert token.read_text() == made


def test_submit_wants_a_folder_that_outlives_the_job(tmp_path: Path) -> None:
    command = [sys.executable, str(JOBS / "submit.py"), "--", "policy=copy", "sweep.dir=sweeps"]
    done = subprocess.run(command, env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 2 and "sweep.dir: expected an absolute path" in done.stderr


def test_rayjob_is_as_published() -> None:
    jsonschema.validate(rayjob(), SCHEMA)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("authOptions", "mode"), "off"),
        (("authOptions", "moed"), "token"),
        (("headGroupSpec", "template", "spec", "containers"), [{"image": "x"}]),
        (("workerGroupSpecs",), [{"groupName": "w", "minReplicas": "four"}]),
    ],
)
def test_the_schema_refuses_what_is_wrong(path: tuple[str, ...], value: object) -> None:
    job = rayjob()
    node = job["spec"]["rayClusterSpec"]
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(job, SCHEMA)


def test_rayjob_has_its_token_its_requests_and_a_journal_that_outlives_it() -> None:
    spec = rayjob()["spec"]
    cluster = spec["rayClusterSpec"]
    assert cluster["authOptions"]["mode"] == "token"
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    containers = [container for group in groups for container in group["template"]["spec"]["containers"]]
    for container in containers:
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert container["resources"]["requests"]["memory"] == container["resources"]["limits"]["memory"]
    (mount,) = containers[0]["volumeMounts"]
    (volume,) = cluster["headGroupSpec"]["template"]["spec"]["volumes"]
    assert volume["name"] == mount["name"] and volume["persistentVolumeClaim"]["claimName"]
    assert f"sweep.dir={mount['mountPath']}/" in spec["entrypoint"]
    assert "hydra.launcher.address=auto" in spec["entrypoint"]
