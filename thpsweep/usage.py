"""What the command line offers: the verbs with an example each, and the options of those that are not Hydra's."""

import argparse
from pathlib import Path

from thpsweep import __version__, verbs
from thpsweep.arguments import HYDRA_VERBS, KINDS

QUESTION = "When does collapsing shared memory into a THP pay back?"

EXAMPLES = {
    "run": "run workload=prefork sharing.degree=64 policy=switch_pmd",
    "sweep": "sweep workload=prefork sharing.degree=4,64,195 policy=copy,inplace,switch",
    "plan": "plan experiment=seed_debate",
    "status": "status",
    "report": "report sweeps/seed_debate-*",
    "sync": "sync",
    "ui": "ui",
    "capture": "capture --pid 1234 --out service.npz --seconds 10",
    "import": "import smaps.txt --out service.npz",
    "advise": "advise --capture redis_bgsave --machine zen5_vm",
    "collapse": "collapse --pid 1234 --max-bytes 512M",
    "calibrate": "calibrate --out here.yaml",
    "validate": "validate --machine here.yaml",
    "prototype": "prototype check --kernel 6.12",
    "new": "new mechanism my_mechanism",
    "check": "check my_mechanism.py",
}
"""Verb -> a command that can be tried, in the order in which they are met."""

ABOUT = {
    "run": "simulate one point",
    "sweep": "simulate every combination; the same command again resumes",
    "plan": "show what sweep would run, how long it takes and in how much memory",
    "status": "say how far sweeps are, running or not",
    "report": "answer a sweep's question in one HTML file",
    "sync": "add to MLflow what it lacks",
    "ui": "open the runs in MLflow, on this machine only",
    "capture": "store the memory layout of a running process tree",
    "import": "make such a layout of pasted smaps, smaps_rollup, numa_maps or thpmaps",
    "advise": "say what would pay for a process tree, and how to do it",
    "collapse": "give a running process tree huge pages from outside; a dry run unless --apply",
    "calibrate": "measure this machine's prices",
    "validate": "hold the model against this machine's kernel",
    "prototype": "run the mechanisms that no kernel has in one, under emulation",
    "new": "write a mechanism, gate, metric, ... of your own that works as it is",
    "check": "try whether a file of your own keeps the rules, and what it costs",
}


def overview() -> str:
    """Say what there is to do, with an example of each verb."""
    lines = [f"{verb:<10} {ABOUT[verb]}\n{'':<13}thpsweep {example}" for verb, example in EXAMPLES.items()]
    more = (
        "thpsweep VERB --help says more; sweep --help lists workloads, policies and saved questions.\n"
        "To begin with: thpsweep sweep experiment=first_light"
    )
    return "\n".join([f"thpsweep: {QUESTION}", "", *lines, "", more])


def parser() -> argparse.ArgumentParser:
    """Make the parser of the verbs; those that are Hydra's are only listed in it."""
    made = argparse.ArgumentParser("thpsweep", description=QUESTION)
    made.add_argument("--version", action="version", version=f"thpsweep {__version__}")
    parsers = made.add_subparsers(metavar="VERB", required=True)
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
    capture.add_argument("--machine", metavar="FILE.yaml|NAME", help="prices of page walks (default: milan_vm)")
    capture.set_defaults(verb=verbs.capture)
    _add_import(parsers)
    _add_advise(parsers)
    _add_collapse(parsers)
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
    validate.add_argument(
        "--kernel", metavar="NAME", help="in another kernel, under emulation: debian-6.1, -6.12, -7.3"
    )
    validate.add_argument("--list", action="store_true", help="list the scenarios and run none")
    validate.set_defaults(verb=verbs.validate)
    _add_prototype(parsers)
    new = parsers.add_parser("new", help=ABOUT["new"])
    new.add_argument("kind", choices=KINDS, help="what it is")
    new.add_argument("name", metavar="NAME", help="what it is called: of small letters, digits and '_'")
    new.add_argument("--dir", type=Path, default=Path("."), help="where to write NAME.py (default: here)")
    new.set_defaults(verb=verbs.new)
    check = parsers.add_parser("check", help=ABOUT["check"])
    check.add_argument("file", type=Path, metavar="FILE.py", help="a file like those that `thpsweep new` writes")
    check.set_defaults(verb=verbs.check)
    status = parsers.add_parser("status", help="say how far sweeps are, running or not")
    status.set_defaults(verb=verbs.status)
    sync = parsers.add_parser("sync", help="add to MLflow what it lacks of finished points")
    sync.add_argument("--tracking-uri", metavar="URI", help="record them there (default: where the sweep was to be)")
    sync.set_defaults(verb=verbs.sync)
    report = parsers.add_parser("report", help="answer a sweep's question in one HTML file, with its charts")
    report.add_argument("--machine", metavar="FILE.yaml|NAME", help="profile that says where its prices come from")
    report.add_argument(
        "--plugin", action="append", metavar="FILE.py", help="file of your own that the sweep was run with; repeatable"
    )
    report.set_defaults(verb=verbs.report)
    for about_sweeps in (status, sync, report):
        about_sweeps.add_argument("sweep", type=Path, nargs="*", metavar="SWEEP", help="its directory (default: all)")
        about_sweeps.add_argument("--dir", type=Path, default=Path("sweeps"), help="where sweeps are (default: sweeps)")
    for name, verb in parsers.choices.items():
        verb.epilog = f"example: thpsweep {EXAMPLES[name]}"
        verb.set_defaults(usage_of=verb)
    return made


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


def _add_import(parsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = (
        "Read /proc/PID/smaps, smaps_rollup or numa_maps, the output of the kernel's tools/mm/thpmaps, and settings of THP "
        "(grep -r . /sys/kernel/mm/transparent_hugepage), as text that was pasted, mailed or collected by others: several "
        "processes in one file are one family. Who shares a page is not in such text: it is assumed, within the bounds "
        "that Pss gives, which are printed and stored. Rates are unknown. A line that cannot be is named."
    )
    imported = parsers.add_parser("import", help=ABOUT["import"], description=about)
    imported.add_argument(
        "file", nargs="+", metavar="FILE", help="text of one machine at one moment; - is standard input"
    )
    imported.add_argument("--out", type=Path, metavar="X.npz", help="captured layout to write (default: none)")
    imported.set_defaults(verb=verbs.import_text)


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
    advise.add_argument(
        "--walk-share",
        type=float,
        metavar="SHARE",
        help="share of its cycles in page walks, as measured (default: 0.02)",
    )
    advise.add_argument("--all-commands", action="store_true", help="commands of what does not pay, too")
    advise.add_argument(
        "command",
        nargs="*",
        metavar="KEY=VALUE|COMMAND",
        help="overrides: workload.KEY=VALUE, machine.KEY=VALUE, khugepaged.KEY=VALUE; with --try, after --: what to start",
    )
    advise.set_defaults(verb=verbs.advise)


def _add_collapse(parsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    collapse = parsers.add_parser("collapse", help=ABOUT["collapse"])
    collapse.add_argument("--pid", type=int, required=True, help="process whose tree gets huge pages (Linux 6.1, root)")
    collapse.add_argument("--no-children", action="store_true", help="only the process itself")
    collapse.add_argument(
        "--max-bytes",
        metavar="SIZE",
        help="memory that it may take more: 0, 512M, 2G (default: a quarter of what is free)",
    )
    collapse.add_argument("--max-seconds", type=float, default=60.0, metavar="S", help="stop after (default: 60)")
    collapse.add_argument("--apply", action="store_true", help="do it; without, it only says what it would do")
    collapse.set_defaults(verb=verbs.collapse)
