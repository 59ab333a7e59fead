"""The rules that every mechanism keeps, on families that have lived; and what it does to one region, as a formula."""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from thpsweep.kit.lines import Line, note
from thpsweep.kit.scenes import Scene, frames, in_folios, partners, plain, recount, scenes
from thpsweep.model import registry
from thpsweep.model.accounting.prices import collapse_ns
from thpsweep.model.bits import Bools, Ints
from thpsweep.model.collapse.scan import outcomes
from thpsweep.model.machines.profile import Profile
from thpsweep.model.mechanisms.base import NOBODY, Mechanism
from thpsweep.model.mm.links import open_rows
from thpsweep.model.state.family import Family
from thpsweep.outcomes import ScanResult
from thpsweep.shipped import DEFAULT_MACHINE, option
from thpsweep.units import NS_PER_MS

DEGREES = (2, 3, 7)
SHOWN = ("tlb_flushes", "global_syncs", "pmd_writes", "pages_copied", "rmap_walks", "vmas_visited")


@dataclasses.dataclass(frozen=True)
class State:
    """What page tables hold. Shapes: frames, in_folio (n_rows, 512), pmd (n_rows,)."""

    frames: Ints
    in_folio: Bools
    pmd: Bools
    n_sharers: int

    @classmethod
    def of(cls, family: Family) -> "State":
        """Read it."""
        mapped = frames(family)
        return cls(mapped, in_folios(family, mapped), family.pmd.copy(), family.n_sharers)

    def differs(self, later: "State", rows: Ints) -> bool:
        """Tell whether something in these rows is not as it was; pages may have been read back from swap."""
        kept = np.where(self.frames > 0, later.frames, 0)
        pages = partners(self.frames, self.n_sharers) != partners(kept, self.n_sharers)
        forms = (self.frames > 0) & (self.in_folio != later.in_folio)
        return bool((pages | forms)[rows].any() or (self.pmd[rows] != later.pmd[rows]).any())


class Tried:
    """One visit before and after the attempt."""

    def __init__(self, mechanism: Mechanism, scene: Scene) -> None:
        self.mechanism, self.scene, self.visit = mechanism, scene, scene.again()
        self.before = State.of(self.visit.family)
        self.results = outcomes(mechanism, self.visit)
        self.after = State.of(self.visit.family)

    @property
    def at(self) -> Ints:
        """The region of each row."""
        return self.visit.family.region_of(self.visit.rows)

    def rows_of(self, chosen: Bools) -> Ints:
        """List all rows of the regions of the chosen ones."""
        n = self.visit.family.n_sharers
        return np.asarray((self.at[chosen][:, None] * n + np.arange(n)).reshape(-1))

    def changed(self, rows: Ints) -> bool:
        """Tell whether something in these rows is not as it was."""
        return self.before.differs(self.after, rows)

    def counted(self, name: str) -> int:
        """Sum a counter over replicates."""
        return int(self.visit.counts.total[name].sum())

    def finish(self) -> State:
        """Give what goes on in later ticks its time; give the state then."""
        mechanism, visit = self.mechanism, self.visit
        mechanism.step(visit.family, visit.counts, 0, 1e6, lambda rows: np.zeros(rows.size, bool))
        if mechanism.resumes:
            for row in open_rows(visit.family)[0]:
                one, slot = np.array([row]), np.array([NOBODY])
                mechanism.attempt(dataclasses.replace(visit, rows=one, race_slots=slot))
        return State.of(visit.family)


Rule = Callable[[Tried], str]
"""Says how a rule was broken, or nothing."""


def known(tried: Tried) -> str:
    """Refuse outcomes that are none."""
    own = len(ScanResult) + np.arange(len(tried.mechanism.outcomes))
    strange = ~np.isin(tried.results, [ScanResult.SUCCEED, ScanResult.PAGE_COUNT, *own])
    return f"attempt() gave {tried.results[strange][0]} for {strange.sum()} rows" if strange.any() else ""


