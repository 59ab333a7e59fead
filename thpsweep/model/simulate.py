"""READ THIS FIRST: one run of the model, as a column of named stages.

A point names a scene (workload, sharing, run) and what acts on it (policy, machine). simulate() draws the scene's events,
lets them act on the family tick by tick together with the policy's collapser, does the same for the baseline `none`, and
results.py prices the difference. Plain dicts go in and come out, so that any process on any machine can run a point.
"""

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from thpsweep.model import draws, registry
from thpsweep.model.accounting.integrals import Integrals
from thpsweep.model.accounting.locks import Locks
from thpsweep.model.accounting.series import Series
from thpsweep.model.bits import Ints
from thpsweep.model.capture.start import Start, forked, populate, unforked
from thpsweep.model.collapse.allocation import Allocator
from thpsweep.model.collapse.conditions import DrawnConditions
from thpsweep.model.events import cache, draw
from thpsweep.model.events.scene import Scene
from thpsweep.model.gates.base import Guard
from thpsweep.model.mechanisms.base import Mechanism
from thpsweep.model.memories.base import Place
from thpsweep.model.metrics.base import Run
from thpsweep.model.mm import gup
from thpsweep.model.mm.fault import write
from thpsweep.model.mm.fork import exit, fork
from thpsweep.model.mm.swap import read_back
from thpsweep.model.mm.vmscan import Young, reclaim
from thpsweep.model.mm.zeroed import NEVER_UNDERUSED, wrote
from thpsweep.model.results import results
from thpsweep.model.setting import Setting, side_by_side
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family
from thpsweep.model.triggers.base import Collapser, Early, Trigger
from thpsweep.outcomes import ScanResult
from thpsweep.units import HPAGE_PMD_NR

MODEL_VERSION = "11"
"""Raised whenever the same point would give other numbers; part of a point's identity."""


def simulate(point: Mapping[str, Any]) -> dict[str, Any]:
    """Run a point and its baseline on the same events; give metrics with intervals, outcomes and facts."""
    return simulate_each([point])[0]


