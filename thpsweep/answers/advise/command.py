"""`thpsweep advise`: predict for one process tree and one machine what would pay, and say how to do it."""

import dataclasses
import datetime
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from rich.console import Console

from thpsweep import profiles
from thpsweep.answers.advise import basis, show, trial
from thpsweep.answers.advise.chance import WalkShare
from thpsweep.answers.advise.choices import choices
from thpsweep.answers.advise.commands import service
from thpsweep.answers.advise.levers import levers
from thpsweep.answers.advise.overrides import WALK_SHARE, Overrides
from thpsweep.answers.advise.recommend import Advice, Circumstances, recommend
from thpsweep.answers.advise.scene import AdviseScene, planned
from thpsweep.answers.advise.suits import known_advice, sorted_out
from thpsweep.answers.advise.verdict import Prediction, later, predict
from thpsweep.answers.advise.watched import settings_to_assume, unfit
from thpsweep.errors import NoRegionError, OptionError, ThpsweepError
from thpsweep.linux import trial as live
from thpsweep.linux.capture.command import check_seconds, observed
from thpsweep.model.capture.layout import Layout
from thpsweep.model.machines.profile import Profile
from thpsweep.sweep.driver.drive import ALL_DONE, drive
from thpsweep.sweep.local.serial import run_serial
from thpsweep.sweep.planning.limits import PointLimits
from thpsweep.sweep.planning.plan import Plan
from thpsweep.sweep.ray.auto import run_auto
from thpsweep.sweep.records import journal
from thpsweep.sweep.records.point import PlannedPoint
from thpsweep.sweep.tracking.target import target

WIDE_COLUMNS, INTERRUPTED = 170, 130

NO_REGION = (
    "All that is advised here concerns private anonymous memory. Shared memory, such as PostgreSQL's buffers, has settings "
    "of its own: /sys/kernel/mm/transparent_hugepage/shmem_enabled, and huge_pages in postgresql.conf."
)

LITTLE_WORK = 3e8
"""Up to so much predicted work (a minute or so) it is done here: Ray would take part of that to start."""


@dataclasses.dataclass(frozen=True)
class AdviseRequest:
    """What to advise on (a pid, or a captured file), at which prices, and how long it is watched and simulated."""

    pid: int | None
    capture: Path | None
    machine: Path
    is_default: bool
    root: Path
    seconds: float
    hours: float
    replicates: int
    trial: tuple[str, ...] = ()
    only_parent: bool = False
    overrides: Overrides = dataclasses.field(default_factory=Overrides)
    all_commands: bool = False

    def check(self) -> None:
        """Refuse what cannot be. Raises: OptionError."""
        if (self.pid is not None) + (self.capture is not None) + bool(self.trial) != 1:
            raise ThpsweepError("advise: expected one of --pid PID, --capture FILE.npz, --try -- COMMAND ...")
        if not 0 < self.hours < math.inf:
            raise OptionError("--hours", self.hours, "a number above 0")
        check_seconds(self.seconds)
        if self.replicates < 2:
            raise OptionError("--replicates", self.replicates, "2 or more: an interval needs them")


def run(request: AdviseRequest) -> int:
    """Capture if need be, predict, show. Raises: ThpsweepError."""
    request.check()
    kept: list[Path] = []
    try:
        return _run(request, kept)
    except NoRegionError as problem:
        print(f"{Advice.NOTHING.value}: {problem}.", NO_REGION, sep="\n")
        return ALL_DONE
    except KeyboardInterrupt:
        print(f"thpsweep: interrupted: {_kept(request, kept)}", file=sys.stderr)
        raise


def _kept(request: AdviseRequest, kept: Sequence[Path]) -> str:
    """Say what is there after Ctrl-C, and how to go on."""
    if not kept:
        return "nothing had been captured, and nothing was kept"
    return f"the capture and finished simulations are kept; this goes on: {_again(request, kept[0])}"


def _run(request: AdviseRequest, kept: list[Path]) -> int:
    machine = request.overrides.priced(profiles.load(request.machine))
    if request.trial:
        scene = _tried(request, machine)
    else:
        kept += [request.capture or keep(_observed(request, request.pid, machine), request.root)]
        scene = _scene(request, machine, kept[0])
    found, code, left = predictions(scene, request)
    if code == ALL_DONE:
        tell(scene, found, request, left)
    elif code == INTERRUPTED:
        print(f"thpsweep: {_kept(request, [scene.file])}", file=sys.stderr)
    return code


def _scene(request: AdviseRequest, machine: Profile, file: Path) -> AdviseScene:
    return AdviseScene(file, machine, request.hours * 3600, request.replicates, overrides=request.overrides.workload)


def _observed(request: AdviseRequest, pid: int | None, machine: Profile) -> Layout:
    assert pid is not None
    return observed(pid, True, request.seconds, True, machine)


def _tried(request: AdviseRequest, machine: Profile) -> AdviseScene:
    """Start the command, watch it, collapse its memory and look again; show both sides when it has ended."""
    with live.started(request.trial) as pid:
        live.settle(pid)
        watched = _observed(request, pid, machine) if request.seconds else None
        before = live.state(pid)
        done = live.collapse(pid, request.only_parent)
        after = live.state(pid)
    activity = None if watched is None else watched.activity
    scene = _scene(request, machine, keep(dataclasses.replace(before.layout, activity=activity), request.root))
    wide = _console()
    wide.print(trial.table(trial.lines(trial.still(scene, request.only_parent), before, after, done)))
    wide.print(trial.refusals(done), highlight=False)
    return scene