def left_alone(tried: Tried) -> str:
    """Hold left alone to its word."""
    alone = tried.results >= len(ScanResult)
    names = [
        name for number, name in enumerate(tried.mechanism.outcomes, len(ScanResult)) if (tried.results == number).any()
    ]
    if tried.changed(tried.rows_of(alone)):
        return f"attempt() gave {', '.join(names)} for {alone.sum()} rows and changed what their regions map"
    return ""


def aborts(tried: Tried) -> str:
    """Compare outcomes with the counter."""
    failed, counted = int((tried.results == ScanResult.PAGE_COUNT).sum()), tried.counted("aborts")
    return f"attempt() gave PAGE_COUNT for {failed} rows and counted {counted} aborts" if failed != counted else ""


def undone(tried: Tried) -> str:
    """Compare what is mapped before and after."""
    failed = tried.results == ScanResult.PAGE_COUNT
    if tried.mechanism.undoes and tried.changed(tried.rows_of(failed)):
        return f"attempt() gave PAGE_COUNT for {failed.sum()} rows and changed what their regions map"
    return ""


def folios(tried: Tried) -> str:
    """Compare outcomes with the counter; one that resumes makes its folio at the first visit."""
    made, counted = int((tried.results == ScanResult.SUCCEED).sum()), tried.counted("collapses")
    if tried.mechanism.resumes:
        return ""
    return f"attempt() gave SUCCEED for {made} rows and counted {counted} collapses" if made != counted else ""


def mapped(tried: Tried) -> str:
    """Look for ptes that are gone."""
    lost = int(((tried.before.frames > 0) & (tried.after.frames == 0)).sum())
    return f"{lost} ptes mapped a page before attempt(), and map none after it" if lost else ""


def elsewhere(tried: Tried) -> str:
    """Look at the other regions."""
    there = np.ones(tried.before.pmd.size, bool)
    there[tried.rows_of(np.ones(tried.results.size, bool))] = False
    return "attempt() changed regions that it was not given" if tried.changed(np.flatnonzero(there)) else ""


def together(tried: Tried) -> str:
    """Sharers of a page share its successor; where one process collapses alone, the others keep the old page."""
    n = tried.visit.family.n_sharers
    if not tried.mechanism.all_sharers:
        others = np.setdiff1d(np.arange(tried.before.pmd.size), tried.visit.rows)
        alone = [
            np.where(np.isin(np.arange(s.pmd.size), others)[:, None], s.frames, 0) for s in (tried.before, tried.after)
        ]
        old, new = (partners(mapped, n) for mapped in alone)
        moved = int(((old != new) | (tried.before.in_folio != tried.after.in_folio))[others].sum())
        return f"attempt() moved {moved} ptes of other processes; all_sharers = False promises none" if moved else ""
    later, apart = tried.finish(), 0
    for region in np.unique(tried.at[tried.results == ScanResult.SUCCEED]):
        mine = slice(region * n, region * n + n)
        old, new = tried.before.frames[mine], later.frames[mine]
        for one in range(n):
            apart += int(((old == old[one]) & (old[one] > 0) & (new != new[one])).sum())
    return f"{apart // 2} times two processes shared a page before, and not after" if apart else ""


def adds_up(tried: Tried) -> str:
    """Count again."""
    for name, again in recount(tried.visit.family).items():
        held = tried.visit.family.gauge[name]
        if (held != again).any():
            return f"family.gauge['{name}'] is {held.tolist()}; the page tables hold {again.tolist()}"
    return ""


def changes_are_counted(tried: Tried) -> str:
    """Compare changes with the counters."""
    changed = int((~tried.before.in_folio & tried.after.in_folio & (tried.before.frames > 0)).sum())
    updates = int(tried.visit.counts.pte_updates.sum())
    if tried.mechanism.shares_tables or updates >= changed:  # one table stands for those of many processes
        return ""
    return f"{changed} ptes map a page of a folio that mapped a small one, and {updates} pte updates were counted"


def counters_grow(tried: Tried) -> str:
    """Look for negative counts."""
    fell = [name for name, total in tried.visit.counts.total.items() if (total < 0).any()]
    return f"below zero: {', '.join(fell)}" if fell else ""