def simulate_each(points: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Run points that differ in nothing but run.seed side by side; each has the result that it has alone."""
    built = side_by_side(points)
    baseline, _ = _baseline(_without_policy(built, points[0]))
    policy, outcomes = (baseline, _no_outcomes(built)) if not built.mechanism.active else _run(built)
    return results(built, policy, baseline, outcomes)


@dataclasses.dataclass(frozen=True)
class _Baseline:
    """A point without its policy: two are the same where scene, run and machine are."""

    point: str
    seeds: tuple[int, ...]
    built: Setting = dataclasses.field(compare=False)


def _without_policy(built: Setting, point: Mapping[str, Any]) -> _Baseline:
    """Give the same point with the baseline's policy."""
    kept = {name: value for name, value in point.items() if name not in ("policy", "memory")}
    without = dataclasses.replace(built, **_plain())
    return _Baseline(json.dumps(kept, sort_keys=True), built.seeds, without)


@functools.cache
def _plain() -> dict[str, Any]:
    return {
        "mechanism": registry.build("mechanism", {"kind": "none"}),
        "memory": registry.build("memory", {"kind": "plentiful"}),
    }


@functools.lru_cache(maxsize=1)
def _baseline(baseline: _Baseline) -> tuple[Run, np.ndarray]:
    """Run the baseline once for all points of a scene that come one after the other."""
    return _run(baseline.built)


def _no_outcomes(built: Setting) -> np.ndarray:
    return np.zeros((len(built.streams), len(ScanResult)), np.int64)


def _run(built: Setting) -> tuple[Run, np.ndarray]:
    """Run all replicates of one policy side by side."""
    start, streams = built.sharing.shape(built.workload.start(built.n_sharers)), built.streams
    family = Family(len(streams), start.n_regions, built.n_sharers)
    early = built.trigger if built.mechanism.active and isinstance(built.trigger, Early) else None
    populate(family, unforked(start) if early else start)
    counts, integrals = Counts(len(streams)), Integrals.zero(len(streams))
    keys = draws.keys(streams, built.scene_key)
    drawn = DrawnConditions(family, built.workload, keys, built.tick_s, built.mechanism.all_sharers)
    series = Series(built.n_ticks, len(streams))
    guard = Guard(built.gate, built.machine, built.workload, built.gate.begin(len(streams)))
    locks = Locks(family, built.mechanism.locks, built.machine, built.workload)
    counts.locks = locks.record
    place = Place(family, counts, keys)
    allocator = Allocator.begin(built.memory, place)
    collapser = Collapser(family, counts, built.mechanism, drawn.of_visit, guard, allocator, drawn.locked)
    state = built.trigger.begin(len(streams))
    if early:
        _begin_early(early, collapser, integrals, start)
    scene = Scene(built.workload, start.n_regions, built.n_sharers, built.n_ticks, built.tick_s)
    for number, tick in enumerate(cache.ticks(scene, streams, built.scene_key)):
        _turn_over(family, counts, tick, drawn.born, number)
        _refer(family, counts, built.mechanism, tick, number)
        written = _keys(family, [mine.writes for mine in tick])
        write(family, counts, written)
        wrote(family, written)
        if family.swaps:
            read_back(family, counts, *drawn.read_back(number))
        _reclaim(family, counts, tick, functools.partial(drawn.young_frames, number), built.trigger)
        if built.mechanism.active:
            before, done = family.pages_in_use, counts.total["collapses"].copy()
            allocator.tick(number, built.tick_s)
            guard.now_s = (number + 1) * built.tick_s
            built.trigger.act(state, collapser, number, built.tick_s)
            collapser.step(number, built.tick_s)
            made = counts.total["collapses"] - done
            integrals.collapsed(made, before, family, counts.needed_pages, (number + 1) * built.tick_s)
        integrals.add(family, built.machine, built.workload, built.tick_s)
        series.add(number, family, counts)
    integrals.settle(built.machine, built.workload, built.tick_s)
    return Run(counts, integrals, family, series, locks), collapser.outcomes


def _begin_early(early: Early, collapser: Collapser, integrals: Integrals, start: Start) -> None:
    """Let an early trigger act on the root, then fork the others; these forks were before the run, as the baseline's."""
    family, before = collapser.family, collapser.family.pages_in_use
    early.prepare(collapser)
    integrals.collapsed(collapser.counts.total["collapses"], before, family, collapser.counts.needed_pages, 0.0)
    unseen = Counts(family.n_replicates)
    family.alive[:, 1:] = False
    for replicate in range(family.n_replicates):
        for sharer in forked(start):
            fork(family, unseen, replicate, 0, int(sharer))
    family.alive[:] = True


def _turn_over(family: Family, counts: Counts, tick: tuple[draw.Tick, ...], born: Ints, number: int) -> None:
    """Let the workers whose life is over exit, then let the root fork those whose life begins, and note in which tick."""
    for replicate, mine in enumerate(tick):
        family.alive[replicate, mine.absent] = False
        for sharer in mine.exits:
            exit(family, counts, replicate, int(sharer))
        for sharer in mine.forks:
            fork(family, counts, replicate, 0, int(sharer))
            born[replicate, sharer] = number


def _refer(family: Family, counts: Counts, mechanism: Mechanism, tick: tuple[draw.Tick, ...], number: int) -> None:
    """End long references whose time has come, then take new ones."""
    if family.pins.in_use:
        gup.expire(family, number)
    wanted = [mine.requests for mine in tick]
    if any(mine.pins.size for mine in wanted):
        until = np.concatenate([mine.pins_until for mine in wanted])
        keys = _keys(family, [mine.pins for mine in wanted])
        gup.pin(family, counts, keys, until)
        wrote(family, keys)  # by the device that they are pinned for
    if any(mine.vmsplices.size for mine in wanted):
        keys = _keys(family, [mine.vmsplices for mine in wanted])
        mechanism.lead(family, counts, gup.living(family, keys))
        gup.reference(family, counts, keys, np.concatenate([mine.vmsplices_until for mine in wanted]))


def _reclaim(family: Family, counts: Counts, tick: tuple[draw.Tick, ...], young: Young, trigger: Trigger) -> None:
    """Let reclaim come to pages; khugepaged's max_ptes_none says which folios are underused, too."""
    wanted = [mine.requests.reclaims for mine in tick]
    if any(mine.size for mine in wanted):
        max_ptes_none = getattr(trigger, "max_ptes_none", NEVER_UNDERUSED)
        reclaim(family, counts, _keys(family, wanted), young, max_ptes_none)


def _keys(family: Family, by_replicate: list[Ints]) -> Ints:
    """Make keys of one replicate each keys of the whole family."""
    per_replicate = family.n_regions * family.n_sharers * HPAGE_PMD_NR
    return np.concatenate([keys + replicate * per_replicate for replicate, keys in enumerate(by_replicate)])
