"""The verbs. `run` and `sweep` are one Hydra app; whatever is heavy is imported by the verb that needs it."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thpsweep import __version__, streams, verbs
from thpsweep.arguments import (
    COMPLETION,
    HYDRA_VERBS,
    NOBODY_RECORDS,
    ONLY_OURS,
    for_hydra,
    line_to_complete,
    load_plugins,
    verbs_to_complete,
)
from thpsweep.errors import ThpsweepError

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.console import Console

    from thpsweep.sweep.drive import Driven
    from thpsweep.sweep.follow import Process
    from thpsweep.sweep.forecast import Workers
    from thpsweep.sweep.journal import Sweep
    from thpsweep.sweep.plan import Plan
    from thpsweep.sweep.serial import Launch

INTERRUPTED = 130
PIPE_CLOSED = 141

NARROWEST = 80
"""Columns that tables take at least: a smaller terminal breaks their lines, which can still be read."""


class Application:
    """The task function of the Hydra app. Hydra gives it to our plugins too, which plan and drive through it.

    exit_code and problem are what a command ended with: Hydra itself hands neither back.
    """

    def __init__(self, *, previews: bool = False, whole: bool = False) -> None:
        self.previews, self._whole = previews, whole
        self._records = False
        self.exit_code = 0
        self.problem: Exception | None = None
        self._begun: Process | None = None

    def __call__(self, config: "DictConfig") -> Any:
        """Run the job of a composed config: in a multirun just the simulation, else a sweep of one point."""
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode

        from thpsweep.config import point_of
        from thpsweep.model.simulate import simulate

        self.refuse_to_run()
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            if self._records:
                return simulate(point_of(config))
            self.problem = ThpsweepError(NOBODY_RECORDS)
            return None
        try:
            return self._run_alone(config)
        except Exception as problem:  # Hydra would add lines of its own to what the user reads
            self.problem = problem
            return None

    def expect(self, *, tracked: bool) -> None:
        """Let MLflow make itself ready while a plan is made."""
        from thpsweep.sweep import follow

        if tracked and not self.previews:
            self._begun = follow.begin()

    def close(self) -> None:
        """Do without MLflow where there was no plan for it."""
        if self._begun is not None:
            from thpsweep.sweep import follow

            follow.end(self._begun)

    def drive(self, plan: "Plan", launch: "Launch") -> "Driven":
        """Run a plan to its table and plot."""
        from thpsweep.sweep.drive import drive

        self._records = True
        driven = drive(plan, launch, _finish, self._begun)
        if driven.exit_code in (0, 1) and plan.tracked:
            print(f"Compare the runs in a browser: {plan.target.shown_by(plan.root, plan.directory)}")
        self.exit_code = driven.exit_code
        return driven

    def preview(self, plan: "Plan", workers: "Workers") -> None:
        """Show a plan and what it would take."""
        from rich.console import Console

        from thpsweep.answers.preview import points_table, search_summary, summary
        from thpsweep.sweep import journal
        from thpsweep.sweep.forecast import forecast

        file = plan.directory / journal.FILE_NAME
        found = journal.contents(file) if file.is_file() else None
        done = found.done if found else set()
        console = Console()
        Console(width=_width(console)).print(points_table(plan, done, whole=self._whole))
        if plan.search is not None:
            print(*search_summary(plan, found, workers), sep="\n")
            return
        print(*summary(plan, done, forecast(plan, done, workers)), sep="\n")

    def refuse_to_run(self) -> None:
        """Hold back what another sweeper wants to run where the command only asked for the plan."""
        if self.previews:
            raise ThpsweepError(ONLY_OURS)

    def _run_alone(self, config: "DictConfig") -> Any:
        from hydra.core.hydra_config import HydraConfig

        from thpsweep.config import plan_of, point_of
        from thpsweep.sweep.axes import Job
        from thpsweep.sweep.serial import serial

        job = Job(tuple(HydraConfig.get().overrides.task), {})
        plan = plan_of(config, HydraConfig.get(), [job], lambda _: point_of(config))
        return self.drive(plan, serial).results[plan.points[0].id]["result"]


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 done, 1 some points failed, 2 bad input, 3 disk full, 130 and 143 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for_developers = os.environ.get("HYDRA_FULL_ERROR") == "1"
    streams.prepare()
    try:
        code = _run(arguments)
        streams.flush()
    except ThpsweepError as error:
        print(f"thpsweep: {error}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        streams.give_up()
        code = PIPE_CLOSED
    except OSError as problem:
        said = streams.explained(problem)
        if said is None or for_developers:
            raise
        print(f"thpsweep: {said[0]}", file=sys.stderr)
        code = said[1]
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    if arguments and arguments[0] in COMPLETION and "COMP_LINE" in os.environ:
        return _complete(arguments)
    return _hydra(arguments) if _is_hydra(arguments) else _plain(arguments)


def _complete(arguments: list[str]) -> int:
    """Print how a line may go on: its verb, or what Hydra knows of. A line that is not ready is not judged."""
    found = verbs_to_complete(os.environ["COMP_LINE"])
    if found is not None:
        print(*found, sep="\n" if "query=fish" in arguments else " ")
        return 0
    try:
        return _hydra(arguments)
    except ThpsweepError as error:
        return error.exit_code


def _is_hydra(arguments: Sequence[str]) -> bool:
    # Hydra's completion script calls the program with its own flag first, whatever the verb.
    return bool(arguments) and arguments[0] in (*HYDRA_VERBS, *COMPLETION)


def _hydra(arguments: list[str]) -> int:
    """Hand over to Hydra, and turn what it raises into one line."""
    import hydra

    from thpsweep.config import conf_dir, hydra_defaults, register
    from thpsweep.explain import explain

    for_developers = os.environ.get("HYDRA_FULL_ERROR") == "1"
    application = Application(previews=arguments[0] == "plan", whole="--all" in arguments)
    arguments = load_plugins(arguments)
    register()
    sys.argv[1:] = for_hydra(arguments)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise, and let us say it
    if "COMP_LINE" in os.environ:
        os.environ["COMP_LINE"] = line_to_complete(os.environ["COMP_LINE"])
    try:
        hydra.main(config_path=str(conf_dir()), config_name="config", **hydra_defaults())(application)()
        if application.problem is not None:
            raise application.problem
    except Exception as error:
        line = None if for_developers or isinstance(error, ThpsweepError) else explain(error)
        if line is None:
            raise
        raise ThpsweepError(line) from error
    finally:
        application.close()
    return application.exit_code


def _plain(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    code: int = options.verb(options)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("thpsweep", description="When does collapsing shared memory into a THP pay back?")
    parser.add_argument("--version", action="version", version=f"thpsweep {__version__}")
    parsers = parser.add_subparsers(metavar="VERB", required=True)
    for name, about in HYDRA_VERBS.items():
        parsers.add_parser(name, help=about, add_help=False)
    capture = parsers.add_parser("capture", help="store the memory layout of a running process tree")
    capture.add_argument("--pid", type=int, required=True, help="process whose tree is captured")
    capture.add_argument("--out", type=Path, required=True, metavar="FILE.npz", help="file to write")
    capture.add_argument("--no-children", action="store_true", help="only the process itself")
    capture.add_argument("--seconds", type=float, default=0.0, metavar="S", help="watch it before: rates (default: 0)")
    capture.add_argument(
        "--no-reads", action="store_true", help="leave the young bits of its pages alone while watching"
    )
    capture.set_defaults(verb=verbs.capture)
    _add_advise(parsers)
    ui = parsers.add_parser("ui", help="open the runs in MLflow, on this machine only")
    ui.add_argument("--dir", type=Path, default=Path("sweeps"), help="the sweep.dir of the sweeps (default: sweeps)")
    ui.add_argument(
        "sweep", type=Path, nargs="?", metavar="SWEEP", help="one that was recorded elsewhere (default: --dir)"
    )
    ui.add_argument("--port", type=int, default=5000, help="port on 127.0.0.1 (default: 5000)")
    ui.set_defaults(verb=verbs.ui)
    calibrate = parsers.add_parser("calibrate", help="measure this machine's prices, within 3 minutes")
    calibrate.add_argument("--out", type=Path, metavar="NAME.yaml", help="profile to write (default: standard output)")
    calibrate.add_argument("--quick", action="store_true", help="one round: for a look, not for figures")
    calibrate.add_argument(
        "--against", type=Path, metavar="FILE.yaml", help="compare with an earlier calibration: 1 where they disagree"
    )
    calibrate.set_defaults(verb=verbs.calibrate)
    validate = parsers.add_parser("validate", help="hold the model against this machine's kernel, scenario by scenario")
    validate.add_argument(
        "--machine", type=Path, metavar="FILE.yaml", help="prices that predict time (default: milan_vm)"
    )
    validate.add_argument("--only", action="append", metavar="NAME", help="scenarios whose name holds this; repeatable")
    validate.add_argument("--random", type=int, default=0, metavar="N", help="N scenarios drawn at random instead")
    validate.add_argument("--rounds", type=int, default=5, help="times each scenario is run for its time (default: 5)")
    validate.add_argument("--json", type=Path, metavar="FILE", help="write everything to a file, too")
    validate.add_argument("--list", action="store_true", help="list the scenarios and run none")
    validate.set_defaults(verb=verbs.validate)
    status = parsers.add_parser("status", help="say how far sweeps are, running or not")
    status.set_defaults(verb=verbs.status)
    sync = parsers.add_parser("sync", help="add to MLflow what it lacks of finished points")
    sync.add_argument("--tracking-uri", metavar="URI", help="record them there (default: where the sweep was to be)")
    sync.set_defaults(verb=verbs.sync)
    report = parsers.add_parser("report", help="answer a sweep's question in one HTML file, with its charts")
    report.add_argument(
        "--machine", type=Path, metavar="FILE.yaml", help="profile that says where its prices come from"
    )
    report.set_defaults(verb=verbs.report)
    for about_sweeps in (status, sync, report):
        about_sweeps.add_argument("sweep", type=Path, nargs="*", metavar="SWEEP", help="its directory (default: all)")
        about_sweeps.add_argument("--dir", type=Path, default=Path("sweeps"), help="where sweeps are (default: sweeps)")
    return parser


def _add_advise(parsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    advise = parsers.add_parser(
        "advise", help="say what would pay for a process tree on this machine, and how to do it"
    )
    advise.add_argument("--pid", type=int, help="process whose tree is captured")
    advise.add_argument("--capture", type=Path, metavar="FILE.npz", help="captured file, instead of a live tree")
    advise.add_argument(
        "--try", dest="trial", action="store_true", help="start COMMAND, collapse its memory, and compare"
    )
    advise.add_argument("--only-parent", action="store_true", help="with --try: collapse the memory of its root alone")
    advise.add_argument("--machine", type=Path, metavar="FILE.yaml", help="prices (default: milan_vm)")
    advise.add_argument("--seconds", type=float, default=10.0, metavar="S", help="how long to watch it (default: 10)")
    advise.add_argument("--hours", type=float, default=1.0, help="simulated time (default: 1)")
    advise.add_argument("--replicates", type=int, default=4, help="repetitions of the simulation (default: 4)")
    advise.add_argument("--dir", type=Path, default=Path("sweeps"), help="captures and journals (default: sweeps)")
    advise.add_argument("command", nargs="*", metavar="COMMAND", help="with --try, behind --: what to start")
    advise.set_defaults(verb=verbs.advise)


def _width(console: "Console") -> int:
    """Give the width of tables: the terminal's, unless it is so small that they would break numbers in two."""
    return max(console.width, NARROWEST) if console.is_terminal else 170


def _finish(sweep: "Sweep") -> None:
    """Show the answer of a sweep and leave it in the sweep's directory: table as text and CSV, plot, report."""
    from rich.console import Console

    from thpsweep.answers import frame
    from thpsweep.answers.plot import plot
    from thpsweep.answers.question import question_of
    from thpsweep.answers.report import write_report
    from thpsweep.answers.searched import searched
    from thpsweep.answers.table import table, text

    console = Console()
    as_text = text(sweep)
    width = _width(console)
    if "search" in sweep.header:
        Console(width=width).print(searched(sweep))
    elif console.is_terminal:
        Console(width=width).print(table(sweep, width=width))
    else:
        print(as_text)
    (sweep.directory / "table.txt").write_text(as_text, encoding="utf-8")
    frame.write_csv(sweep, sweep.directory / "table.csv")
    if sweep.done:
        plot(sweep, sweep.directory / "plot.png")
        if question_of(sweep.directory):
            print(f"Report: {write_report(sweep)}")


if __name__ == "__main__":
    main()