def one_by_one(tried: Tried) -> str:
    """Attempt on copies."""
    visit, results = tried.scene.again(), []
    for number in range(visit.rows.size):
        results.append(int(outcomes(tried.mechanism, visit.where(np.array([number])))[0]))
    if results != tried.results.tolist():
        return f"all rows at once gave {tried.results.tolist()}, one after the other {results}"
    again = Tried(tried.mechanism, tried.scene).visit.counts
    for name, total in again.total.items():
        if (total != visit.counts.total[name]).any():
            return f"{name}: {total.tolist()} for all rows at once, {visit.counts.total[name].tolist()} one after the other"
    return ""


RULES: dict[str, Rule] = {
    "attempt() gives SUCCEED, PAGE_COUNT or an outcome of its own for each row": known,
    "what is left alone with an outcome of its own is as it was": left_alone,
    "an attempt that a late reference ends counts an abort": aborts,
    "an attempt that a late reference ends leaves everything as it was": undone,
    "each success counts a collapse: a folio that was made": folios,
    "who mapped a page maps one afterwards": mapped,
    "regions that attempt() was not given stay as they were": elsewhere,
    "ptes that change are counted": changes_are_counted,
    "the totals of the state agree with the page tables": adds_up,
    "no counter falls below zero": counters_grow,
    "rows one after the other end as all at once": one_by_one,
    "who shared a page goes on sharing it (all_sharers), or nobody else is touched": together,
}


def rules(mechanism: Mechanism) -> Iterator[Line]:
    """Try each rule on each family, with and without late references."""
    every = [scene for late in (False, True) for scene in scenes(mechanism, late=late)]
    reached: set[int] = set()
    for text, rule in RULES.items():
        broken = ""
        for scene in every:
            tried = Tried(mechanism, scene)
            reached |= set(tried.results.tolist())
            broken = broken or _where(scene, rule(tried))
        yield Line(text, broken)
    names = [member.name for member in ScanResult] + list(mechanism.outcomes)
    n_rows = sum(scene.visit.rows.size for scene in every)
    met = ", ".join(names[result] for result in sorted(reached))
    yield note(f"tried on {n_rows} regions of {len(every)} families; met: {met}")
    yield from example(mechanism)


def _where(scene: Scene, said: str) -> str:
    return f"{said} (where {scene.about})" if said else ""


def example(mechanism: Mechanism) -> Iterator[Line]:
    """Say as a formula of the sharers what one fully mapped region takes, and what it costs."""
    machine: Profile = registry.build("machine", {"kind": "profile", **option("machine", DEFAULT_MACHINE)})
    visits = {n: plain(mechanism, n) for n in DEGREES}
    results = {n: int(outcomes(mechanism, visit)[0]) for n, visit in visits.items()}
    if set(results.values()) != {ScanResult.SUCCEED}:
        yield note("a region that N processes map whole, all of it young, is not collapsed: no formula")
        return
    parts = {"pte updates": [int(visit.counts.pte_updates[0]) for visit in visits.values()]}
    for name in (*SHOWN, *mechanism.counters):
        parts[name.replace("_", " ")] = [int(visit.counts.total[name][0]) for visit in visits.values()]
    formulas = [f"{name} {_formula(values)}" for name, values in parts.items() if any(values)]
    yield note(f"a region that N processes map whole takes: {', '.join(formulas)}")
    for n in (DEGREES[0], 64):
        visit = plain(mechanism, n)
        outcomes(mechanism, visit)
        cost_ms = float(collapse_ns(visit.counts, machine, n)[0]) / NS_PER_MS
        yield note(f"it costs {cost_ms:.3g} ms of CPU time at {n} processes, by the prices of {DEFAULT_MACHINE}")


def _formula(values: list[int]) -> str:
    """Write values at DEGREES as a + b N where that is exact."""
    slope = (values[1] - values[0]) / (DEGREES[1] - DEGREES[0])
    base = values[0] - slope * DEGREES[0]
    if any(base + slope * n != value for n, value in zip(DEGREES, values, strict=True)):
        return ", ".join(f"{value:,} at N = {n}" for n, value in zip(DEGREES, values, strict=True))
    if not slope:
        return f"{base:,.0f}"
    return f"{slope:,.0f} N" + (f" {'+' if base > 0 else '-'} {abs(base):,.0f}" if base else "")
