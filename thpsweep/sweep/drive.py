"""Run a plan: journal what comes in, follow it in MLflow, and leave it so that the same command goes on from there."""

import contextlib
import dataclasses
import datetime
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FrameType

from thpsweep import __version__
from thpsweep.model.simulate import MODEL_VERSION
from thpsweep.sweep import environment, journal
from thpsweep.sweep.follow import Follower
from thpsweep.sweep.plan import Plan
from thpsweep.sweep.progress import progress
from thpsweep.sweep.serial import Launch, Outcome, Task
from thpsweep.sweep.writer import Journal, writing

ALL_DONE, SOME_FAILED = 0, 1
INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
"""Exit codes; 2 is bad input."""


@dataclasses.dataclass(frozen=True)
class Driven:
    """What became of a plan: how the process should exit, and each point's latest result, also of earlier runs."""

    exit_code: int
    results: Mapping[str, journal.Record]


def drive(plan: Plan, launch: Launch, finish: Callable[[journal.Sweep], None]) -> Driven:
    """Run the points that the plan's journal has no success of.

    `finish` is called when all points have ended, before MLflow is brought up to date.
    Raises: SweepError where another process runs the same sweep, or where its journal is damaged.
    """
    with writing(plan.directory, _header(plan), _point_records(plan)) as (log, found):
        (plan.directory / "config.yaml").write_text(plan.config)
        environment.record(plan.directory)
        tasks = [(point.id, point.point) for point in plan.points if point.id not in found.done]
        _announce(plan, len(tasks))
        with Follower(plan) as follower:
            exit_code = _run(plan, tasks, launch, log) if tasks else ALL_DONE
            sweep = journal.read(plan.directory)
            if exit_code == ALL_DONE:
                finish(sweep)
                follower.finish(final=True)
                exit_code = _report_failures(sweep)
    return Driven(exit_code, sweep.results)


def _run(plan: Plan, tasks: list[Task], launch: Launch, log: Journal) -> int:
    ended = 0
    terminated = threading.Event()
    try:
        with _terminable(terminated), progress(len(tasks)) as meter, contextlib.closing(launch(tasks)) as outcomes:
            for key, outcome in outcomes:
                log.append(_result_record(key, outcome))
                ended += 1
                meter(outcome["state"])
    except KeyboardInterrupt:
        said = f"{ended} of {len(tasks)} results came in and are kept in {plan.directory}; the same command goes on"
        print(f"thpsweep: stopped; {said}", file=sys.stderr)
        return TERMINATED if terminated.is_set() else INTERRUPTED
    return ALL_DONE


@contextlib.contextmanager
def _terminable(terminated: threading.Event) -> Iterator[None]:
    """Let SIGTERM do what SIGINT does, so that workers are stopped and the user is told; `terminated` tells them apart.

    It has to be KeyboardInterrupt: Ray's compiled calls turn any other exception of a signal handler into a SystemError.
    """

    def terminate(number: int, frame: FrameType | None) -> None:
        terminated.set()
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _header(plan: Plan) -> journal.Record:
    return {
        "type": "sweep",
        "format": journal.FORMAT,
        "sweep": plan.id,
        "name": plan.name,
        "thpsweep": __version__,
        "model": MODEL_VERSION,
        "created": _now(),
        "overrides": list(plan.overrides),
        "n_points": len(plan.points),
    }


def _point_records(plan: Plan) -> list[journal.Record]:
    return [
        {"type": "point", "id": point.id, "index": index, "params": dict(point.params), "point": point.point}
        for index, point in enumerate(plan.points)
    ]


def _result_record(key: str, outcome: Outcome) -> journal.Record:
    return {"type": "result", "id": key, **outcome, "finished": _now()}


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat()


def _announce(plan: Plan, n_tasks: int) -> None:
    already = f", {len(plan.points) - n_tasks} already done" if n_tasks < len(plan.points) else ""
    print(f"{len(plan.points)} points{already}{plan.left_out}; journal in {plan.directory}", file=sys.stderr)


def _report_failures(sweep: journal.Sweep) -> int:
    """List each point that failed with its reason."""
    failed = [key for key in sweep.points if sweep.results[key]["state"] != "done"]
    for key in failed:
        what = " ".join(f"{name}={value}" for name, value in sweep.points[key]["params"].items())
        error = sweep.results[key]["error"]
        print(f"thpsweep: failed: {what}: {error['type']}: {error['message']}", file=sys.stderr)
    if failed:
        said = f"{len(failed)} of {len(sweep.points)} points failed; the same command tries them again"
        print(f"thpsweep: {said}", file=sys.stderr)
    return SOME_FAILED if failed else ALL_DONE