def _console() -> Console:
    console = Console()
    return Console(width=console.width if console.is_terminal else WIDE_COLUMNS)


def keep(layout: Layout, root: Path) -> Path:
    """Save a capture where the same advice can be asked for again."""
    folder = root.absolute() / "captured"
    folder.mkdir(parents=True, exist_ok=True)
    when = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S")
    name = "".join(letter if letter.isalnum() else "_" for letter in str(layout.provenance["program"]))
    file = folder / f"{name}-{when}.npz"
    layout.save(file)
    return file


def predictions(scene: AdviseScene, request: AdviseRequest) -> tuple[list[Prediction], int, list[str]]:
    """Simulate every choice that makes sense, journaled, so that the same command on the same file goes on.

    Gives the exit code, too, and why choices were left out.
    """
    known = scene.layout.provenance
    assumed, asked = settings_to_assume(scene.layout, request.overrides.khugepaged)
    name = service(str(known.get("program", "")), request.pid)
    every = choices(known, scene.tick_s, scene.layout.n_regions, name, assumed)
    wanted, left = sorted_out(every, known, scene.layout.n_processes)
    if not wanted:
        return [], ALL_DONE, left
    points = planned(scene, wanted)
    work = sum(point.checked["work"] for point in points.values())
    driven = drive(_plan(scene, request.root, points), run_serial if work < LITTLE_WORK else run_auto, _no_answer)
    if driven.exit_code != ALL_DONE:
        return [], driven.exit_code, left
    found = [predict(choice, driven.results[points[choice.name].id]["result"]) for choice in wanted]
    found += levers(scene.layout, scene.machine, scene.workload(), scene.duration_s, scene.replicates)
    return found, ALL_DONE, [*asked, *left]


def _plan(scene: AdviseScene, root: Path, points: Mapping[str, PlannedPoint]) -> Plan:
    """Make a sweep of the points; MLflow is left out of it."""
    distinct = {point.id: point for point in points.values()}
    about = {
        "advise": {"capture": str(scene.file), "duration_s": scene.duration_s, "machine": scene.machine.name},
        "sweep": {"track": False},
    }
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
        limits=PointLimits(),
    )


def _no_answer(sweep: journal.Sweep) -> None:
    """Leave the answer to tell()."""
    del sweep


def tell(scene: AdviseScene, found: Sequence[Prediction], request: AdviseRequest, left: Sequence[str]) -> None:
    """Print the recommendation, the table, the commands, and what all of it rests on."""
    layout, about = scene.layout, circumstances(scene, request)
    program = layout.provenance.get("program", "a tree")
    n_processes = "1 process" if layout.n_processes == 1 else f"{layout.n_processes} processes"
    who = f"{program}: {n_processes}, {layout.n_regions} regions of 2 MiB"
    wide = _console()
    first, *others = [*show.headline(recommend(found, about))]
    wide.print(first, style="bold", highlight=False, markup=False, soft_wrap=True)
    _section(wide, "", others)
    if found:
        wide.print(
            show.table(found, f"{who}, {request.hours:g} h simulated at the prices of {scene.machine.name}", about)
        )
        _section(wide, "", show.LEGEND)
    _section(wide, "", [*basis.cannot(layout), *left, *known_advice(layout.provenance), *later(found, request.hours)])
    if found:
        pasted = list(show.instructions(found, request.all_commands))
        _section(wide, show.COMMANDS if pasted else "", pasted)
        _section(wide, "", [] if request.all_commands else [show.ALL_COMMANDS])
    resting = basis.lines(scene.machine, request.machine, request.is_default, layout, scene.workload(), scene.overrides)
    _section(wide, "What this rests on:", list(resting))
    print(f"Again, with other prices or longer: {about.again} --hours 24", file=sys.stdout)


def circumstances(scene: AdviseScene, request: AdviseRequest) -> Circumstances:
    """Gather what the recommendation is judged by."""
    layout, given = scene.layout, request.overrides.workload.get(WALK_SHARE)
    room_kib = layout.provenance.get("memory_available_kib")
    return Circumstances(
        hours=request.hours,
        cpu_ms=scene.cpu_ms,
        room_bytes=None if room_kib is None else int(room_kib) * 1024,
        share=_share(scene) if given is None else WalkShare.measured(float(given)),
        unfit=unfit(layout),
        again=_again(request, scene.file),
        pid="PID" if request.pid is None else str(request.pid),
    )


def _share(scene: AdviseScene) -> WalkShare:
    """Take the share of cycles in page walks from young bits, or else from the stated range."""
    seen = scene.walk_share
    return WalkShare.assumed(float(scene.workload()[WALK_SHARE])) if seen is None else WalkShare.estimated(seen)


def _again(request: AdviseRequest, file: Path) -> str:
    """Spell the command that asks the same of a captured file."""
    machine = [] if request.is_default else [f"--machine {request.machine}"]
    return " ".join([f"thpsweep advise --capture {file}", *machine, *request.overrides.words()])


def _section(console: Console, heading: str, lines: Sequence[str]) -> None:
    if heading:
        console.print(heading, style="bold")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
