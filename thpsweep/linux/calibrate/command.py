"""`thpsweep calibrate`: measure with progress, write a machine profile."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from thpsweep.errors import LiveError
from thpsweep.linux.calibrate.agree import disagreements
from thpsweep.linux.calibrate.rounds import PROBES, Calibration, calibrate
from thpsweep.linux.calibrate.write import text
from thpsweep.linux.live.bench import Bench
from thpsweep.profiles import default_file, load

_ROUNDS, _BUDGET_S = 15, 150.0
_QUICK_ROUNDS = 1


@dataclass(frozen=True)
class CalibrateRequest:
    """What the command line asks for."""

    out: Path | None
    quick: bool
    against: Path | None = None


def run(request: CalibrateRequest) -> int:
    """Calibrate, and write the profile to a file or to standard output; 1 where it disagrees with an earlier one.

    Raises: ThpsweepError.
    """
    if request.out is not None:
        _check(request.out)
    if request.against is not None:
        if request.out is None:
            raise LiveError("--against: expected with --out NAME.yaml alone")
        disagreements(request.against, request.against)  # it can be compared with
    calibration = _calibrate(_QUICK_ROUNDS if request.quick else _ROUNDS)
    for probe, failure in calibration.failures.items():
        print(f"thpsweep: not measured by {probe} in {failure}", file=sys.stderr)
    name = request.out.stem if request.out else "measured"
    written = text(name, calibration, load(default_file()))
    if request.out is None:
        print(written, end="")
        return 0
    request.out.write_text(written)
    load(request.out)  # what was written can be read
    print(f"{request.out}: {len(calibration.prices)} keys measured or derived, the others assumed; each line says how")
    print(f"Hold it against this kernel: thpsweep validate --machine {request.out}")
    return 0 if request.against is None else _compare(request.out, request.against)


def _compare(out: Path, against: Path) -> int:
    differing, compared = disagreements(out, against)
    for line in differing:
        print(f"  {line}")
    print(f"{compared - len(differing)} of {compared} figures agree with {against} within the spread that both state")
    return 1 if differing else 0


def _check(out: Path) -> None:
    if out.suffix != ".yaml" or not re.fullmatch(r"[A-Za-z]\w*", out.stem):
        raise LiveError(f"--out {out}: expected NAME.yaml, NAME of letters, digits and '_'")
    if not out.absolute().parent.is_dir():
        raise LiveError(f"--out {out}: expected a file in a folder that exists")


def _calibrate(rounds: int) -> Calibration:
    with Bench() as bench, Progress(console=Console(stderr=True), transient=True) as progress:
        for complaint in bench.complaints():
            print(f"thpsweep: {complaint}", file=sys.stderr)
        task = progress.add_task("begin", total=rounds * len(PROBES))
        return calibrate(bench, rounds, _BUDGET_S, lambda what: progress.update(task, advance=1, description=what))
