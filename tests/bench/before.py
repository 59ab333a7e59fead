"""Runs of points by this checkout and by an older one, which THPSWEEP_BEFORE names, each in a process of its own.

git worktree add /tmp/before COMMIT
THPSWEEP_BEFORE=/tmp/before python -m pytest -m bench -s tests/bench
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

NOW = Path(__file__).resolve().parents[2]
_RUN = """
import hashlib, json, resource, sys, time
import thpsweep
from thpsweep.model.simulate import simulate
assert thpsweep.__file__.startswith(sys.argv[1])
results = hashlib.sha256()
took = []
for point in json.load(sys.stdin):
    began_s = time.process_time()
    result = simulate(point)
    took.append(time.process_time() - began_s)
    result["facts"] = {key: value for key, value in result["facts"].items() if not key.startswith("note_")}
    results.update(json.dumps(result, sort_keys=True).encode())
print(json.dumps([took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, results.hexdigest()]))
"""


def older() -> Path | None:
    """Give the older checkout."""
    named = os.environ.get("THPSWEEP_BEFORE")
    return None if named is None else Path(named).resolve()


def run(checkout: Path, points: list[dict[str, Any]]) -> tuple[list[float], float, str]:
    """Simulate points one after the other; give the CPU time of each in s, the peak of memory in GiB, and a hash of all
    results."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    command = [sys.executable, "-c", _RUN, str(checkout)]
    given = json.dumps(points)
    ran = subprocess.run(
        command, input=given, cwd=checkout, env=environment, check=True, capture_output=True, text=True
    )
    took_s, peak_gib, results = json.loads(ran.stdout.splitlines()[-1])
    return took_s, peak_gib, results
