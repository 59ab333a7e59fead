"""The verbs that are no Hydra app: each takes its parsed options and gives an exit code."""

import argparse
import dataclasses
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
    from thpsweep.sweep.tracking.lag import Questions
    from thpsweep.sweep.tracking.target import Target

DONE, NOT_DONE = 0, 1


def capture(options: argparse.Namespace) -> int:
    """Store the memory layout of a running process tree, and what it does if it is watched."""
    from thpsweep.linux.capture.command import capture
    from thpsweep.shipped import machine_file

    machine = machine_file("--machine", options.machine)
    return capture(options.pid, options.out, not options.no_children, options.seconds, not options.no_reads, machine)


def import_text(options: argparse.Namespace) -> int:
    """Make a memory layout of pasted text."""
    from thpsweep.linux.capture.imported.command import run

    return run(options.file, options.out)


def advise(options: argparse.Namespace) -> int:
    """Say what would pay for a process tree."""
    from thpsweep.answers.advise.command import AdviseRequest, run
    from thpsweep.answers.advise.overrides import parse, split
    from thpsweep.model.capture import files
    from thpsweep.shipped import machine_file

    words, command = split(options.command)
    if options.trial != bool(command):
        what = (
            "--try -- COMMAND ..." if options.trial else "workload.KEY=VALUE, machine.KEY=VALUE or khugepaged.KEY=VALUE"
        )
        raise ThpsweepError(f"{'--try' if options.trial else ' '.join(command)}: expected {what}")
    request = AdviseRequest(
        pid=options.pid,
        capture=None if options.capture is None else files.find("--capture", options.capture),
        machine=machine_file("--machine", options.machine),
        is_default=options.machine is None,
        root=options.dir,
        seconds=options.seconds,
        hours=options.hours,
        replicates=options.replicates,
        trial=tuple(command),
        only_parent=options.only_parent,
        overrides=parse(words, options.walk_share),
        all_commands=options.all_commands,
    )
    return run(request)


def collapse(options: argparse.Namespace) -> int:
    """Give a process tree huge pages from outside, or say what that would do."""
    from thpsweep.linux.collapse.command import CollapseRequest, run
    from thpsweep.linux.collapse.limits import parse_bytes

    max_bytes = None if options.max_bytes is None else parse_bytes("--max-bytes", options.max_bytes)
    return run(CollapseRequest(options.pid, not options.no_children, max_bytes, options.max_seconds, options.apply))


def calibrate(options: argparse.Namespace) -> int:
    """Measure this machine's prices."""
    from thpsweep.linux.calibrate.command import CalibrateRequest, run
    from thpsweep.shipped import machine_file

    against = None if options.against is None else machine_file("--against", options.against)
    return run(CalibrateRequest(options.out, options.quick, against))


def validate(options: argparse.Namespace) -> int:
    """Hold the model against this machine's kernel."""
    from thpsweep.linux.validate.command import ValidateRequest, run
    from thpsweep.shipped import machine_file

    machine = machine_file("--machine", options.machine)
    drawn = options.random, options.seed
    request = ValidateRequest(machine, options.only or [], *drawn, options.rounds, options.json, options.list)
    return run(dataclasses.replace(request, kernel=options.kernel))


def prototype(options: argparse.Namespace) -> int:
    """Run the mechanisms that no kernel has in one, in a virtual machine."""
    from thpsweep.linux.prototype.command import PrototypeRequest, run

    return run(PrototypeRequest(options.action, options.kernel, options.families, options.seed, options.out))


def new(options: argparse.Namespace) -> int:
    """Write a file of the user's own."""
    from thpsweep.kit.new import new

    print(*new(options.kind, options.name, options.dir), sep="\n")
    return DONE


