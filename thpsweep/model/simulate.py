"""READ THIS FIRST: one run of the model, as a column of named stages.

A point names a scene (workload, sharing, run) and what acts on it (policy, machine). simulate() draws the scene's events,
lets them act on the family tick by tick together with the policy's collapser, does the same for the baseline `none`, and
results.py prices the difference. Plain dicts go in and come out, so that any process on any machine can run a point.
"""

import dataclasses
import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from thpsweep.model import draws, registry
from thpsweep.model.accounting.integrals import Integrals, Meter
from thpsweep.model.accounting.locks import Locks
from thpsweep.model.accounting.series import Series
from thpsweep.model.bits import Ints
from thpsweep.model.capture.start import Start, forked, populate, unforked
from thpsweep.model.collapse.allocation import Allocator
from thpsweep.model.collapse.conditions import DrawnConditions, born_at_start
from thpsweep.model.collapse.view import DrawnView
from thpsweep.model.events import cache, draw
from thpsweep.model.events.scene import Scene
from thpsweep.model.gates.base import Clock, Guard
from thpsweep.model.mechanisms.base import Mechanism
from thpsweep.model.memories.base import MemoryView
from thpsweep.model.metrics.base import Run
from thpsweep.model.mm import gup
from thpsweep.model.mm.fault import write
from thpsweep.model.mm.fork import exit, fork
from thpsweep.model.mm.swap import read_back
from thpsweep.model.mm.vmscan import reclaim
from thpsweep.model.mm.zeroed import wrote
from thpsweep.model.results import results
from thpsweep.model.setting import Setting, side_by_side
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family
from thpsweep.model.triggers.base import Collapser, Early
from thpsweep.outcomes import ScanResult
from thpsweep.units import HPAGE_PMD_NR

MODEL_VERSION = "13"
"""Raised whenever the same point would give other numbers; part of a point's identity."""


def simulate(point: Mapping[str, Any]) -> dict[str, Any]:
    """Run a point and its baseline on the same events; give metrics with intervals, outcomes and facts."""
    return simulate_each([point])[0]


