"""`thpsweep validate`: choose scenarios, run them with progress, report."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from thpsweep.errors import LiveError, OptionError
from thpsweep.linux.live.bench import Bench
from thpsweep.linux.validate import report_hypothetical
from thpsweep.linux.validate.cases import cases
from thpsweep.linux.validate.emulated.boot import validate_in
from thpsweep.linux.validate.emulated.kernels import debian
from thpsweep.linux.validate.hypothetical import HYPOTHETICAL, Findings, findings
from thpsweep.linux.validate.random_cases import random_case
from thpsweep.linux.validate.report import show, write_json
from thpsweep.linux.validate.run import validate
from thpsweep.linux.validate.steps import Case
from thpsweep.linux.validate.verdict import CaseVerdict
from thpsweep.model.machines.profile import Profile
from thpsweep.profiles import load, sources

_DIFFERS = 1
_WIDTH = 150


@dataclass(frozen=True)
class ValidateRequest:
    """What the command line asks for."""

    machine: Path
    only: Sequence[str]
    random: int
    seed: int
    rounds: int
    json: Path | None
    list_only: bool
    kernel: str | None = None


def run(request: ValidateRequest) -> int:
    """Validate and report; 1 where the kernel and the model differ. Raises: ThpsweepError."""
    if request.random < 0:
        raise OptionError("--random", request.random, "0 or more")
    if request.seed < 0:
        raise OptionError("--seed", request.seed, "0 or more")
    chosen = [] if request.random and not request.only else choose(request.only)
    chosen += [random_case(request.seed + number) for number in range(request.random)]
    if request.list_only:
        for case in chosen:
            print(f"{case.name:<22} {case.about}")
        return 0
    if request.rounds < 1:
        raise OptionError("--rounds", request.rounds, "1 or more")
    if request.json is not None and not request.json.absolute().parent.is_dir():
        raise LiveError(f"--json {request.json}: expected a file in a folder that exists")
    if request.kernel is not None:
        return _elsewhere(request, request.kernel)
    machine = load(request.machine)
    verdicts = _validate(chosen, machine, request.rounds)
    console = Console() if Console().is_terminal else Console(width=_WIDTH)
    show(verdicts, machine.name, console)
    assumptions: list[Findings] = []
    if not request.only and not request.random:
        assumptions = _try_assumptions(request.machine)
        report_hypothetical.show(assumptions, machine.name, console)
    if request.json is not None:
        write_json(verdicts, machine.name, report_hypothetical.plain(assumptions), request.json)
    return _DIFFERS if any(verdict.differs for verdict in verdicts) else 0


def _elsewhere(request: ValidateRequest, name: str) -> int:
    """Run the same cases in another kernel, once each: times mean nothing there. Raises: ThpsweepError."""
    drawn = ["--random", str(request.random), "--seed", str(request.seed)] if request.random else []
    only = [part for word in request.only for part in ("--only", word)]
    return validate_in(debian(name), [*only, *drawn, "--rounds", "1"], request.json)


def choose(only: Sequence[str]) -> list[Case]:
    """Choose the cases whose name holds one of some words; all, where none is given."""
    known = cases()
    for word in only:
        if not any(word in case.name for case in known):
            raise OptionError("--only", word, "a part of one of " + ", ".join(case.name for case in known))
    return [case for case in known if not only or any(word in case.name for word in only)]


def _try_assumptions(profile: Path) -> list[Findings]:
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("assumptions", total=len(HYPOTHETICAL))
        return findings(
            load(profile), sources(profile), lambda name: progress.update(task, advance=1, description=name)
        )


def _validate(chosen: Sequence[Case], machine: Profile, rounds: int) -> list[CaseVerdict]:
    with Bench() as bench, Progress(console=Console(stderr=True), transient=True) as progress:
        for complaint in bench.complaints():
            print(f"thpsweep: {complaint}", file=sys.stderr)
        task = progress.add_task("scenarios", total=len(chosen))

        def tell(case: Case) -> None:
            progress.update(task, advance=1, description=case.name)

        return validate(chosen, machine, bench, rounds, tell)