def check(options: argparse.Namespace) -> int:
    """Try a file of the user's own; 1 where it breaks a rule."""
    from thpsweep.config.own import spec_of_own
    from thpsweep.kit.check import check
    from thpsweep.model import plugins

    plugin = plugins.read(str(options.file))
    group = plugins.load(plugin)
    kept = True
    for line in check(group, plugin, spec_of_own(group, plugin.name)):
        kept &= line.kept
        print(line, flush=True)
    return DONE if kept else NOT_DONE


def ui(options: argparse.Namespace) -> int:
    """Become the server of the runs' database; returns only where that fails, or where a server has the runs."""
    from thpsweep.config.recorded import target_of
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
    from thpsweep.sweep.tracking.lag import Questions

    questions = Questions()

    def show(directory: Path) -> int:
        known = status.status(directory)
        print(*known.lines(time.time()), sep="\n", flush=True)  # MLflow may take its time to answer
        print(f"  {_lag(known, questions)}", flush=True)
        return DONE

    return _with_each(status.found(options.sweep, options.dir), show)


def _with_each(sweeps: Sequence[Path], do: Callable[[Path], int]) -> int:
    """Do something with each sweep, and give the worst exit code: one that cannot be used keeps no other from its turn."""
    worst = DONE
    for directory in sweeps:
        try:
            code = do(directory)
        except (ThpsweepError, OSError) as problem:
            message = streams.explained(problem) if isinstance(problem, OSError) else (str(problem), problem.exit_code)
            if message is None or isinstance(problem, BrokenPipeError):
                raise
            print(f"thpsweep: {message[0]}", file=sys.stderr)
            code = message[1]
        worst = max(worst, code)
    return worst


def _lag(known: "Status", questions: "Questions") -> str:
    """Say how MLflow stands to a sweep, which is no reason to say nothing of the sweep."""
    from thpsweep.config.recorded import is_tracked, target_of

    try:
        target = target_of(known.directory, None)
    except ThpsweepError as problem:
        return f"MLflow cannot be asked ({problem})"
    text = questions.describe(target, known.directory)
    wants_none = text.endswith("behind") and not is_tracked(known.directory)
    return "not in MLflow, as sweep.track=false" if wants_none else text


def sync(options: argparse.Namespace) -> int:
    """Bring MLflow in line with journals; 1 where one of them could not be, the others are."""
    from thpsweep.config.recorded import target_of
    from thpsweep.sweep.records.status import found

    sweeps = found(options.sweep, options.dir)
    if options.tracking_uri is not None:
        target_of(sweeps[0], options.tracking_uri)  # where that is none, it is none for all
    return _with_each(sweeps, lambda directory: _sync(directory, target_of(directory, options.tracking_uri)))


def _sync(directory: Path, target: "Target") -> int:
    from thpsweep.config.recorded import labels_of
    from thpsweep.sweep.records.status import holder
    from thpsweep.sweep.tracking.tracker import SweepIsRunning, track

    gc.freeze()  # what MLflow brings stays: no collection need walk it
    try:
        added = track(directory, target=target, labels=labels_of(directory), is_idle=lambda: holder(directory) is None)
        print(f"{directory}: {added}")
    except SweepIsRunning:
        print(f"{directory}: is being run, and brings MLflow up to date itself")
    except Exception as problem:  # whatever MLflow and its database raise: the other sweeps may be recorded elsewhere
        print(f"thpsweep: {directory}: not recorded ({target.why(problem)})", file=sys.stderr)
        return NOT_DONE
    return DONE


def report(options: argparse.Namespace) -> int:
    """Answer the questions of sweeps, each in a file in its directory."""
    from thpsweep.answers.report.report import write_report
    from thpsweep.arguments import load_files
    from thpsweep.shipped import machine_file
    from thpsweep.sweep.records import journal
    from thpsweep.sweep.records.status import found

    load_files(options.plugin or [])
    machine = None if options.machine is None else machine_file("--machine", options.machine)

    def write(directory: Path) -> int:
        print(write_report(journal.read(directory), machine))
        return DONE

    return _with_each(found(options.sweep, options.dir), write)