def simulate_each(points: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Run points that differ in nothing but run.seed side by side; each has the result that it has alone."""
    built = side_by_side(points)
    baseline, _ = _baseline(_without_policy(built, points[0]))
    policy, outcomes = (
        (baseline, _no_outcomes(built)) if not built.mechanism.active else _run(built, built.mechanism.shares_tables)
    )
    return results(built, policy, baseline, outcomes)


@dataclasses.dataclass(frozen=True)
class _Baseline:
    """A point without its policy: two are the same where scene, run and machine are."""

    point: str
    seeds: tuple[int, ...]
    shares_tables: bool
    """Whether its own forks are priced as those of a kernel that shares page tables."""
    built: Setting = dataclasses.field(compare=False)


def _without_policy(built: Setting, point: Mapping[str, Any]) -> _Baseline:
    """Give the same point with the baseline's policy."""
    kept = {name: value for name, value in point.items() if name not in ("policy", "memory")}
    without = dataclasses.replace(built, **_plain())
    return _Baseline(json.dumps(kept, sort_keys=True), built.seeds, built.mechanism.shares_tables, without)


@functools.cache
def _plain() -> dict[str, Any]:
    return {
        "mechanism": registry.build("mechanism", {"kind": "none"}),
        "memory": registry.build("memory", {"kind": "plentiful"}),
    }


@functools.lru_cache(maxsize=1)
def _baseline(baseline: _Baseline) -> tuple[Run, Ints]:
    """Run the baseline once for all points of a scene that come one after the other."""
    return _run(baseline.built, baseline.shares_tables)


def _no_outcomes(built: Setting) -> Ints:
    return np.zeros((len(built.streams), len(ScanResult)), np.int64)


@dataclasses.dataclass(frozen=True)
class _Running:
    """One policy's run of all replicates, under way: the state that steps change, and what counts and acts on it."""

    setting: Setting
    family: Family
    counts: Counts
    clock: Clock
    conditions: DrawnConditions
    collapser: Collapser
    trigger_state: Any
    integrals: Integrals
    meter: Meter
    series: Series
    locks: Locks
    ticks: Iterable[tuple[draw.Tick, ...]]


def _run(setting: Setting, shares_tables: bool = False) -> tuple[Run, Ints]:
    """Run all replicates of one policy side by side; give the run at its end, and its outcomes."""
    running = _prepare(setting, shares_tables)
    for number, tick in enumerate(running.ticks):
        _step(running, number, tick)
    return _finish(running)


def _prepare(setting: Setting, shares_tables: bool = False) -> _Running:
    """Lay out the memory, and put the policy's collapser beside it."""
    start, streams = setting.sharing.shape(setting.workload.start(setting.n_sharers)), setting.streams
    family = Family(len(streams), start.n_regions, setting.n_sharers)
    family.rules = setting.machine.rules
    early = setting.trigger if setting.mechanism.active and isinstance(setting.trigger, Early) else None
    populate(family, unforked(start) if early else start)
    keys = draws.keys(streams, setting.scene_key)
    conditions = DrawnConditions(
        family, setting.workload, keys, setting.tick_s, born_at_start(family), setting.mechanism.all_sharers
    )
    locks = Locks(family, setting.mechanism.locks, setting.machine, setting.workload)
    integrals = Integrals.zero(len(streams))
    counts, clock = Counts(len(streams), locks.record, setting.mechanism.counters), Clock()
    if setting.mechanism.remembers_writes or setting.gate.remembers_writes:
        family.write_faults = np.zeros(family.record_of.size, np.int64)
    counts.needed_pages[:] = 1 << setting.mechanism.order
    scene = Scene(setting.workload, start.n_regions, setting.n_sharers, setting.n_ticks, setting.tick_s)
    running = _Running(
        setting=setting,
        family=family,
        counts=counts,
        clock=clock,
        conditions=conditions,
        collapser=Collapser(
            family,
            counts,
            setting.mechanism,
            conditions.of_visit,
            Guard(setting.gate, setting.machine, setting.workload, clock, setting.gate.begin(len(streams))),
            Allocator.begin(setting.memory, MemoryView(family, counts, keys), setting.mechanism.order),
            conditions.locked,
            functools.partial(DrawnView, conditions),
        ),
        trigger_state=setting.trigger.begin(len(streams)),
        integrals=integrals,
        meter=Meter(family, integrals, setting.machine, setting.workload, setting.tick_s, shares_tables),
        series=Series(setting.n_ticks, len(streams)),
        locks=locks,
        ticks=cache.ticks(scene, streams, setting.scene_key),
    )
    if early:
        _begin_early(early, running, start)
    running.meter.begin(family, counts)
    locks.begin(integrals.small_uncached)
    return running


def _step(running: _Running, number: int, tick: tuple[draw.Tick, ...]) -> None:
    """Let one tick happen, in the order that the model fixes: exits and forks, references, writes, reclaim, collapses."""
    setting, family, counts = running.setting, running.family, running.counts
    running.clock.now_s = (number + 1) * setting.tick_s
    _turn_over(family, counts, tick, running.conditions.born, number)
    _refer(family, counts, setting.mechanism, tick, number)
    _write(family, counts, tick)
    if family.swaps:
        read_back(family, counts, *running.conditions.read_back(number))
    _reclaim(running, tick, number)
    if setting.mechanism.active:
        _collapse(running, number)
    running.integrals.add(family, setting.tick_s)
    running.meter.read(family, counts)
    running.series.add(number, family, counts)


def _finish(running: _Running) -> tuple[Run, Ints]:
    """Account for what is still open, and hand over what was counted."""
    running.meter.settle(running.counts)
    run = Run(
        running.counts,
        running.integrals,
        running.family,
        running.series,
        running.locks,
        running.meter.root,
        running.meter.cpu_time,
    )
    return run, running.collapser.outcomes


def _begin_early(early: Early, running: _Running, start: Start) -> None:
    """Let an early trigger act on the root, then fork the others; these forks were before the run, as the baseline's."""
    family, before = running.family, running.family.pages_in_use
    early.prepare(running.collapser)
    _account_for_collapses(running, running.counts.total["collapses"], before)
    unseen = Counts(family.n_replicates)
    family.alive[:, 1:] = False
    for replicate in range(family.n_replicates):
        for sharer in forked(start):
            fork(family, unseen, replicate, 0, int(sharer))
    family.alive[:] = True


def _collapse(running: _Running, number: int) -> None:
    """Let the trigger visit what is due in this tick, and the mechanism go on with what it has begun."""
    setting, collapser = running.setting, running.collapser
    before, done = running.family.pages_in_use, running.counts.total["collapses"].copy()
    if collapser.allocator is not None:
        collapser.allocator.tick(number, setting.tick_s)
    setting.trigger.act(running.trigger_state, collapser, number, setting.tick_s)
    collapser.step(number, setting.tick_s)
    _account_for_collapses(running, running.counts.total["collapses"] - done, before)


def _account_for_collapses(running: _Running, made: Ints, before: Ints) -> None:
    """Note the peak of memory and the time of collapses that were made since `before` pages were in use."""
    needed = running.counts.needed_pages
    running.integrals.collapsed(made, before, running.family, needed, running.clock.now_s)


def _turn_over(family: Family, counts: Counts, tick: tuple[draw.Tick, ...], born: Ints, number: int) -> None:
    """Let the workers whose life is over exit, then let the root fork those whose life begins, and note in which tick."""
    for replicate, mine in enumerate(tick):
        family.alive[replicate, mine.absent] = False
        for sharer in mine.exits:
            exit(family, counts, replicate, int(sharer))
        for sharer in mine.forks:
            fork(family, counts, replicate, 0, int(sharer))
            born[replicate, sharer] = number
            if family.write_faults is not None:
                family.write_faults[family.rows_of(replicate, int(sharer))] = 0


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


def _write(family: Family, counts: Counts, tick: tuple[draw.Tick, ...]) -> None:
    """Let the writes of the tick happen."""
    keys = _keys(family, [mine.writes for mine in tick])
    write(family, counts, keys)
    wrote(family, keys)


def _reclaim(running: _Running, tick: tuple[draw.Tick, ...], number: int) -> None:
    """Let reclaim come to pages; khugepaged's max_ptes_none says which folios are underused, too."""
    wanted = [mine.requests.reclaims for mine in tick]
    if any(mine.size for mine in wanted):
        young = functools.partial(running.conditions.young_frames, number)
        keys = _keys(running.family, wanted)
        reclaim(running.family, running.counts, keys, young, running.setting.trigger.underused_beyond)


def _keys(family: Family, by_replicate: list[Ints]) -> Ints:
    """Make keys of one replicate each keys of the whole family."""
    per_replicate = family.n_regions * family.n_sharers * HPAGE_PMD_NR
    return np.concatenate([keys + replicate * per_replicate for replicate, keys in enumerate(by_replicate)])


def lived(setting: Setting, n_ticks: int) -> tuple[Family, DrawnConditions]:
    """Let the family of a point live for so many ticks; give it and what a visit to it would meet."""
    running = _prepare(setting)
    for number, tick in zip(range(n_ticks), running.ticks, strict=False):
        _step(running, number, tick)
    return running.family, running.conditions
