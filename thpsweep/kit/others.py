"""The rules that gates, triggers, workloads, sharings, memories and metrics keep, each on small families."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from thpsweep.errors import OptionError
from thpsweep.kit.lines import Line, note
from thpsweep.kit.mechanism import State
from thpsweep.kit.scenes import N_TICKS, REGIONS, point, recount, scenes
from thpsweep.model import draws, registry
from thpsweep.model.bits import Ints
from thpsweep.model.capture.start import populate
from thpsweep.model.collapse.allocation import Allocator
from thpsweep.model.collapse.view import DrawnView
from thpsweep.model.gates.base import Clock, Gate, Guard, Proposal
from thpsweep.model.mechanisms.visit import ScanLimits
from thpsweep.model.memories.base import Memory, MemoryView
from thpsweep.model.metrics.base import Metric
from thpsweep.model.setting import setting
from thpsweep.model.sharings.base import Sharing
from thpsweep.model.simulate import lived, simulate
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family
from thpsweep.model.triggers.base import Collapser, Early, Trigger
from thpsweep.model.workloads.base import Workload
from thpsweep.outcomes import ScanResult
from thpsweep.units import MAX_SHARERS


def gate(made: Gate) -> Iterator[Line]:
    """Ask about all that passes a scan, of several families."""
    broken, passed, asked = dict.fromkeys(("changes", "again", "loosens"), ""), 0, 0
    for scene in scenes(registry.build("mechanism", {"kind": "switch"}), late=False):
        proposal = _proposal(scene.again())
        state, before = made.begin(proposal.family.n_replicates), State.of(proposal.family)
        totals = {name: total.copy() for name, total in proposal.counts.total.items()}
        first, second = _allowed(made, state, proposal), _allowed(made, state, proposal)
        every = np.arange(before.pmd.size)
        if before.differs(State.of(proposal.family), every) or any(
            (proposal.counts.total[name] != total).any() for name, total in totals.items()
        ):
            broken["changes"] = f"allow() changed the family or its counters, where {scene.about}"
        if (first != second).any():
            broken["again"] = (
                f"allow() let {first.sum()} of {first.size} pass, then {second.sum()}, where {scene.about}; khugepaged asks "
                "about regions that it may not reach: expected a state that follows proposal.counts, not what passed"
            )
        broken["loosens"] = broken["loosens"] or _loosens(made, proposal)
        passed, asked = passed + int(first.sum()), asked + first.size
    yield Line("asking changes nothing", broken["changes"])
    yield Line("asking twice at the same moment gives the same answer", broken["again"])
    if made.loosens:
        yield Line(
            f"a larger {', '.join(made.loosens)} refuses nothing that a smaller one lets pass", broken["loosens"]
        )
    yield note(f"it lets pass {passed} of {asked} regions of families that have lived for ten minutes")


def _proposal(visit: Any) -> Proposal:
    """Propose all rows of a visit."""
    built = setting(point())
    return Proposal(
        visit.family,
        visit.counts,
        built.mechanism,
        visit.rows,
        visit.limits,
        built.machine,
        built.workload,
        600.0,
        visit.view,
    )


def _allowed(made: Gate, state: Any, proposal: Proposal) -> Any:
    """Ask as a run does, which checks the answer."""
    guard = Guard(made, proposal.machine, proposal.workload, Clock(proposal.now_s), state)
    return guard.allows(
        proposal.family, proposal.counts, proposal.mechanism, proposal.rows, proposal.limits, proposal.view
    )


def _loosens(made: Gate, proposal: Proposal) -> str:
    """Ask about each row alone, with ever larger values."""
    one = proposal.where(np.array([0]))
    for name in made.loosens:
        given = getattr(made, name)
        if given is None:
            continue
        before: tuple[Any, bool] = (0, False)
        for times in (0, 1e-4, 0.01, 0.5, 1, 2, 100, 1e4):
            try:
                changed = dataclasses.replace(made, **{name: type(given)(given * times)})
            except OptionError:
                continue
            value, allows = (
                getattr(changed, name),
                bool(_allowed(changed, changed.begin(proposal.family.n_replicates), one)[0]),
            )
            if before[1] and not allows:
                return f"{name}={before[0]} lets pass what {name}={value} refuses"
            before = value, allows
    return ""


class _Watched(Collapser):
    """A collapser that keeps what it was asked to do."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.seen: list[Ints] = []
        self.tried: list[Ints] = []

    def look(self, rows: Ints, limits: ScanLimits, tick: int, khugepaged: bool) -> Any:
        """Keep the rows."""
        self.seen.append(rows)
        return super().look(rows, limits, tick, khugepaged)

    def attempt(self, found: Any, limits: ScanLimits, until_failure: bool = False) -> Any:
        """Keep the rows."""
        self.tried.append(found.rows[found.passed])
        return super().attempt(found, limits, until_failure)


