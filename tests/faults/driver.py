"""Drive the points of a file as a process of its own, which tests kill: driver.py POINTS.json ROOT LAUNCHER FUNCTION."""

import functools
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from tests.faults import points as functions
from thpsweep.errors import ThpsweepError
from thpsweep.sweep.driver.drive import drive
from thpsweep.sweep.local import serial
from thpsweep.sweep.local.serial import run_serial
from thpsweep.sweep.planning.check import planned_point
from thpsweep.sweep.planning.limits import PointLimits
from thpsweep.sweep.planning.plan import Plan
from thpsweep.sweep.ray import auto, pool, process
from thpsweep.sweep.ray.auto import run_auto
from thpsweep.sweep.ray.pool import run_pool
from thpsweep.sweep.ray.start import start
from thpsweep.sweep.tracking.target import target

LAUNCHERS = {
    "serial": run_serial,
    "ray": functools.partial(run_pool, actors=2),
    "auto": run_auto,
    "eager_auto": functools.partial(run_auto, actors=2),
}


def plan_of(root: Path, found: list[dict]) -> Plan:
    """Plan given points; TRACKED says where MLflow is: "sqlite" is beside the sweep, nothing is nowhere."""
    planned = [
        planned_point(point, {"seed": point["run"]["seed"]}, (f"run.seed={point['run']['seed']}",)) for point in found
    ]
    tracked = os.environ.get("TRACKED", "")
    where = target(root, tracked if tracked not in ("", "sqlite") else None)
    limits = PointLimits(deadline_s=60.0)
    return Plan(root, "t", (), tuple(planned), "config: true\n", bool(tracked), len(planned), {}, where, limits=limits)


def main(file: str, root: str, launcher: str, function: str) -> int:
    """Drive to the end, without an answer."""
    if launcher == "eager_auto":  # hands over to Ray at once
        auto.RAY_START_S, auto.WARM_S, serial.ARRIVAL_S, auto.usable_cpus = 0.0, 0.0, 0.0, lambda: 2
    if "SHADOW" in os.environ:  # another package of Ray's name
        sys.path.insert(0, os.environ["SHADOW"])
        process.START_S = float(os.environ["THPSWEEP_TEST_START_S"])
    if "KILLED_IN_START" in os.environ:
        part, delay_s = os.environ["KILLED_IN_START"].split()
        kill_in_start(part, float(delay_s))
    if "KILLED_IN" in os.environ:
        kill_in(Path(root).parent / "killed", *os.environ["KILLED_IN"].split())
    run = functools.partial(LAUNCHERS[launcher], function=getattr(functions, function))
    return drive(plan_of(Path(root), json.loads(Path(file).read_text())), run, lambda sweep: None).exit_code


def kill_in(note: Path, part: str, call: str) -> None:
    """Let a part of Ray die once, just before a call that needs it: `note` is there when it has."""

    def starting(*arguments):
        ray = start(*arguments)
        original = getattr(ray, call)

        def killing(*arguments, **options):
            if not note.exists():
                note.touch()
                (info,) = ray._private.worker._global_node.all_processes[part]
                info.process.kill()
                info.process.wait()
            return original(*arguments, **options)

        setattr(ray, call, killing)
        return ray

    pool.start = starting


def kill_in_start(part: str, delay_s: float) -> None:
    """Let a part of Ray die once, so long after it was there."""

    def wait_and_kill() -> None:
        while not (
            pids := [
                pid
                for child in process.children(os.getpid())
                for pid, name in process.children(child).items()
                if name == part
            ]
        ):
            time.sleep(0.01)
        time.sleep(delay_s)
        os.kill(pids[0], signal.SIGKILL)

    threading.Thread(target=wait_and_kill, daemon=True).start()


def run(*arguments: str) -> int:
    """Do what the command line does with an error."""
    try:
        return main(*arguments)
    except ThpsweepError as error:
        print(f"thpsweep: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(run(*sys.argv[1:]))
