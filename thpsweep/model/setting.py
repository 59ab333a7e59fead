"""A point, built and checked before anything runs: its scene, its policy, its machine, and what it will take."""

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from thpsweep.errors import OptionError, ThpsweepError
from thpsweep.model import checks, registry
from thpsweep.model.checks import whole
from thpsweep.model.collapse.forward import AT_ONCE
from thpsweep.model.draws import Stream
from thpsweep.model.events import draw, requests
from thpsweep.model.events.scene import Scene
from thpsweep.model.gates.base import Gate
from thpsweep.model.machines.profile import Profile
from thpsweep.model.mechanisms.base import Mechanism
from thpsweep.model.memories.base import Memory
from thpsweep.model.metrics.base import Metric, in_order
from thpsweep.model.sharings.base import Sharing
from thpsweep.model.triggers.base import Early, Trigger
from thpsweep.model.workloads.base import Loaded, Workload
from thpsweep.model.workloads.captured import CAPTURED_OR
from thpsweep.units import HPAGE_PMD_ORDER, HPAGE_PMD_SIZE_BYTES, PAGE_SIZE_BYTES

MAX_TICKS = 60_000
MAX_TICK_S = 1e9
MAX_REPLICATES = 10_000
MAX_STATE_BYTES = 8 << 30
STEP_WORK = 1000.0
"""What a tick, or a pass of khugepaged, is taken to ask of the model whatever happens in it: NumPy's calls."""

PASSES_A_TICK = 8
"""Passes of khugepaged that a tick makes one by one; where more are due, most of them are gone over at once."""

LISTING_BYTES = 300
"""Bytes of an entry and its share of a layer, where a shape cuts the memory into pieces that different sharers map."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """A point, built and checked, or several that differ in nothing but their seeds. Each has so many replicates."""

    workload: Workload
    sharing: Sharing
    n_sharers: int
    mechanism: Mechanism
    trigger: Trigger
    gate: Gate
    machine: Profile
    memory: Memory
    seeds: tuple[int, ...]
    replicates: int
    duration_s: float
    tick_s: float
    scene_key: str
    metrics: tuple[Metric, ...]
    own_metrics: tuple[Metric, ...]
    """Those of the user's own, which are computed last."""

    @property
    def n_ticks(self) -> int:
        """Ticks of the run, the last one whole."""
        return math.ceil(self.duration_s / self.tick_s - 1e-9)

    @property
    def streams(self) -> tuple[Stream, ...]:
        """All replicates of all seeds, point by point."""
        return tuple((seed, number) for seed in self.seeds for number in range(self.replicates))


def setting(point: Mapping[str, Any]) -> Setting:
    """Build and check a point. Raises: OptionError naming the key, its value and what is expected."""
    run, policy = point["run"], point["policy"]
    check_seed(point)
    whole("run.replicates", run["replicates"], 1, MAX_REPLICATES)
    checks.positive("run.duration_s", run["duration_s"])
    checks.positive("run.tick_s", run["tick_s"], most=MAX_TICK_S)
    if run["duration_s"] / run["tick_s"] > MAX_TICKS:
        raise OptionError("run.tick_s", run["tick_s"], f"at least run.duration_s / {MAX_TICKS}")
    sharing = registry.build("sharing", point["sharing"])
    built = Setting(
        workload=registry.build("workload", {k: v for k, v in point["workload"].items() if k != "sha256"}),
        sharing=sharing,
        n_sharers=sharing.sharers,
        mechanism=registry.build("mechanism", policy["mechanism"]),
        trigger=registry.build("trigger", policy["trigger"]),
        gate=registry.build("gate", policy.get("gate", {"kind": "always"})),
        machine=_machine(json.dumps(point["machine"])),
        memory=registry.build("memory", point.get("memory", {"kind": "plentiful"})),
        scene_key=scene_key(point),
        seeds=(run["seed"],),
        metrics=_shipped_metrics(),
        own_metrics=_own_metrics(point),
        **{name: run[name] for name in ("replicates", "duration_s", "tick_s")},
    )
    life_s = built.workload.worker_life_s
    if 0 < life_s < built.tick_s:
        raise OptionError("workload.worker_life_s", life_s, f"0, or at least run.tick_s={built.tick_s:g}")
    if built.mechanism.active:
        built.trigger.check(built.duration_s)
        _check_early(built, point)
        _check_order(built, point)
    return built


@functools.cache
def _shipped_metrics() -> tuple[Metric, ...]:
    """Build the metrics that every point has."""
    return in_order({name: registry.build("metric", {"kind": name}) for name in registry.shipped("metric")})


def _own_metrics(point: Mapping[str, Any]) -> tuple[Metric, ...]:
    """Build the metrics that a point adds. Raises: OptionError."""
    added = {name: registry.build("metric", spec) for name, spec in point.get("metrics", {}).items()}
    return in_order(added, registry.shipped("metric"))


@functools.lru_cache(maxsize=16)
def _machine(spec: str) -> Profile:
    """Build a machine, which has many prices to check, once for all points of a sweep."""
    profile: Profile = registry.build("machine", json.loads(spec))
    return profile


def side_by_side(points: Sequence[Mapping[str, Any]]) -> Setting:
    """Build points that differ in nothing but run.seed as one. Raises: as setting()."""
    for point in points[1:]:
        check_seed(point)
    return dataclasses.replace(setting(points[0]), seeds=tuple(point["run"]["seed"] for point in points))


def check_seed(point: Mapping[str, Any]) -> None:
    """Refuse a seed that is none. Raises: OptionError."""
    whole("run.seed", point["run"]["seed"], 0, 2**63 - 1)


