"""Small families for checks: points that ship, let live for a while, and what their page tables hold, read the slow way."""

import copy
import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Bools, Ints
from thpsweep.model.collapse.conditions import DrawnConditions
from thpsweep.model.collapse.scan import VisitConditions, look
from thpsweep.model.collapse.view import DrawnView
from thpsweep.model.gates.always import Always
from thpsweep.model.mechanisms.base import NOBODY, Mechanism
from thpsweep.model.mechanisms.visit import ScanLimits, Visit
from thpsweep.model.mm.swap import bring_back
from thpsweep.model.setting import setting
from thpsweep.model.simulate import lived
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family
from thpsweep.shipped import DEFAULT_MACHINE, option
from thpsweep.units import HPAGE_PMD_NR

N_TICKS = 10
REGIONS = 6

STILL: Mapping[str, Any] = {"reads_per_page_hour": 1e6, "hot_regions": 0.0}
"""Values with which every pte is young, and no page is written."""

EVENTS: Mapping[str, Mapping[str, Any]] = {
    "nothing happened": {},
    "a third of the pages never touched": {"present_ptes": 340},
    "processes wrote": {"worker_cold_writes_per_page_hour": 1.0, "worker_hot_writes_per_page_hour": 20.0},
    "workers were recycled": {"worker_life_s": 200.0, "worker_cold_writes_per_page_hour": 1.0},
    "pages were pinned and spliced": {"pins_per_process_hour": 20.0, "vmsplices_per_process_hour": 20.0},
    "pages were swapped out": {"reclaim": "classic", "swap_outs_per_page_hour": 2.0, "reads_per_page_hour": 1.0},
}
"""What happened to a family, in words, and by which values of the workload `prefork`."""


def point(degree: int = 5, *, policy: Mapping[str, Any] | None = None, **changed: Any) -> dict[str, Any]:
    """Make a small point of options that ship; further keywords change the workload."""
    spec = {"name": "switch", "mechanism": {"kind": "switch"}, "trigger": {"kind": "madvise", "at_s": [120.0]}}
    return {
        "workload": {"kind": "prefork", **option("workload", "prefork"), "regions": REGIONS, **changed},
        "sharing": {"kind": "fixed", "degree": degree},
        "policy": {**spec, "gate": {"kind": "always"}, **(policy or {})},
        "machine": {"kind": "profile", **option("machine", DEFAULT_MACHINE)},
        "memory": {"kind": "plentiful"},
        "run": {"seed": 5, "replicates": 3, "duration_s": 900.0, "tick_s": 60.0},
    }


def living(family: Family) -> Ints:
    """List a row of a living process for each region that it maps something of, by turns. Shapes: -> (n,)."""
    rows = []
    for region in range(family.n_replicates * family.n_regions):
        mine = region * family.n_sharers + np.arange(family.n_sharers)
        able = mine[family.alive[family.replicate_of(mine), mine % family.n_sharers] & (family.record_of[mine] != 0)]
        if able.size:
            rows.append(int(able[region % able.size]))
    return np.array(rows, np.int64)


@dataclasses.dataclass(frozen=True)
class Scene:
    """A family that has lived, and what the next visit would be made to."""

    about: str
    visit: Visit

    def again(self) -> Visit:
        """Give the visit to a copy of the family, with counters of its own."""
        counts = Counts(self.visit.family.n_replicates, own=self.visit.counts.own)
        return dataclasses.replace(self.visit, family=copy.deepcopy(self.visit.family), counts=counts)


def scenes(mechanism: Mechanism, *, late: bool) -> list[Scene]:
    """Let families live, and choose rows whose scan passes; `late`: a reference arrives at every second of them."""
    found = []
    for about, events in EVENTS.items():
        built = setting(point(**events))
        family, conditions = lived(_quiet(built), N_TICKS)
        rows, view = living(family), DrawnView(conditions, N_TICKS)
        passed = look(family, mechanism, rows, ScanLimits(), functools.partial(_met, conditions)).passed
        rows = rows[passed]
        if not rows.size:
            continue
        if mechanism.all_sharers:
            bring_back(family, Counts(family.n_replicates), rows, bits.full(rows.size))
        first = bits.expand(family.records.present[family.record_of[rows]]).argmax(axis=1)
        slots = np.where(late & (np.arange(rows.size) % 2 == 0), first, NOBODY)
        counts = Counts(family.n_replicates, own=mechanism.counters)
        found.append(Scene(about, Visit(family, counts, rows, slots, ScanLimits(), view)))
    return found


