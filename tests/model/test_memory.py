"""Blocks of 2 MiB: who gets one, who compacts, who waits, and what it costs; against closed forms."""

import re
from typing import Any

import numpy as np
import pytest

from tests.contracts.gated import plain
from tests.contracts.test_memories import collapser
from tests.model.points import option, point, totals
from tests.model.scarce import ROOT, fragmented, run
from thpsweep.model import registry
from thpsweep.model.bits import Ints
from thpsweep.model.collapse.scan import VisitConditions
from thpsweep.model.mechanisms.visit import ScanLimits
from thpsweep.model.mm.fork import exit
from thpsweep.model.setting import scene_key
from thpsweep.model.simulate import simulate
from thpsweep.model.triggers.base import Collapser
from thpsweep.outcomes import ScanResult

HURRIED = {"kind": "khugepaged", "alloc_sleep_millisecs": 0}


def visit(at_work: Collapser, *rows: int) -> list[str]:
    found = at_work.scan(np.array(rows), ScanLimits(), 0, False)
    return [ScanResult(int(result)).name for result in at_work.attempt(found, ScanLimits())]


# ---- who gets a block ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", ["copy", "inplace", "switch", "unshare", "incremental", "deferred", "retract"])
@pytest.mark.parametrize("free", [0, 1, 3, 4, 9])
def test_free_blocks_are_collapses_and_the_rest_fail(mechanism: str, free: int) -> None:
    result = run(fragmented(free_blocks=free), mechanism)
    made, replicates = min(free, 4), 2
    found = totals(result)
    assert found["cost/collapses"] == found["cost/thp_collapse_alloc"] == made
    assert found["cost/thp_collapse_alloc_failed"] == 4 - made
    expected = {"SUCCEED": replicates * made, "ALLOC_HUGE_PAGE_FAIL": replicates * (4 - made)}
    assert result["outcomes"] == {name: n for name, n in expected.items() if n}


def test_nothing_is_done_where_nothing_is_free() -> None:
    found = totals(run(fragmented(free_blocks=0)))
    assert found["cost/pte_updates"] == found["cost/direct_compaction_stall_ms"] == found["cost/compaction_cpu_ms"] == 0
    machine = option("machine", "milan_vm")
    assert found["cost/cpu_ms"] == pytest.approx(4 * 512 * machine["pte_scan_ns"] / 1e6)


@pytest.mark.parametrize("trigger", [ROOT, {"kind": "khugepaged"}])
@pytest.mark.parametrize("mechanism", ["copy", "inplace_pmd", "deferred", "incremental"])
def test_plentiful_is_no_memory_at_all_and_as_good_as_enough(mechanism: str, trigger: dict[str, Any]) -> None:
    one = point(mechanism, 5, trigger=trigger, worker_life_s=200.0)
    without = repr(simulate(one))
    assert repr(simulate({**one, "memory": {"kind": "plentiful"}})) == without
    assert repr(simulate({**one, "memory": fragmented(free_blocks=10_000)})) == without


def test_a_folio_that_dies_gives_its_block_to_the_next() -> None:
    replay = plain(n_regions=1, n_sharers=2)
    at_work = collapser(replay, registry.build("memory", fragmented(free_blocks=1)), "copy")
    assert visit(at_work, 1) == ["SUCCEED"]
    assert visit(at_work, 0) == ["ALLOC_HUGE_PAGE_FAIL"]
    exit(replay.family, replay.counts, 0, 1)
    assert visit(at_work, 0) == ["SUCCEED"]


def test_a_folio_that_is_split_does_not() -> None:
    replay = plain(n_regions=2)
    at_work = collapser(replay, registry.build("memory", fragmented(free_blocks=1)))
    assert visit(at_work, 0) == ["SUCCEED"]
    replay.family.gauge["folios"] -= 1
    replay.counts.add_one("folio_splits", 0)
    assert visit(at_work, replay.family.n_sharers) == ["ALLOC_HUGE_PAGE_FAIL"]


def test_an_attempt_that_fails_leaves_its_block_to_the_next_row() -> None:
    def raced(rows: Ints, tick: int, khugepaged: bool) -> VisitConditions:
        return VisitConditions(np.full(rows.size, 512), np.zeros(rows.size, bool), np.where(rows == 0, 0, 512))

    replay = plain(n_regions=3)
    at_work = collapser(replay, registry.build("memory", fragmented(free_blocks=1)))
    at_work.conditions = raced
    assert visit(at_work, 0, 3, 6) == ["PAGE_COUNT", "SUCCEED", "ALLOC_HUGE_PAGE_FAIL"]


