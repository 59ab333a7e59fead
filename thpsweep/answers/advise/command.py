"""`thpsweep advise`: predict for one process tree and one machine what would pay, and say how to do it."""

import dataclasses
import datetime
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from rich.console import Console

from thpsweep.answers.advise import rests, show
from thpsweep.answers.advise.choices import choices
from thpsweep.answers.advise.scene import Scene, planned
from thpsweep.answers.advise.verdict import Prediction, predict, sentences
from thpsweep.errors import OptionError, ThpsweepError
from thpsweep.linux.command import observed
from thpsweep.linux.live import profiles
from thpsweep.model.layout import Layout
from thpsweep.sweep import journal
from thpsweep.sweep.attempt import Limits
from thpsweep.sweep.auto import auto
from thpsweep.sweep.drive import ALL_DONE, drive
from thpsweep.sweep.plan import Plan, PlannedPoint
from thpsweep.sweep.tracking.target import target

WIDE_COLUMNS = 170


@dataclasses.dataclass(frozen=True)
class Request:
    """What to advise on (a pid, or a captured file), at which prices, and how long it is watched and simulated."""

    pid: int | None
    capture: Path | None
    machine: Path | None
    conf: Path
    root: Path
    seconds: float
    hours: float
    replicates: int
    children: bool = True

    def check(self) -> None:
        """Refuse what cannot be. Raises: OptionError."""
        if (self.pid is None) == (self.capture is None):
            raise ThpsweepError("advise: allowed is one of --pid PID, --capture FILE.npz, --try -- COMMAND ...")
        if not 0 < self.hours < math.inf:
            raise OptionError("--hours", self.hours, "a number above 0")
        if self.replicates < 2:
            raise OptionError("--replicates", self.replicates, "2 or more: an interval needs them")


def run(request: Request) -> int:
    """Capture if need be, predict, show. Raises: ThpsweepError."""
    request.check()
    machine_file = request.machine or profiles.default_file()
    machine = profiles.load(machine_file)
    file = request.capture or _captured(request)
    scene = Scene(file, request.conf, machine, request.hours * 3600, request.replicates)
    found, code = predictions(scene, request.root)
    if code == ALL_DONE:
        tell(scene, found, machine_file, request)
    return code


def _captured(request: Request) -> Path:
    assert request.pid is not None
    return keep(observed(request.pid, request.children, request.seconds, True), request.root)


def keep(layout: Layout, root: Path) -> Path:
    """Save a capture where the same advice can be asked for again."""
    folder = root.absolute() / "captured"
    folder.mkdir(parents=True, exist_ok=True)
    when = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S")
    name = "".join(letter if letter.isalnum() else "_" for letter in str(layout.provenance["program"]))
    file = folder / f"{name}-{when}.npz"
    layout.save(file)
    return file


def predictions(scene: Scene, root: Path) -> tuple[list[Prediction], int]:
    """Simulate every choice, journaled, so that the same command on the same file goes on; give the exit code, too."""
    wanted = choices(scene.layout.provenance, scene.tick_s)
    points = planned(scene, wanted)
    driven = drive(_plan(scene, root, points), auto, _no_answer)
    if driven.exit_code != ALL_DONE:
        return [], driven.exit_code
    return [predict(choice, driven.results[points[choice.name].id]["result"]) for choice in wanted], ALL_DONE


def _plan(scene: Scene, root: Path, points: Mapping[str, PlannedPoint]) -> Plan:
    """Make a sweep of the points; MLflow is left out of it."""
    distinct = {point.id: point for point in points.values()}
    about = {"advise": {"capture": str(scene.file), "duration_s": scene.duration_s, "machine": scene.machine.name}}
    return Plan(
        root=root.absolute(),
        name="advise",
        overrides=(),
        points=tuple(distinct.values()),
        config=yaml.safe_dump(about),
        tracked=False,
        n_jobs=len(distinct),
        id_of={},
        target=target(root, None),
        limits=Limits(),
    )


def _no_answer(sweep: journal.Sweep) -> None:
    """Leave the answer to tell()."""
    del sweep


def tell(scene: Scene, found: Sequence[Prediction], machine_file: Path, request: Request) -> None:
    """Print answer, table, instructions, and what it all rests on."""
    layout = scene.layout
    who = f"{layout.provenance.get('program', 'a tree')}: {layout.n_processes} processes, {layout.n_regions} regions"
    console = Console()
    wide = Console(width=console.width if console.is_terminal else WIDE_COLUMNS)
    for sentence in sentences(found, request.hours):
        wide.print(sentence, highlight=False, markup=False)
    wide.print(show.table(found, f"{who}, {request.hours:g} h at the prices of {scene.machine.name}"))
    _section(wide, "", show.LEGEND)
    _section(wide, "How to do it:", list(show.instructions(found)))
    resting = rests.lines(scene.machine, machine_file, request.machine is None, layout, scene.workload())
    _section(wide, "What this rests on:", list(resting))
    again = f"thpsweep advise --capture {scene.file}" + (f" --machine {request.machine}" if request.machine else "")
    print(f"Again, with other prices or longer: {again} --hours 24", file=sys.stdout)


def _section(console: Console, heading: str, said: Sequence[str]) -> None:
    if heading:
        console.print(heading, style="bold")
    for line in said:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
