"""The verbs. `run` and `sweep` are one Hydra app; whatever is heavy is imported by the verb that needs it."""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from thpsweep import __version__, streams, verbs
from thpsweep.arguments import (
    COMPLETION,
    HYDRA_VERBS,
    for_hydra,
    line_to_complete,
    load_plugins,
    verbs_to_complete,
)
from thpsweep.errors import ThpsweepError

INTERRUPTED = 130
PIPE_CLOSED = 141


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

    from thpsweep.application import Application
    from thpsweep.config import hydra_defaults, register
    from thpsweep.explain import explain
    from thpsweep.shipped import conf_dir

    for_developers = os.environ.get("HYDRA_FULL_ERROR") == "1"
    application = Application(previews=arguments[0] == "plan", whole="--all" in arguments)
    arguments = load_plugins(arguments)
    register()
    sys.argv[1:] = for_hydra(arguments)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise, and let us say it
    if "COMP_LINE" in os.environ:
        os.environ["COMP_LINE"] = line_to_complete(os.environ["COMP_LINE"])
    try:
        with _the_verb_is_the_mode():
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


@contextlib.contextmanager
def _the_verb_is_the_mode() -> Iterator[None]:
    """Keep Hydra from composing everything once only to read hydra.mode: None makes it go by --multirun, which our verb
    decides.

    Source: hydra/_internal/utils.py _run_app (hydra-core 1.3.2).
    """
    from hydra._internal.hydra import Hydra

    asks = Hydra.get_mode
    Hydra.get_mode = lambda *_, **__: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        Hydra.get_mode = asks  # type: ignore[method-assign]


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
        "--against", metavar="FILE.yaml|NAME", help="compare with an earlier calibration: 1 where they disagree"
    )
    calibrate.set_defaults(verb=verbs.calibrate)
    validate = parsers.add_parser("validate", help="hold the model against this machine's kernel, scenario by scenario")
    validate.add_argument("--machine", metavar="FILE.yaml|NAME", help="prices that predict time (default: milan_vm)")
    validate.add_argument("--only", action="append", metavar="NAME", help="scenarios whose name holds this; repeatable")
    validate.add_argument("--random", type=int, default=0, metavar="N", help="N scenarios drawn at random instead")
    validate.add_argument(
        "--seed", type=int, default=0, metavar="S", help="draw them with the seeds from S on (default: 0)"
    )
    validate.add_argument("--rounds", type=int, default=5, help="times each scenario is run for its time (default: 5)")
    validate.add_argument("--json", type=Path, metavar="FILE", help="write everything to a file, too")
    validate.add_argument("--list", action="store_true", help="list the scenarios and run none")
    validate.set_defaults(verb=verbs.validate)
    _add_prototype(parsers)
    status = parsers.add_parser("status", help="say how far sweeps are, running or not")
    status.set_defaults(verb=verbs.status)
    sync = parsers.add_parser("sync", help="add to MLflow what it lacks of finished points")
    sync.add_argument("--tracking-uri", metavar="URI", help="record them there (default: where the sweep was to be)")
    sync.set_defaults(verb=verbs.sync)
    report = parsers.add_parser("report", help="answer a sweep's question in one HTML file, with its charts")
    report.add_argument("--machine", metavar="FILE.yaml|NAME", help="profile that says where its prices come from")
    report.set_defaults(verb=verbs.report)
    for about_sweeps in (status, sync, report):
        about_sweeps.add_argument("sweep", type=Path, nargs="*", metavar="SWEEP", help="its directory (default: all)")
        about_sweeps.add_argument("--dir", type=Path, default=Path("sweeps"), help="where sweeps are (default: sweeps)")
    return parser


def _add_prototype(parsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    prototype = parsers.add_parser(
        "prototype", help="run the mechanisms that no kernel has in one, under emulation, and compare with the model"
    )
    prototype.add_argument(
        "action",
        choices=("check", "compare", "price", "stress"),
        help="check: are they right; compare: families drawn at random, in the model and in the kernel; "
        "price: instructions a pte; stress: many collapses while processes write, fork and exit",
    )
    prototype.add_argument(
        "--kernel", default="6.12", metavar="VERSION", help="6.12 or 7.3, from Debian (default: 6.12)"
    )
    prototype.add_argument("--families", type=int, default=20, metavar="N", help="compare: how many (default: 20)")
    prototype.add_argument("--seed", type=int, default=0, help="compare: which (default: 0)")
    prototype.add_argument("--out", type=Path, metavar="FILE.yaml", help="price: file to write the table to, too")
    prototype.set_defaults(verb=verbs.prototype)


def _add_advise(parsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    advise = parsers.add_parser(
        "advise", help="say what would pay for a process tree on this machine, and how to do it"
    )
    advise.add_argument("--pid", type=int, help="process whose tree is captured")
    advise.add_argument("--capture", metavar="FILE.npz|NAME", help="captured file, instead of a live tree")
    advise.add_argument(
        "--try", dest="trial", action="store_true", help="start COMMAND, collapse its memory, and compare"
    )
    advise.add_argument("--only-parent", action="store_true", help="with --try: collapse the memory of its root alone")
    advise.add_argument("--machine", metavar="FILE.yaml|NAME", help="prices (default: milan_vm)")
    advise.add_argument("--seconds", type=float, default=10.0, metavar="S", help="how long to watch it (default: 10)")
    advise.add_argument("--hours", type=float, default=1.0, help="simulated time (default: 1)")
    advise.add_argument("--replicates", type=int, default=4, help="repetitions of the simulation (default: 4)")
    advise.add_argument("--dir", type=Path, default=Path("sweeps"), help="captures and journals (default: sweeps)")
    advise.add_argument("command", nargs="*", metavar="COMMAND", help="with --try, behind --: what to start")
    advise.set_defaults(verb=verbs.advise)


if __name__ == "__main__":
    main()