def test_going_on_with_a_linked_folio_takes_no_other_block() -> None:
    replay = plain(n_regions=2)
    at_work = collapser(replay, registry.build("memory", fragmented(free_blocks=1)), "deferred")
    assert [visit(at_work, row)[0] for row in (0, 1, 2, 3)] == 3 * ["SUCCEED"] + ["ALLOC_HUGE_PAGE_FAIL"]
    assert replay.counts.total["thp_collapse_alloc"] == 1


# ---- compaction ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("degree", [1, 4, 195])
def test_direct_compaction_stalls_for_the_pages_that_it_moves(degree: int) -> None:
    """Three of four blocks are made: 512 pages each, which all of the sharers map; prices from the YAML."""
    direct, plenty = (
        totals(run(memory, degree=degree))
        for memory in (fragmented(free_blocks=1, defrag="direct"), {"kind": "plentiful"})
    )
    machine = option("machine", "milan_vm")
    page_ns = 2 * machine["rmap_walk_ns"] + machine["copy_page_ns"]
    pte_ns = machine["migration_entry_set_ns"] + machine["migration_entry_restore_ns"]
    stall_ms = 3 * 512 * (page_ns + degree * pte_ns) / 1e6
    assert direct["cost/collapses"] == 4 and direct["cost/thp_collapse_alloc_failed"] == 0
    assert direct["cost/compact_stall"] == direct["cost/compact_success"] == 3 and direct["cost/compact_fail"] == 0
    assert direct["cost/pages_migrated"] == 3 * 512
    assert direct["cost/direct_compaction_stall_ms"] == pytest.approx(stall_ms)
    assert direct["cost/compaction_cpu_ms"] == direct["cost/compaction_cpu_ms_caller"] == pytest.approx(stall_ms)
    assert direct["cost/cpu_ms"] == pytest.approx(plenty["cost/cpu_ms"] + stall_ms)
    assert direct["tradeoff/net_cpu_ms"] == pytest.approx(plenty["tradeoff/net_cpu_ms"] - stall_ms)


def test_pages_of_others_are_mapped_once() -> None:
    ptes = {}
    for share in (0.0, 0.5, 1.0):
        replay = plain(n_regions=2, n_sharers=9)
        memory = fragmented(free_blocks=0, defrag="direct", family_share=share)
        assert visit(collapser(replay, registry.build("memory", memory)), 0) == ["SUCCEED"]
        ptes[share] = int(replay.counts.total["ptes_migrated"][0])
    assert ptes == {0.0: 512, 0.5: 512 * 5, 1.0: 512 * 9}


def test_a_block_that_cannot_be_emptied_is_a_stall_for_nothing() -> None:
    result = run(fragmented(free_blocks=0, defrag="direct", unmovable_probability=1.0))
    found = totals(result)
    assert result["outcomes"] == {"ALLOC_HUGE_PAGE_FAIL": 8}
    assert found["cost/compact_stall"] == found["cost/compact_fail"] == found["cost/thp_collapse_alloc_failed"] == 4
    assert 0 < found["cost/pages_migrated"] < 4 * 512


def test_draws_follow_their_laws() -> None:
    memory = fragmented(free_blocks=0, defrag="direct", unmovable_probability=0.3, migrate_pages_per_block=100.0)
    found = totals(run(memory, degree=1, regions=1024, run={"replicates": 1}))
    assert found["cost/compact_fail"] == pytest.approx(0.3 * 1024, abs=5 * (0.3 * 0.7 * 1024) ** 0.5)
    # A failure has moved half of its pages on average; the spread of a uniform share is 100 / 12 ** 0.5.
    expected = 100 * (0.7 + 0.3 / 2) * 1024
    assert found["cost/pages_migrated"] == pytest.approx(expected, abs=5 * 50 * 1024**0.5)


