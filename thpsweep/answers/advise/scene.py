"""The points to simulate: a captured tree under each choice, as it is, or as it was when it was started."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from thpsweep.answers.advise.chance import LEAST_SHARE
from thpsweep.answers.advise.choices import NamedPolicy
from thpsweep.answers.advise.watched import measured_shares
from thpsweep.errors import OptionError, ThpsweepError
from thpsweep.linux.capture.priced import walk_share
from thpsweep.model import registry
from thpsweep.model.capture import files
from thpsweep.model.capture.activity import Rate
from thpsweep.model.capture.copied import copied
from thpsweep.model.capture.layout import Layout
from thpsweep.model.machines.profile import Profile
from thpsweep.model.workloads.base import Workload
from thpsweep.shipped import option
from thpsweep.sweep.planning.check import planned_point
from thpsweep.sweep.records.point import PlannedPoint
from thpsweep.sweep.records.schema import Point
from thpsweep.units import HPAGE_PMD_NR, MS_PER_S

_WARM_S = 60.0
"""A worker is taken to have copied what it has copied in its first minute; assumption."""

_MOST_COPIED = 0.999

TICK_S = 60.0
"""Step of simulated time, unless workers live less."""


@dataclasses.dataclass(frozen=True)
class AdviseScene:
    """A captured file, what it costs to run it, and for how long it is simulated."""

    file: Path
    machine: Profile
    duration_s: float = 3600.0
    replicates: int = 4
    seed: int = 1
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Rates that are given instead of those that were captured, or are assumed."""

    @property
    def layout(self) -> Layout:
        """Read the file. Raises: CaptureError."""
        return files.load(self.file)

    @property
    def machine_of_capture(self) -> Profile:
        """Give the machine with the kernel of the capture, where its release names one whose rules are known."""
        release = str(self.layout.provenance.get("kernel_release", ""))
        try:
            return dataclasses.replace(self.machine, kernel=release)
        except OptionError:
            return self.machine

    def workload(self, **changed: Any) -> dict[str, Any]:
        """Give the captured workload with the rates that the file has, and assumed ones."""
        shipped = option("workload", "captured")
        busy = measured_shares(self.layout)
        seen = self.walk_share
        walks = {} if seen is None else {"page_walk_share": seen.value}
        options = {"kind": "captured", **shipped, **busy, **walks, **self.overrides, **changed, "path": str(self.file)}
        built: Workload = registry.build("workload", options)
        return {**registry.spec(built), **built.identity()}

    @property
    def walk_share(self) -> Rate | None:
        """Give the share of cycles in page walks by young bits, at this machine's prices; None where they showed none."""
        seen = walk_share(self.layout, self.machine)
        return seen and dataclasses.replace(seen, value=max(seen.value, LEAST_SHARE))

    @property
    def cpu_ms(self) -> float:
        """CPU time that the tree takes in the simulated time, as it was watched, given or assumed."""
        rates = self.workload()
        n_workers = self.layout.n_processes - 1
        busy = rates["root_cpu_share"] + n_workers * rates["worker_cpu_share"]
        return float(busy * self.duration_s * MS_PER_S)

    @property
    def tick_s(self) -> float:
        """Give the step of time: no worker may live less."""
        life_s = float(self.workload()["worker_life_s"])
        return min(TICK_S, life_s, self.duration_s) if life_s else min(TICK_S, self.duration_s)

    def point(self, policy: Any, workload: Mapping[str, Any]) -> Point:
        """Make a point of this tree under a policy."""
        return {
            "workload": dict(workload),
            "sharing": {"kind": "fixed", "degree": self.layout.n_processes},
            "policy": policy,
            "machine": registry.spec(self.machine_of_capture),
            "memory": {"kind": "plentiful"},
            "run": {
                "seed": self.seed, "replicates": self.replicates, "duration_s": self.duration_s, "tick_s": self.tick_s,
            },
        }  # fmt: skip


def planned(scene: AdviseScene, wanted: Sequence[NamedPolicy]) -> dict[str, PlannedPoint]:
    """Make and check the point of each choice. Raises: ThpsweepError for one that cannot run."""
    as_is, anew = scene.workload(), restarted(scene)
    found = {}
    for choice in wanted:
        point = scene.point(choice.policy, anew if choice.restart else as_is)
        try:
            params = {"policy": choice.name, "workload": point["workload"]["kind"]}
            found[choice.name] = planned_point(point, params)
        except ThpsweepError as error:
            raise ThpsweepError(f"{choice.name}: {error}") from error
    return found


def restarted(scene: AdviseScene) -> dict[str, Any]:
    """Give the tree as it was when its parent had loaded its memory and forked: all share it, nobody has written yet.

    The parent's regions are filled evenly, with as many pages as it has now. What workers have copied since they were
    forked, each copies again as it warms up: in a window long after that no copy is seen any more.
    """
    pages = np.bitwise_count(scene.layout.present[0]).sum(axis=1, dtype=np.int64)
    used = pages[pages > 0]
    rates = scene.workload()
    common = {field.name: rates[field.name] for field in dataclasses.fields(Workload)}
    present = int(np.clip(round(float(used.mean())) if len(used) else 1, 1, HPAGE_PMD_NR))
    if shown := copied(scene.layout).share:
        common |= {"burst_pages_share": min(_MOST_COPIED, shown), "burst_s": _WARM_S}
    options = {"kind": "prefork", **common, "regions": max(1, len(used)), "present_ptes": present}
    return registry.spec(registry.build("workload", options))
