"""A cgroup of 900 MiB and half a CPU: what fits is done, what does not is named with its need, and nothing dies of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cgroups import joining, limited
from tests.faults.conftest import ROOT

MIB = 1 << 20
pytestmark = pytest.mark.slow

POINTS = [
    "workload=prefork",
    "policy=copy",
    "run.duration_s=60",
    "run.replicates=2,4,2000",
    "workload.regions=64",
    "sharing.degree=48",
]


def run(cgroups: list[Path], *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a command line in cgroups."""
    command = joining(cgroups, sys.executable, "-m", "thpsweep", *words)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=300)


def test_what_fits_is_done_and_what_does_not_is_named(tmp_path: Path) -> None:
    words = [*POINTS, f"sweep.dir={tmp_path}"]
    with limited(900 * MIB, 0.5) as cgroups:
        planned, swept = run(cgroups, "plan", *words), run(cgroups, "sweep", *words)
    assert "1 will not fit and fail" in planned.stdout and "0.88 GiB" in planned.stdout, planned.stdout + planned.stderr
    assert "one process" in planned.stdout  # half a CPU is worth no second one
    (journal,) = tmp_path.glob("*/journal.jsonl")
    results = [json.loads(line) for line in journal.read_text().splitlines() if '"type": "result"' in line]
    assert sorted(record["state"] for record in results) == ["done", "done", "failed"], swept.stderr
    assert swept.returncode == 1
    assert "it needs about" in swept.stderr and "run.replicates=2000" in swept.stderr


def test_a_process_that_the_kernel_kills_for_want_of_memory_is_named_so(tmp_path: Path) -> None:
    """The estimate may be too low: then the kernel kills, and its count of that tells."""
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from thpsweep.sweep.local.isolated import run_isolated
from thpsweep.sweep.planning.limits import PointLimits
print(run_isolated(lambda points: [bytes(bytearray(1 << 20) * 4000)], {{}}, PointLimits())["error"]["message"])
"""
    with limited(300 * MIB, 0.5) as cgroups:
        command = joining(cgroups, sys.executable, "-c", code)
        said = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "died 3 times, alone with it: the kernel killed it for want of memory" in said.stdout, said.stderr
    assert "0.29 GiB" in said.stdout
