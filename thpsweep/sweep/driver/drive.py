"""Run a plan: journal what comes in, follow it in MLflow, and leave it so that the same command goes on from there."""

import contextlib
import dataclasses
import datetime
import errno
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from thpsweep import __version__
from thpsweep.errors import StorageError
from thpsweep.model.simulate import MODEL_VERSION
from thpsweep.streams import NO_ROOM
from thpsweep.sweep.driver.follower import Follower, Process
from thpsweep.sweep.driver.interrupts import interruptible
from thpsweep.sweep.driver.name_conflicts import refuse_name_conflict
from thpsweep.sweep.driver.progress import progress
from thpsweep.sweep.driver.task_source import GridTasks, SearchTasks, make_source
from thpsweep.sweep.local.launcher import Launch, Terms
from thpsweep.sweep.planning.plan import Plan
from thpsweep.sweep.records import crash_log, environment, journal, reuse, run_record
from thpsweep.sweep.records.crash_log import CrashLog
from thpsweep.sweep.records.identity import code_id
from thpsweep.sweep.records.schema import PointRecord, ResultRecord, SweepRecord, result_record
from thpsweep.sweep.records.writer import Journal, writing

REFUSED = (errno.ENOENT, errno.EPERM, errno.EACCES, errno.EROFS, errno.ESTALE, errno.EIO)
"""How the system says that a folder was moved, made immutable or read-only, or that its disk or server is gone."""

ALL_DONE, SOME_FAILED = 0, 1
"""Exit codes; 2 is bad input, 3 a disk that takes no more, 130 and 143 are those of the signals."""


@dataclasses.dataclass(frozen=True)
class Driven:
    """What became of a plan: how the process should exit, and each point's latest result, also of earlier runs."""

    exit_code: int
    results: Mapping[str, ResultRecord]


def drive(plan: Plan, launch: Launch, finish: Callable[[journal.Sweep], None], begun: Process | None = None) -> Driven:
    """Run the points that the plan's journal has no success of.

    `finish` is called when all points have ended, before MLflow is brought up to date. `begun` is a process for MLflow
    that was begun before, if any.
    Raises: SweepError where another process runs the same sweep, or another sweep has its name; StorageError.
    """
    refuse_name_conflict(plan)
    with _keeping_results(plan), writing(plan.directory, _header(plan), _point_records(plan)) as (log, recorded):
        recorded = _taken_over(plan, log, recorded)
        _write_whole(plan.directory / "config.yaml", plan.config)
        environment.record(plan.directory)
        source = make_source(plan, log, recorded)
        _announce(plan, source, len(recorded.done))
        with Follower(plan, begun) as follower:
            exit_code = _run(plan, source, launch, log, follower) if source.tasks else ALL_DONE
            _conclude(source, log)
            sweep = _read_back(plan.directory)
            if exit_code == ALL_DONE:
                exit_code = _end(plan, sweep, follower, finish)
    return Driven(exit_code, sweep.results)


def _taken_over(plan: Plan, log: Journal, recorded: journal.Sweep) -> journal.Sweep:
    """Copy results that other sweeps of the folder have of these points; say where they come from."""
    if note := reuse.other_code(plan.root, plan.directory, plan.claimed, plan.overrides):
        print(f"thpsweep: {note}", file=sys.stderr)
    wanted = {point.id for point in plan.points} - recorded.done if plan.search is None else set()
    places = reuse.elsewhere(plan.root, plan.directory, wanted)
    if not places:
        return recorded
    names = reuse.take_over(log, places)
    print(f"thpsweep: {len(places)} points are taken over from {', '.join(names)}", file=sys.stderr)
    return journal.contents(plan.directory / journal.FILE_NAME)


def _read_back(directory: Path) -> journal.Sweep:
    """Read what was written. Raises: OSError where it is not there any more."""
    file = directory / journal.FILE_NAME
    if not file.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(file))
    return journal.read(directory)


def _run(plan: Plan, source: GridTasks, launch: Launch, log: Journal, follower: Follower) -> int:
    """Journal every arrival, and only then tell of it."""
    with interruptible() as interrupts, contextlib.closing(CrashLog(plan.directory / crash_log.FILE_NAME)) as crashes:
        terms = Terms(plan.limits, interrupts.draining, crashes, source)
        try:
            with (
                progress(lambda: source.total) as meter,
                contextlib.closing(launch(source.tasks, terms)) as arrivals,
            ):
                for arrival in arrivals:
                    log.append(*(result_record(key, _now(), outcome) for key, outcome in arrival))
                    source.take(arrival)
                    for _, outcome in arrival:
                        meter(outcome["state"])
        except KeyboardInterrupt:
            interrupts.draining.set()
            follower.leave()
    if interrupts.draining.is_set() and not source.is_over:
        of = f"{'about ' if plan.search else ''}{source.total}"
        message = f"{source.n_ended} of {of} results came in and are kept in {plan.directory}; the same command goes on"
        print(f"thpsweep: stopped; {message}", file=sys.stderr)
        return interrupts.exit_code
    return ALL_DONE


