"""An allocation that fails puts khugepaged to sleep, a second one ends its pass."""

from typing import Any

import pytest

from tests.contracts.gated import plain
from tests.contracts.test_memories import collapser
from tests.model.points import totals
from tests.model.scarce import fragmented, run
from thpsweep.model import registry
from thpsweep.model.mm.fork import exit
from thpsweep.outcomes import ScanResult


def failures(until_s: float, **settings: Any) -> int:
    """Count failed allocations of a daemon that never gets a block, on memory that it does not get through."""
    trigger = {"kind": "khugepaged", **settings}
    run_options = {"duration_s": until_s, "tick_s": 10.0, "replicates": 1}
    found = totals(run(fragmented(free_blocks=0), degree=1, regions=400, trigger=trigger, run=run_options))
    return int(found["cost/thp_collapse_alloc_failed"])


@pytest.mark.parametrize(
    ("until_s", "expected"), [(10, 1), (60, 1), (70, 2), (80, 3), (130, 3), (140, 4), (150, 5), (570, 17), (600, 17)]
)
def test_first_failure_sleeps_alloc_sleep_second_ends_the_pass(until_s: float, expected: int) -> None:
    """Wakes at 10 s, sleeps to 70 s, ends its pass; scan_sleep later, at 80 s, the next: two failures in 70 s."""
    assert failures(until_s) == expected


@pytest.mark.parametrize(("alloc_ms", "expected"), [(0, 2 * 60), (5_000, 80), (10_000, 60), (25_000, 34), (10**9, 1)])
def test_alloc_sleep_is_an_option(alloc_ms: int, expected: int) -> None:
    """Passes take alloc_sleep + scan_sleep, and fail at both ends of alloc_sleep."""
    at_ms = [10_000 + k * (10_000 + alloc_ms) + part for k in range(60) for part in (0, alloc_ms)]
    assert sum(moment <= 600_000 for moment in at_ms) == expected
    assert failures(600.0, alloc_sleep_millisecs=alloc_ms) == expected


def test_a_failure_that_uses_up_the_pass_makes_nobody_sleep() -> None:
    assert failures(600.0, pages_to_scan=513) == 60


def test_pass_goes_on_behind_the_region_that_failed() -> None:
    """Three collapse, the fourth fails; after the sleep there are blocks, and the fifth is the next."""
    replay = plain(n_regions=6, n_sharers=1)
    at_work = collapser(replay, registry.build("memory", fragmented(free_blocks=3)))
    daemon = registry.build("trigger", {"kind": "khugepaged", "scan_sleep_millisecs": 1000})
    state = daemon.begin(1)
    daemon.act(state, at_work, 0, 1.0)
    assert replay.counts.total["ptes_scanned"][0] == 4 * 512
    assert at_work.allocator is not None
    at_work.allocator.state.free += 5
    for tick in range(1, 60):
        daemon.act(state, at_work, tick, 1.0)
    assert replay.counts.total["ptes_scanned"][0] == 4 * 512
    daemon.act(state, at_work, 60, 1.0)
    folios = at_work.family.folios.region[at_work.family.folios.live()]
    assert sorted(folios.tolist()) == [0, 1, 2, 4, 5]
    assert replay.counts.total["full_scans"] == 1


def test_an_mm_that_exits_while_the_daemon_sleeps_is_passed_over() -> None:
    replay = plain(n_regions=3, n_sharers=3)
    at_work = collapser(replay, registry.build("memory", fragmented(free_blocks=0)))
    daemon = registry.build("trigger", {"kind": "khugepaged", "scan_sleep_millisecs": 1000})
    state = daemon.begin(1)
    daemon.act(state, at_work, 0, 1.0)
    exit(replay.family, replay.counts, 0, 0)
    at_work.allocator.state.free += 9  # type: ignore[union-attr]
    for tick in range(1, 61):
        daemon.act(state, at_work, tick, 1.0)
    folios = at_work.family.folios.region[at_work.family.folios.live()]
    assert at_work.outcomes[0, ScanResult.ALLOC_HUGE_PAGE_FAIL] == 1 and sorted(folios.tolist()) == [0, 1, 2]


@pytest.mark.parametrize("value", [-1, 1.5, 1 << 40])
def test_alloc_sleep_out_of_range_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"policy\.trigger\.alloc_sleep_millisecs="):
        registry.build("trigger", {"kind": "khugepaged", "alloc_sleep_millisecs": value})