def _met(conditions: DrawnConditions, rows: Ints) -> VisitConditions:
    return conditions.of_visit(rows, N_TICKS, khugepaged=False)


def plain(mechanism: Mechanism, degree: int, pages: int = HPAGE_PMD_NR) -> Visit:
    """Visit the root's part of one region that every process maps, in which nothing ever happened."""
    built = setting(point(degree, regions=1, present_ptes=pages, **STILL))
    family, conditions = lived(dataclasses.replace(_quiet(built), replicates=1), 1)
    counts = Counts(1, own=mechanism.counters)
    return Visit(family, counts, np.array([0]), np.array([NOBODY]), ScanLimits(), DrawnView(conditions, 1))


def _quiet(built: Any) -> Any:
    """Let nothing collapse, and write faults be counted."""
    return dataclasses.replace(built, trigger=_Never(), gate=_Remembering())


class _Remembering(Always):
    """A gate for which write faults are counted."""

    remembers_writes: ClassVar[bool] = True


class _Never:
    """A trigger that never visits anything."""

    payer = "caller"
    underused_beyond = HPAGE_PMD_NR

    def begin(self, n_replicates: int) -> None:
        """Have no state."""

    def act(self, *given: object) -> None:
        """Visit nothing."""


def frames(family: Family) -> Ints:
    """Give the frame that each slot of each row maps, 0 for none, by walking every list. Shapes: -> (n_rows, 512)."""
    records = family.record_of.astype(np.int64)
    found = np.zeros((records.size, HPAGE_PMD_NR), np.int64)
    for index, entry in family.walk(records):
        mapped = bits.expand(family.entries.slots[entry]).astype(bool)
        layer = family.entries.layer[entry].astype(np.int64)
        found[index] = np.where(mapped, layer[:, None] * HPAGE_PMD_NR + np.arange(HPAGE_PMD_NR) + 1, found[index])
    return found


def in_folios(family: Family, mapped: Ints) -> Bools:
    """Tell which of the frames that slots map are subpages of a PMD-order folio. Shapes: (n_rows, 512)."""
    layer = np.maximum(mapped - 1, 0) // HPAGE_PMD_NR
    compound = bits.expand(family.layers.compound[: layer.max() + 1]).astype(bool)
    return np.asarray((mapped > 0) & compound[layer, np.arange(HPAGE_PMD_NR)])


def partners(mapped: Ints, n_sharers: int) -> Ints:
    """Name each slot's frame by the first sharer that maps it, -1 for none: who shares with whom. Shapes: (n_rows, 512)."""
    by_region = mapped.reshape(-1, n_sharers, HPAGE_PMD_NR)
    first = np.full(by_region.shape, -1)
    for sharer in range(n_sharers - 1, -1, -1):
        first = np.where((by_region == by_region[:, sharer : sharer + 1]) & (by_region > 0), sharer, first)
    return first.reshape(mapped.shape)


def recount(family: Family) -> dict[str, Ints]:
    """Count again what gauges hold, row by row. Shapes: each (n_replicates,)."""
    mapped = frames(family)
    in_folio = in_folios(family, mapped)
    per = family.n_regions * family.n_sharers

    def by_replicate(flags: Any) -> Ints:
        return np.asarray(flags.reshape(family.n_replicates, per, -1).sum(axis=(1, 2)))

    return {
        "small_ptes": by_replicate((mapped > 0) & ~in_folio),
        "compound_ptes": by_replicate(in_folio & ~family.pmd[:, None]),
        "pmds": by_replicate(family.pmd[:, None]),
    }
