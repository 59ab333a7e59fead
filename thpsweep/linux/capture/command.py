"""`thpsweep capture`: watch a process tree if wanted, store its layout, say what was seen and what was not."""

import dataclasses
import math
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from thpsweep import profiles
from thpsweep.errors import ThpsweepError
from thpsweep.linux.activity.cpu import CpuWatch
from thpsweep.linux.activity.judge import Judged, judge
from thpsweep.linux.activity.watch import WatchRequest, watch
from thpsweep.linux.capture.capture import capture as captured
from thpsweep.linux.capture.capture import hidden_frames, require_kernel
from thpsweep.linux.capture.priced import priced
from thpsweep.linux.capture.summary import summary
from thpsweep.linux.live.settings import are_held
from thpsweep.linux.proc.room import available
from thpsweep.model.capture.layout import Layout
from thpsweep.model.machines.profile import Profile
from thpsweep.units import S_PER_HOUR

_TICK_S = 60.0
"""run.tick_s of conf/config.yaml; workers have to live longer."""

_PARTS = 2
"""Parts of a window whose CPU times are compared: a service that is loaded in one of them only has not been seen."""


def capture(pid: int, out: Path, children: bool, seconds: float, reads: bool, machine: Path) -> int:
    """Capture a process tree to a file. Raises: ThpsweepError."""
    if out.suffix != ".npz":
        raise ThpsweepError(f"--out {out}: expected a file whose name ends in .npz")
    if not out.absolute().parent.is_dir():
        raise ThpsweepError(f"--out {out}: expected a file in a folder that exists")
    try:
        layout = observed(pid, children, seconds, reads, profiles.load(machine))
        layout.save(out)
    except KeyboardInterrupt:
        print(f"thpsweep: interrupted: nothing was kept, {out} is as it was", file=sys.stderr)
        raise
    for label, value in summary(layout):
        print(f"{label + ':':<32} {value}")
    tick = _tick(layout)
    print(f"Stored in {out}. What would pay for it: thpsweep advise --capture {out}")
    tree = f"workload=captured workload.path={out} sharing=captured"
    print(f"Compare mechanisms on it: thpsweep sweep {tree} policy=copy,inplace{tick}")
    return 0


def observed(pid: int, children: bool, seconds: float, reads: bool, machine: Profile) -> Layout:
    """Watch a process tree for so many seconds (0: not at all), then capture it; its page walks are priced as the machine's.

    Raises: ThpsweepError.
    """
    check_seconds(seconds)
    cpu = CpuWatch(pid, children)
    watched = _watched(pid, children, seconds, reads, cpu) if seconds else None
    layout = captured(pid, children=children, watched=watched)
    facts = {"memory_available_kib": available(pid)[0] // 1024, "settings_held": int(are_held()), **cpu.facts()}
    return priced(dataclasses.replace(layout, provenance={**layout.provenance, **facts}), machine)


def check_seconds(seconds: float) -> None:
    """Refuse a window that cannot be. Raises: ThpsweepError."""
    if not (0 <= seconds < math.inf):
        raise ThpsweepError(f"--seconds {seconds:g}: expected a number of seconds, 0 or more")


def _watched(pid: int, children: bool, seconds: float, reads: bool, cpu: CpuWatch) -> Judged:
    """Watch with a bar that shows how much has passed."""
    require_kernel()
    hidden = hidden_frames()
    columns = TextColumn("watching {task.description}"), BarColumn(), TimeRemainingColumn()
    with Progress(*columns, transient=True, console=Console(stderr=True)) as bar:
        task = bar.add_task(f"pid {pid}", total=seconds)

        def progress(passed_s: float) -> None:
            bar.update(task, completed=passed_s)
            if passed_s >= seconds * len(cpu.moments) / _PARTS:
                cpu.look()

        return judge(watch(WatchRequest(pid, children, seconds, reads, progress, hidden)))


def _tick(layout: Layout) -> str:
    """Add the tick that workers who live shortly need."""
    life_s = layout.activity.option("worker_life_s") if layout.activity else None
    if not life_s or life_s >= _TICK_S:
        return ""
    return f" run.tick_s={life_s:.3g} run.duration_s={min(S_PER_HOUR, 1000 * life_s):.4g}"
