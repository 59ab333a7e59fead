"""Drive points on a cluster as a process of its own: driver.py POINTS.json ROOT FUNCTION."""

import functools
import json
import sys
from pathlib import Path

from tests.bench.test_engine import trivial
from tests.each import each
from tests.faults import points as functions
from tests.faults.driver import plan_of
from thpsweep.errors import ThpsweepError
from thpsweep.model.simulate import simulate_each
from thpsweep.sweep.driver.drive import drive
from thpsweep.sweep.local.serial import run_serial
from thpsweep.sweep.ray.pool import run_pool


def main(file: str, root: str, function: str, launcher: str = "cluster") -> int:
    """Drive to the end, without an answer, and do what the command line does with an error."""
    named = {"trivial": each(trivial), "simulate": simulate_each}
    run = named.get(function) or getattr(functions, function)
    launch = (
        functools.partial(run_serial, function=run)
        if launcher == "serial"
        else functools.partial(run_pool, address="auto", function=run)
    )
    try:
        return drive(plan_of(Path(root), json.loads(Path(file).read_text())), launch, lambda sweep: None).exit_code
    except ThpsweepError as error:
        print(f"thpsweep: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