def _check_early(built: Setting, point: Mapping[str, Any]) -> None:
    """Refuse to go back before the fork where the sharers do not all begin with what the root has."""
    if not isinstance(built.trigger, Early):
        return
    kind = point["policy"]["trigger"]["kind"]
    if not isinstance(built.workload, Loaded) or point["sharing"]["kind"] != "fixed":
        scene = f"workload={point['workload']['kind']}, sharing={point['sharing']['kind']}"
        raise OptionError(
            "policy.trigger", kind, f"one after the fork; in {scene} the sharers have diverged since then"
        )


def _check_order(built: Setting, point: Mapping[str, Any]) -> None:
    """Refuse an order below PMD order where only folios of that are known."""
    if built.mechanism.order == HPAGE_PMD_ORDER:
        return
    kind = point["policy"]["trigger"]["kind"]
    if built.memory.limited:
        expected = f"{HPAGE_PMD_ORDER} with memory={point['memory']['kind']}, which knows free blocks of 2 MiB alone"
        raise OptionError("policy.mechanism.order", built.mechanism.order, expected)
    if not built.gate.any_order:
        expected = (
            f"{HPAGE_PMD_ORDER} with a gate that predicts what address translation gains (policy.gate.gains: tlb)"
        )
        raise OptionError("policy.mechanism.order", built.mechanism.order, expected)
    if kind == "at_fault":
        expected = f"{HPAGE_PMD_ORDER} with policy.trigger={kind}, whose folios are mapped by PMDs"
        raise OptionError("policy.mechanism.order", built.mechanism.order, expected)


LATER: Mapping[str, Sequence[Any]] = {"write_clustering": (0.0, {CAPTURED_OR: 0.0})}
"""Options of a workload that came later -> the values with which the events are what they were before."""


def scene_key(point: Mapping[str, Any]) -> str:
    """Hash what the events depend on: workload, sharing, duration and tick; neither policy, machine nor memory.

    No process does anything else because blocks are scarce, so that runs with other memories are paired too.
    """
    run = {name: point["run"][name] for name in ("duration_s", "tick_s")}
    workload = {
        name: value
        for name, value in point["workload"].items()
        if name != "path" and not (name in LATER and value in LATER[name])
    }
    scene = {"workload": workload, "sharing": point["sharing"], "run": run}
    return hashlib.sha256(json.dumps(scene, sort_keys=True).encode()).hexdigest()


def check(point: Mapping[str, Any]) -> None:
    """Refuse a point that cannot run, before anything starts. Raises: OptionError, CaptureError, ThpsweepError."""
    checked(setting(point))


def checked(built: Setting) -> dict[str, float]:
    """Refuse a point that cannot run; give the estimate of one that can. Raises: as check()."""
    _check_memory(built)
    built.sharing.check(int(built.workload.describe(built.n_sharers)["regions"]))
    needs = _estimate(built)
    state_bytes = needs["state_bytes"]
    if state_bytes > MAX_STATE_BYTES:
        raise ThpsweepError(
            f"the state of one replicate would take about {state_bytes / 2**30:.1f} GiB: "
            f"expected {MAX_STATE_BYTES / 2**30:.0f} GiB; lower sharing.degree={built.n_sharers} or the regions"
        )
    return needs


def _check_memory(built: Setting) -> None:
    """Refuse a family that the machine could not hold: its frames once, and a page table of each sharer for each region."""
    n_regions = int(built.workload.describe(built.n_sharers)["regions"])
    tables_bytes = n_regions * PAGE_SIZE_BYTES
    most = int((built.machine.memory_bytes - n_regions * HPAGE_PMD_SIZE_BYTES) // tables_bytes)
    if most < 1:
        least = (
            f"at least {n_regions * HPAGE_PMD_SIZE_BYTES + tables_bytes:g}: {n_regions} regions and their page tables"
        )
        raise OptionError("machine.memory_bytes", built.machine.memory_bytes, least)
    if built.n_sharers > most:
        allowed = f"1..{most} for {n_regions} regions in machine.memory_bytes={built.machine.memory_bytes:g}"
        raise OptionError("sharing.degree", built.n_sharers, f"{allowed}: each sharer has page tables of its own")


def estimate(point: Mapping[str, Any]) -> dict[str, float]:
    """Predict the memory of one replicate's state and the work of the whole point.

    A row costs a pointer and a flag; a row that is ever written a record, two entries and a layer of its own; events are
    drawn a window at a time.
    """
    return _estimate(setting(point))


def _estimate(built: Setting) -> dict[str, float]:
    load = built.workload
    n_regions = int(load.describe(built.n_sharers)["regions"])
    scene = Scene(load, n_regions, built.n_sharers, built.n_ticks, built.tick_s)
    rows, n_ticks = n_regions * built.n_sharers, built.n_ticks
    drawn_at_once = draw.expected_writes(scene, draw.window_ticks(scene))
    state_bytes = rows * 5 + n_regions * 2048 + draw.expected_rows(scene) * 800 + drawn_at_once * draw.WRITE_BYTES
    state_bytes += built.sharing.listings(n_regions) * LISTING_BYTES
    turnover = scene.forks_per_tick * n_ticks * n_regions * 2
    asked = draw.expected_writes(scene, n_ticks) + requests.expected(scene, n_ticks)
    passes = built.trigger.passes(built.duration_s) if built.mechanism.active else 0.0
    work = asked + (n_ticks + min(passes, PASSES_A_TICK * n_ticks)) * STEP_WORK + rows + turnover
    if passes > PASSES_A_TICK * n_ticks:
        work += n_ticks * min(rows, AT_ONCE)
    return {"state_bytes": state_bytes, "work": built.replicates * work}
