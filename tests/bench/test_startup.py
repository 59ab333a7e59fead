"""What a single point costs from the command line, beside an older checkout: THPSWEEP_BEFORE=PATH names it.

git worktree add /tmp/before COMMIT
THPSWEEP_BEFORE=/tmp/before python -m pytest -m bench -s tests/bench/test_startup.py
"""

import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.bench

ROUNDS = 7
NOW = Path(__file__).resolve().parents[2]
COMMAND = ("run", "workload=prefork", "workload.regions=2", "policy=copy", "sweep.track=false")


def cpu_s(checkout: Path, directory: Path) -> float:
    """Run the command with a checkout's code; give its CPU time, that of its children included."""
    paths = os.pathsep.join(map(str, (checkout, checkout / "thpsweep" / "_plugins")))
    environment = {**os.environ, "PYTHONPATH": paths}
    code = f"import thpsweep; assert thpsweep.__file__.startswith({str(checkout)!r}); from thpsweep.cli import main; main()"
    before = os.times()
    subprocess.run(
        [sys.executable, "-c", code, *COMMAND], cwd=directory, env=environment, check=True, capture_output=True
    )
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def test_one_point_takes_half_the_cpu_of_before(tmp_path: Path) -> None:
    named = os.environ.get("THPSWEEP_BEFORE")
    if named is None:
        pytest.skip("THPSWEEP_BEFORE names no older checkout")
    found: dict[Path, list[float]] = {Path(named).resolve(): [], NOW: []}
    for at in range(ROUNDS + 1):  # the first compiles the modules
        for number, checkout in enumerate(found):
            directory = tmp_path / f"{number}-{at}"
            directory.mkdir()
            found[checkout].append(cpu_s(checkout, directory))
    before, now = (statistics.median(values[1:]) for values in found.values())
    print(f"\nthpsweep {' '.join(COMMAND)}: {now:.2f} s of CPU, before {before:.2f} s: {now / before:.2f} (bar: 0.5)")
