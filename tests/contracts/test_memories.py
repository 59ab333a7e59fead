"""What every memory promises, found by name."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from tests.contracts.gated import MECHANISMS, calm, plain
from tests.model.points import option, point
from tests.model.replay import Replay, snapshot
from tests.reference.families import Family as Drawn
from thpsweep.errors import OptionError
from thpsweep.model import draws, registry
from thpsweep.model.bits import Ints
from thpsweep.model.collapse.allocation import NOT_REACHED, Allocator
from thpsweep.model.collapse.scan import Scanned, VisitConditions
from thpsweep.model.mechanisms.visit import ScanLimits
from thpsweep.model.memories.base import Memory, MemoryView
from thpsweep.model.simulate import simulate
from thpsweep.model.triggers.base import Collapser
from thpsweep.outcomes import ScanResult

MEMORIES = registry.options("memory")
NAMES = list(MEMORIES)


def collapser(replay: Replay, memory: Memory, mechanism: str = "inplace") -> Collapser:
    """Put a memory between the scans and the attempts of a mechanism."""
    keys = draws.keys([(1, number) for number in range(replay.family.n_replicates)], "scene")
    place = MemoryView(replay.family, replay.counts, keys)
    allocator = Allocator.begin(memory, place)
    made = registry.build("mechanism", {"kind": mechanism})
    return Collapser(replay.family, replay.counts, made, calm, allocator=allocator)


@pytest.mark.parametrize("name", NAMES)
def test_is_documented_and_its_yaml_makes_it(name: str) -> None:
    cls = MEMORIES[name]
    made = registry.build("memory", option("memory", name))
    assert isinstance(made, Memory) and cls.__doc__ and cls.free.__doc__ and cls.compact.__doc__
    assert registry.spec(made) == {"kind": name, **dataclasses.asdict(made)}
    assert registry.build("memory", registry.spec(made)) == made


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("trigger", [{"kind": "khugepaged"}, {"kind": "madvise", "at_s": [60.0, 300.0]}])
def test_same_seed_same_numbers(name: str, trigger: dict[str, Any]) -> None:
    one = {**point("inplace", 3, trigger=trigger), "memory": option("memory", name)}
    assert repr(simulate(one)) == repr(simulate(one))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_blocks_add_up(name: str, mechanism: str) -> None:
    """What is free and what the family holds changes only by what compaction makes, and a failure changes nothing."""
    replay = plain(n_regions=5)
    at_work = collapser(replay, registry.build("memory", option("memory", name)), mechanism)
    assert at_work.allocator is not None
    memory, state, total = at_work.allocator.memory, at_work.allocator.state, replay.counts.total
    before = memory.free(state, at_work.allocator.place).copy()
    found = at_work.scan(np.arange(5) * replay.family.n_sharers, ScanLimits(), 0, False)
    at_work.attempt(found, ScanLimits())
    assert total["thp_collapse_alloc"] + total["thp_collapse_alloc_failed"] == 5
    if memory.limited:
        held = replay.family.gauge["folios"]
        assert memory.free(state, at_work.allocator.place) + held == before + total["compact_success"]


def raced(rows: Ints, tick: int, khugepaged: bool) -> VisitConditions:
    """Let a late reference end every third attempt."""
    full = np.full(rows.size, 512)
    return VisitConditions(full, np.zeros(rows.size, bool), np.where(rows // 3 % 3 == 0, 0, full))


@pytest.mark.parametrize("until_failure", [False, True])
@pytest.mark.parametrize(
    ("free", "defrag"),
    [
        *((0, "direct"), (0, "none"), (1, "direct"), (1, "background"), (4, "direct")),
        *(pytest.param(*more, marks=pytest.mark.slow) for more in ((0, "background"), (1, "none"), (4, "none"))),
        pytest.param(4, "background", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_batch_equals_its_rows_one_by_one(mechanism: str, free: int, defrag: str, until_failure: bool) -> None:
    """Blocks go to rows in order, and one that an attempt gives back to the next; replicates do not mix."""
    changed = {"free_blocks": free, "defrag": defrag, "unmovable_probability": 0.5}
    memory = registry.build("memory", {**option("memory", "fragmented"), **changed})
    ends = []
    for batched in (True, False):
        drawn = Drawn(9, 3, [(region, (0, 1, 2), list(range(512)), 0) for region in range(9)], {}, set(), {0, 1, 2})
        replay = Replay(drawn, {}, n_replicates=2)
        at_work = collapser(replay, memory, mechanism)
        at_work.conditions = raced
        found = at_work.scan(np.arange(0, 2 * 27, 3), ScanLimits(), 0, False)
        if batched:
            results = at_work.attempt(found, ScanLimits(), until_failure).tolist()
        else:
            results = one_by_one(at_work, found, until_failure)
        totals = {name: n.tolist() for name, n in replay.counts.total.items()}
        ends.append(
            (results, totals, at_work.outcomes.tolist(), snapshot(replay.family, 0), snapshot(replay.family, 1))
        )
    assert ends[0] == ends[1]


def one_by_one(at_work: Collapser, found: Scanned, until_failure: bool) -> list[int]:
    """Attempt rows one after the other; give up a replicate at its first failure where asked to."""
    results, over = [], set()
    for i, replicate in enumerate(at_work.family.replicate_of(found.rows).tolist()):
        if replicate in over:
            results.append(NOT_REACHED)
            continue
        results.append(int(at_work.attempt(found.where(np.array([i])), ScanLimits())[0]))
        if until_failure and results[-1] == ScanResult.ALLOC_HUGE_PAGE_FAIL:
            over.add(replicate)
    return results


@pytest.mark.parametrize("mechanism", [name for name in MECHANISMS if name != "unshare"])
def test_a_failed_allocation_changes_nothing_and_counts_only_the_scan(mechanism: str) -> None:
    replay = plain()
    empty = registry.build("memory", {**option("memory", "fragmented"), "free_blocks": 0, "defrag": "none"})
    before, at_work = snapshot(replay.family), collapser(replay, empty, mechanism)
    at_work.attempt(at_work.scan(np.array([0]), ScanLimits(), 0, False), ScanLimits())
    assert snapshot(replay.family) == before
    counted = {name: int(n[0]) for name, n in replay.counts.total.items() if n[0]}
    assert counted == {"ptes_scanned": 512, "thp_collapse_alloc_failed": 1}


def test_unshare_asks_for_its_folio_when_all_is_unshared_and_frozen() -> None:
    """Four sharers: the caller copies its 512 pages, freezes and thaws them for nothing, and keeps its copies."""
    replay = plain()
    empty = registry.build("memory", {**option("memory", "fragmented"), "free_blocks": 0, "defrag": "none"})
    before, at_work = replay.family.pages_in_use[0], collapser(replay, empty, "unshare")
    at_work.attempt(at_work.scan(np.array([0]), ScanLimits(), 0, False), ScanLimits())
    total = {name: int(n[0]) for name, n in replay.counts.total.items()}
    assert total["ptes_unshared"] == total["migration_entries_set"] == total["ptes_restored"] == 512
    assert total["wasted_pte_updates"] == 3 * 512 and total["collapses"] == 0
    assert replay.family.pages_in_use[0] == before + 512
    assert replay.counts.needed_pages[0] == 1024, "its copies and, in vain, the folio"


# ---- the limit of the memory cgroup -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mechanism", [m for m in MECHANISMS if m != "none"])
def test_a_cgroup_without_room_fails_every_collapse_and_changes_nothing_for_good(name: str, mechanism: str) -> None:
    replay = plain(n_regions=5)
    memory = registry.build("memory", option("memory", name) | {"cgroup_headroom_bytes": 511 * 4096.0})
    at_work = collapser(replay, memory, mechanism)
    rows, pages = np.arange(5) * replay.family.n_sharers, replay.family.pages_in_use[0]
    results = at_work.attempt(at_work.scan(rows, ScanLimits(), 0, khugepaged=False), ScanLimits())
    assert set(results.tolist()) == {ScanResult.CGROUP_CHARGE_FAIL}
    assert replay.counts.total["thp_collapse_alloc"][0] == 5 and replay.counts.total["collapses"][0] == 0
    unshared = replay.counts.total["ptes_unshared"][0]  # before the allocation, which comes after the freeze
    assert replay.family.pages_in_use[0] == pages + unshared and not replay.family.pmd.any()


@pytest.mark.parametrize("name", NAMES)
def test_the_cgroup_is_charged_row_by_row(name: str) -> None:
    """`copy` of shared pages frees nothing: so many succeed as there is room for, in order."""
    replay = plain(n_regions=5)
    memory = registry.build("memory", option("memory", name) | {"cgroup_headroom_bytes": 2.5 * 2**21})
    at_work = collapser(replay, memory, "copy")
    rows = np.arange(5) * replay.family.n_sharers
    results = at_work.attempt(at_work.scan(rows, ScanLimits(), 0, khugepaged=False), ScanLimits())
    assert [ScanResult(r).name for r in results] == ["SUCCEED"] * 2 + ["CGROUP_CHARGE_FAIL"] * 3
    assert replay.counts.total["thp_collapse_alloc"][0] == 5


def test_a_cgroup_limit_reaches_a_run() -> None:
    one = {**point("copy", 4, regions=4), "memory": {"kind": "plentiful", "cgroup_headroom_bytes": 3 * 2.0**21}}
    result = simulate(one)
    assert result["outcomes"]["SUCCEED"] > 0 and result["outcomes"]["CGROUP_CHARGE_FAIL"] > 0


@pytest.mark.parametrize("value", [-1.0, "much", float("inf")])
def test_a_headroom_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(OptionError, match=r"memory\.cgroup_headroom_bytes"):
        registry.build("memory", {"kind": "plentiful", "cgroup_headroom_bytes": value})