def trigger(made: Trigger) -> Iterator[Line]:
    """Let it act on a family for an hour."""
    built = setting(point(worker_life_s=200.0))
    family, conditions = lived(
        dataclasses.replace(built, mechanism=registry.build("mechanism", {"kind": "none"})), N_TICKS
    )
    family.alive[:, -1] = False
    counts = Counts(family.n_replicates)
    view = lambda tick: DrawnView(conditions, tick)  # noqa: E731
    watched = _Watched(family, counts, built.mechanism, conditions.of_visit, view=view)
    if isinstance(made, Early):
        made.prepare(watched)
    else:
        state = made.begin(family.n_replicates)
        for tick in range(N_TICKS, N_TICKS + 60):
            made.act(state, watched, tick, 60.0)
    seen = np.concatenate([*watched.seen, np.zeros(0, np.int64)])
    dead = int((~family.alive[family.replicate_of(seen), seen % family.n_sharers]).sum())
    twice = sum(np.unique(rows // family.n_sharers).size != rows.size for rows in watched.tried)
    yield Line("it visits living processes alone", f"{dead} visits to processes that have exited" if dead else "")
    yield Line(
        "the rows of one attempt() are of distinct regions",
        f"in {twice} calls some are of the same region" if twice else "",
    )
    yield Line(
        f"in an hour it looks {seen.size} times at a region, and collapses {int(counts.total['collapses'].sum())}",
        info=True,
    )


def workload(made: Workload) -> Iterator[Line]:
    """Lay out the memory that it begins with, for several numbers of processes."""
    broken = dict.fromkeys(("regions", "root", "absent", "adds up"), "")
    for degree in (1, 2, 7):
        start = made.start(degree)
        family = Family(1, start.n_regions, degree)
        populate(family, start)
        described = made.describe(degree).get("regions")
        if described != start.n_regions:
            broken["regions"] = f"describe() says regions={described}, start() gives {start.n_regions}"
        mapped = (State.of(family).frames > 0).reshape(start.n_regions, degree, -1).sum(axis=(0, 2))
        if not mapped[0]:
            broken["root"] = f"of {degree} processes the first maps nothing"
        absent = made.absent(degree)
        if not 0 <= absent < degree or mapped[degree - absent :].any():
            broken["absent"] = (
                f"of {degree} processes absent() says {absent}, which map {mapped[degree - absent :].sum()} pages"
            )
        broken["adds up"] = broken["adds up"] or _adds_up(family)
    yield Line("describe() says how many regions start() gives", broken["regions"])
    yield Line("the root, process 0, maps something", broken["root"])
    yield Line("processes that are absent at first map nothing", broken["absent"])
    yield Line("the totals of the state agree with the page tables", broken["adds up"])
    rates = {
        f"{who} {what}": made.writes_per_page_hour(who == "root", what == "hot")
        for who in ("root", "worker")
        for what in ("hot", "cold")
    }
    listed = ", ".join(f"{rate:g} by a {who.replace(' ', ' on ')} page" for who, rate in rates.items())
    yield note(f"writes per page and hour: {listed}")


def sharing(made: Sharing) -> Iterator[Line]:
    """Shape the memory of a small workload."""
    n = made.sharers
    right = isinstance(n, int) and 1 <= n <= MAX_SHARERS
    yield Line(f"sharers is a whole number, 1..{MAX_SHARERS}", "" if right else f"it is {n!r}")
    if not right:
        return
    start = setting(point()).workload.start(n)
    shaped = made.shape(start)
    family, plain = Family(1, shaped.n_regions, n), Family(1, start.n_regions, n)
    populate(family, shaped)
    populate(plain, start)
    yield Line("the totals of the state agree with the page tables", _adds_up(family))
    mapped, before = (State.of(one).frames.reshape(REGIONS, n, -1) > 0 for one in (family, plain))
    lost = int((before[:, 0] & ~mapped[:, 0]).sum())
    yield Line("the root maps what the workload says", f"it lost {lost} pages" if lost else "")
    yield note(f"{n} processes map {mapped.sum() / n / 512:.3g} regions of {REGIONS} on average")


def _adds_up(family: Family) -> str:
    for name, again in recount(family).items():
        if (family.gauge[name] != again).any():
            return f"family.gauge['{name}'] is {family.gauge[name].tolist()}; the page tables hold {again.tolist()}"
    return ""


def memory(made: Memory) -> Iterator[Line]:
    """Let it give blocks to attempts, and see what is left."""
    built = setting(point())
    (scene, *_) = scenes(built.mechanism, late=False)
    visit = scene.again()
    place = MemoryView(visit.family, visit.counts, draws.keys(built.streams, built.scene_key))
    allocator = Allocator.begin(made, place)
    free = made.free(allocator.state, place)
    right = isinstance(free, np.ndarray) and free.shape == (visit.family.n_replicates,) and (free >= 0).all()
    yield Line("free() gives a number of blocks for each replicate", "" if right else f"it gave {free!r}")
    before, held, state = free.copy(), visit.family.gauge["folios"].copy(), State.of(visit.family)
    conditions = lived(built, 1)[1].of_visit
    at_work = Collapser(visit.family, visit.counts, built.mechanism, conditions, allocator=allocator)
    allocator.tick(N_TICKS, 60.0)
    before = made.free(allocator.state, place).copy()
    results = at_work.attempt(at_work.scan(visit.rows, ScanLimits(), N_TICKS, khugepaged=False), ScanLimits())
    total, after = visit.counts.total, made.free(allocator.state, place)
    taken = visit.family.gauge["folios"] - held
    wrong = made.limited and (after != np.maximum(0, before + total["compact_success"] - taken)).any()
    problem = (
        f"{before} free, {taken} taken, {total['compact_success']} made by compaction, {after} left" if wrong else ""
    )
    yield Line("blocks add up: what was free and what was made is taken or left", problem)
    failed = visit.rows[np.isin(results, [ScanResult.ALLOC_HUGE_PAGE_FAIL, ScanResult.CGROUP_CHARGE_FAIL])]
    n = visit.family.n_sharers
    rows = (visit.family.region_of(failed)[:, None] * n + np.arange(n)).reshape(-1)
    changed = state.differs(State.of(visit.family), rows)
    yield Line("where no block is to be had nothing changes", "the page tables changed" if changed else "")
    yield note(f"of {results.size} collapses {failed.size} get no block")


def metric(made: Metric, spec: dict[str, Any]) -> Iterator[Line]:
    """Compute it beside all others, for a policy that collapses and one that does not."""
    one = point()
    name = spec[registry.KIND]
    added = registry.is_added("metric", name)
    alone = simulate(one)
    beside = simulate({**one, "metrics": {name: spec}}) if added else alone
    others = {other: beside["replicates"][other] for other in alone["replicates"]}
    same = repr(others) == repr(alone["replicates"])
    yield Line("the other metrics are as without it", "" if same else "compute() changed what it was given")
    for policy in ("switch", "copy") if added else ():
        result = simulate({**one, "policy": {**one["policy"], "mechanism": {"kind": policy}}, "metrics": {name: spec}})
        for own in result["own"]:
            mean, unit = result["metrics"][own]["mean"], result["units"][own]
            yield note(f"{own} is {mean:.6g} {unit} where `{policy}` collapses {REGIONS} regions of 5 processes")


def run_time(spec_point: dict[str, Any]) -> Line:
    """Say what collapsing cost in a run of a point, a region."""
    result = simulate(spec_point)
    collapses, cpu_ms = (result["metrics"][name]["mean"] for name in ("cost/collapses", "cost/cpu_ms"))
    met = ", ".join(f"{name} {n}" for name, n in result["outcomes"].items()) or "nothing was looked at"
    each = f"; {cpu_ms / collapses:.3g} ms of CPU time per collapse" if collapses else ""
    return note(f"in a run of 15 minutes, 3 replicates: {met}{each}")