@pytest.mark.parametrize("per_hour", [0, 1, 30, 90])
def test_kcompactd_makes_so_many_blocks_an_hour_and_nobody_stalls(per_hour: int) -> None:
    """The first failure comes with the first tick, in which kcompactd's pace allows less than two blocks."""
    memory = fragmented(
        free_blocks=4, defrag="background", kcompactd_blocks_per_hour=float(per_hour), kcompactd_stock_blocks=1000
    )
    found = totals(run(memory, trigger=HURRIED, regions=200, run={"duration_s": 3600.0}))
    assert found["cost/collapses"] == 4 + per_hour - per_hour // 60
    assert found["cost/direct_compaction_stall_ms"] == found["cost/compact_stall"] == 0
    assert found["cost/compaction_cpu_ms"] == found["cost/compaction_cpu_ms_kcompactd"]
    assert found["cost/pages_migrated"] == 512 * (per_hour - per_hour // 60)


def test_kcompactd_sleeps_until_an_allocation_fails_and_once_its_stock_is_full() -> None:
    replay = plain(n_regions=2)
    memory = registry.build("memory", fragmented(free_blocks=1, defrag="background", kcompactd_stock_blocks=3))
    at_work = collapser(replay, memory)
    allocator = at_work.allocator
    assert allocator is not None
    free = []
    for tick in range(8):
        allocator.tick(tick, 60.0)
        free.append(int(memory.free(allocator.state, allocator.place)[0]))
        if tick == 1:
            assert visit(at_work, 0, 3) == ["SUCCEED", "ALLOC_HUGE_PAGE_FAIL"]
    assert free == [1, 1, 1, 2, 3, 3, 3, 3]


# ---- from outside ----------------------------------------------------------------------------------------------------


def test_what_others_free_does_not_depend_on_the_policy() -> None:
    memory = registry.build("memory", fragmented(free_blocks=1, blocks_freed_per_hour=600.0))
    works = [collapser(plain(n_regions=50), memory, mechanism) for mechanism in ("inplace", "copy", "inplace")]
    supplied: list[list[int]] = [[], [], []]
    for tick in range(100):
        for number, at_work in enumerate(works):
            allocator = at_work.allocator
            assert allocator is not None
            allocator.tick(tick, 60.0)
            if number < 2 and tick % 2 == 0:
                visit(at_work, 3 * (tick // 2))
            free = memory.free(allocator.state, allocator.place)
            supplied[number].append(int((free + at_work.family.gauge["folios"])[0]))
    assert supplied[0] == supplied[1] == supplied[2]
    assert supplied[0][-1] - 1 == pytest.approx(1000, abs=5 * 1000**0.5)


def test_what_others_take_is_gone() -> None:
    found = totals(run(fragmented(free_blocks=2, blocks_taken_per_hour=60_000.0)))
    assert found["cost/collapses"] == 0


def test_events_are_those_of_any_memory() -> None:
    one = point("inplace", 5)
    assert scene_key({**one, "memory": fragmented()}) == scene_key(one)


@pytest.mark.parametrize("trigger", [{"kind": "khugepaged"}, {"kind": "madvise", "at_s": [60.0, 300.0]}])
@pytest.mark.parametrize("defrag", ["direct", "background", "none"])
def test_replicates_are_independent(trigger: dict[str, Any], defrag: str) -> None:
    """Each has its own numbers, whatever stands beside it."""
    memory = fragmented(free_blocks=3, defrag=defrag, unmovable_probability=0.5, blocks_freed_per_hour=60.0)
    changed = {"trigger": trigger, "regions": 12, "worker_life_s": 300.0, "hot_regions": 0.5}
    few, many = (
        run(memory, "copy" if trigger["kind"] == "madvise" else "inplace", run={"replicates": n}, **changed)[
            "replicates"
        ]
        for n in (1, 5)
    )
    assert {name: repr(values[:1]) for name, values in many.items()} == {n: repr(values) for n, values in few.items()}
    assert len(set(many["cost/thp_collapse_alloc_failed"])) > 1


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [(name, value) for name in ("free_blocks", "kcompactd_stock_blocks") for value in (-1, 1.5, True, 1 << 30)]
    + [(f"blocks_{word}_per_hour", value) for word in ("freed", "taken") for value in (-1.0, float("nan"), 1e9)]
    + [("kcompactd_blocks_per_hour", -1.0), ("kcompactd_stock_blocks", 0), ("defrag", "always"), ("defrag", True)]
    + [("migrate_pages_per_block", 513.0), ("migrate_pages_per_block", -1.0)]
    + [(name, value) for name in ("unmovable_probability", "family_share") for value in (-0.1, 1.1, "x")],
)
def test_refuses_by_name(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=re.escape(f"memory.{field}=")):
        registry.build("memory", fragmented(**{field: value}))