def _end(plan: Plan, sweep: journal.Sweep, follower: Follower, finish: Callable[[journal.Sweep], None]) -> int:
    """Make of all results what there is to be made; whoever does not wait for it loses none of them."""
    with interruptible(at_once=True) as interrupts:
        try:
            follower.ended()
            finish(sweep)
            follower.finish(final=True)
        except KeyboardInterrupt:
            follower.leave()
            message = f"all {len(sweep.points)} points have ended and are kept in {plan.directory}"
            print(f"thpsweep: stopped; {message}; the same command makes the rest of them", file=sys.stderr)
            return interrupts.exit_code
    return _report_failures(sweep)


def _conclude(source: GridTasks, log: Journal) -> None:
    """Note in the journal that a search is over, unless that is the last it says."""
    if isinstance(source, SearchTasks) and source.is_over and not source.is_concluded:
        log.append({"type": journal.CONCLUDED, "finished": _now()})


@contextlib.contextmanager
def _keeping_results(plan: Plan) -> Iterator[None]:
    """Say in one line that the sweep's folder takes no more, or is gone, and what that means for its results."""
    try:
        yield
    except OSError as problem:
        is_full = problem.errno in NO_ROOM
        if not is_full and not (problem.errno in REFUSED and _is_below(problem.filename, plan.directory)):
            raise
        raise StorageError(_kept(plan.directory, problem, is_full=is_full)) from problem


def _kept(directory: Path, problem: OSError, *, is_full: bool) -> str:
    if not is_full and not (directory / journal.FILE_NAME).exists():
        gone = "moved or removed; all results that were reported are kept in its journal, wherever that is now"
        return f"{directory}: {gone}; the same command goes on when it is back"
    kept = "all results that were reported are kept; the same command goes on when"
    what = "there is room" if is_full else "it can be written to"
    return f"{problem.filename or directory}: {problem.strerror}; {kept} {what}"


def _is_below(name: str | bytes | int | None, directory: Path) -> bool:
    """Tell whether an error is about a sweep's folder: it names a file in there, or no file, as writes to the journal do."""
    return name is None or isinstance(name, int) or Path(os.fsdecode(name)).is_relative_to(directory)


def _write_whole(file: Path, text: str) -> None:
    """Put a text under a name at once: no reader and no end of this process finds a part of it."""
    unfinished = file.with_name(f".{file.name}")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, file)


def _header(plan: Plan) -> SweepRecord:
    header: SweepRecord = {
        "type": "sweep",
        "format": journal.FORMAT,
        "sweep": plan.id,
        "name": plan.name,
        "thpsweep": __version__,
        "model": MODEL_VERSION,
        "code": code_id(),
        "created": _now(),
        "overrides": list(plan.overrides),
        "n_points": len(plan.points),
    }
    if plan.search is not None:
        header["search"] = {**plan.search.spec, **plan.search.note}
    return header


def _point_records(plan: Plan) -> list[PointRecord]:
    if plan.search is not None:  # it records its points itself, when it proposes them
        return []
    return [point.record(index) for index, point in enumerate(plan.points)]


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat()


def _announce(plan: Plan, source: GridTasks, n_done: int) -> None:
    already = f", {n_done} already done" if n_done else ""
    points = plan.counted if plan.search is None else f"about {n_done + source.total} points"
    print(f"{points}{already}{plan.left_out}; journal in {plan.directory}", file=sys.stderr)


def _report_failures(sweep: journal.Sweep) -> int:
    """List each point that did not end well, with its reason."""
    failed = [key for key in sweep.points if sweep.states.get(key) != "done"]
    for key in failed:
        what = " ".join(f"{name}={value}" for name, value in sweep.points[key]["params"].items())
        print(f"thpsweep: {_why(sweep, key, what)}", file=sys.stderr)
    if failed:
        message = f"{len(failed)} of {len(sweep.points)} points failed; the same command tries them again"
        print(f"thpsweep: {message}", file=sys.stderr)
    return SOME_FAILED if failed else ALL_DONE


def _why(sweep: journal.Sweep, key: str, what: str) -> str:
    if key not in sweep.states:
        return f"failed: {what}: its record was damaged on the disk"
    return f"{sweep.states[key]}: {what}: {run_record.error_line(sweep.results[key])}"
