"""The verbs that are no Hydra app: each takes its parsed options and gives an exit code."""

import argparse
import gc
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from thpsweep import streams
from thpsweep.errors import ThpsweepError

if TYPE_CHECKING:
    from thpsweep.sweep.records.status import Status
    from thpsweep.sweep.tracking.target import Target

DONE, NOT_DONE = 0, 1


def capture(options: argparse.Namespace) -> int:
    """Store the memory layout of a running process tree, and what it does if it is watched."""
    from thpsweep.linux.capture.command import capture

    return capture(options.pid, options.out, not options.no_children, options.seconds, not options.no_reads)


def advise(options: argparse.Namespace) -> int:
    """Say what would pay for a process tree."""
    from thpsweep.answers.advise.command import Request, run
    from thpsweep.config import conf_dir

    if options.trial != bool(options.command):
        raise ThpsweepError("--try: expected --try -- COMMAND ...")
    request = Request(
        pid=options.pid,
        capture=options.capture,
        machine=options.machine,
        conf=conf_dir(),
        root=options.dir,
        seconds=options.seconds,
        hours=options.hours,
        replicates=options.replicates,
        trial=tuple(options.command),
        only_parent=options.only_parent,
    )
    return run(request)


def calibrate(options: argparse.Namespace) -> int:
    """Measure this machine's prices."""
    from thpsweep.linux.calibrate.command import Request, run

    return run(Request(options.out, options.quick, options.against))


def validate(options: argparse.Namespace) -> int:
    """Hold the model against this machine's kernel."""
    from thpsweep.linux.validate.command import Request, run

    return run(
        Request(
            options.machine,
            options.only or [],
            options.random,
            options.seed,
            options.rounds,
            options.json,
            options.list,
        )
    )


def ui(options: argparse.Namespace) -> int:
    """Become the server of the runs' database; returns only where that fails, or where a server has the runs."""
    from thpsweep.config import target_of
    from thpsweep.sweep.records.status import found
    from thpsweep.sweep.tracking import ui
    from thpsweep.sweep.tracking.target import target

    where = target_of(found([options.sweep], options.dir)[0], None) if options.sweep else target(options.dir, None)
    if where.is_server:
        print(f"These runs are on a server, which has the UI: {where.without_user}")
        return DONE
    command, variables = ui.ui_command(where, options.port)
    ui.check_port(options.port)
    print(*ui.links(where, options.port), sep="\n", flush=True)
    os.execve(command[0], command, {**os.environ, **variables})


def status(options: argparse.Namespace) -> int:
    """Say how sweeps stand."""
    from thpsweep.sweep.records import status

    def say(directory: Path) -> int:
        known = status.status(directory)
        print(*known.lines(time.time(), _behind(known)), sep="\n")
        return DONE

    return _with_each(status.found(options.sweep, options.dir), say)


def _with_each(sweeps: Sequence[Path], do: Callable[[Path], int]) -> int:
    """Do something with each sweep, and give the worst exit code: one that cannot be used keeps no other from its turn."""
    worst = DONE
    for directory in sweeps:
        try:
            code = do(directory)
        except (ThpsweepError, OSError) as problem:
            said = streams.explained(problem) if isinstance(problem, OSError) else (str(problem), problem.exit_code)
            if said is None or isinstance(problem, BrokenPipeError):
                raise
            print(f"thpsweep: {said[0]}", file=sys.stderr)
            code = said[1]
        worst = max(worst, code)
    return worst


def _behind(known: "Status") -> str:
    """Say how MLflow stands to a sweep, which is no reason to say nothing of the sweep."""
    from thpsweep.config import is_tracked, target_of
    from thpsweep.sweep.tracking.lag import behind

    try:
        target = target_of(known.directory, None)
    except ThpsweepError as problem:
        return f"MLflow cannot be asked ({problem})"
    said = behind(target, known.id, {point: finished for point, (_, finished) in known.results.items()})
    wants_none = said.endswith("behind") and not is_tracked(known.directory)
    return "not in MLflow, as sweep.track=false" if wants_none else said


def sync(options: argparse.Namespace) -> int:
    """Bring MLflow in line with journals; 1 where one of them could not be, the others are."""
    from thpsweep.config import target_of
    from thpsweep.sweep.records.status import found

    sweeps = found(options.sweep, options.dir)
    if options.tracking_uri is not None:
        target_of(sweeps[0], options.tracking_uri)  # where that is none, it is none for all
    return _with_each(sweeps, lambda directory: _sync(directory, target_of(directory, options.tracking_uri)))


def _sync(directory: Path, target: "Target") -> int:
    from thpsweep.sweep.records.status import holder
    from thpsweep.sweep.tracking.tracker import Busy, track

    gc.freeze()  # what MLflow brings stays: no collection need walk it
    try:
        print(f"{directory}: {track(directory, target=target, is_idle=lambda: holder(directory) is None)}")
    except Busy:
        print(f"{directory}: is being run, and brings MLflow up to date itself")
    except Exception as problem:  # whatever MLflow and its database raise: the other sweeps may be recorded elsewhere
        print(f"thpsweep: {directory}: not recorded ({target.why(problem)})", file=sys.stderr)
        return NOT_DONE
    return DONE


def report(options: argparse.Namespace) -> int:
    """Answer the questions of sweeps, each in a file in its directory."""
    from thpsweep.answers.report.report import write_report
    from thpsweep.sweep.records import journal
    from thpsweep.sweep.records.status import found

    def write(directory: Path) -> int:
        print(write_report(journal.read(directory), options.machine))
        return DONE

    return _with_each(found(options.sweep, options.dir), write)
