"""`incremental` and `deferred` on N fully mapped sharers: the work of `switch`, cut in slices or put off."""

import math

import pytest

from tests.model.points import point, totals
from thpsweep.model.simulate import simulate

REGIONS = 3
QUIET = {"hot_regions": 0.0, "page_walk_share": 0.0, "regions": REGIONS}
ROOT_ONLY = {"kind": "madvise", "at_s": [60.0], "callers": "root"}
BOTH_COPIES_BYTES = 2 * 2**20


def run(mechanism: str, degree: int, trigger: dict | None = None, **options: object) -> dict[str, float]:
    return totals(simulate(point(mechanism, degree, trigger=trigger, options=options, **QUIET)))


def flushes(degree: int, ptes_per_slice: int) -> int:
    """One flush an mm and slice: N and one more for each slice that ends inside a sharer's 512 ptes."""
    cuts = range(1, math.ceil(512 * degree / ptes_per_slice))
    return degree + sum((cut * ptes_per_slice) % 512 != 0 for cut in cuts)


@pytest.mark.parametrize("degree", [2, 16, 195])
@pytest.mark.parametrize("ptes_per_slice", [1, 100, 512, 1000, 4096, 99_840])
def test_every_slice_size_ends_where_switch_ends(degree: int, ptes_per_slice: int) -> None:
    found = run("incremental", degree, ptes_per_slice=ptes_per_slice, slices_per_s=1e5)
    switch = run("switch", degree)
    assert found["cost/ptes_switched"] == switch["cost/ptes_switched"] == 512 * degree * REGIONS
    assert found["benefit/lru_entries_removed"] == switch["benefit/lru_entries_removed"] == 511 * REGIONS
    assert found["cost/tlb_flushes"] == flushes(degree, ptes_per_slice) * REGIONS
    assert found["cost/extra_byte_seconds"] == 0


def test_slow_slices_keep_both_copies_until_they_are_through() -> None:
    # 16 x 512 ptes a region at 1,024 a slice are 8 slices; at 4 slices a tick of 60 s that is two ticks a region.
    found = run("incremental", 16, ptes_per_slice=1024, slices_per_s=4 / 60)
    assert found["cost/ptes_switched"] == 16 * 512 * REGIONS
    # An old page lives while one of its 16 mappers is left, so all of a region's die with its last sharer. The regions
    # end in the ticks 1, 3 and 5: the gauges at the ends of the ticks before see both copies.
    assert found["cost/extra_byte_seconds"] == pytest.approx((3 + 2 + 2 + 1 + 1) * 60 * BOTH_COPIES_BYTES)
    assert found["benefit/lru_entries_removed"] == 511 * REGIONS


def test_old_pages_are_off_the_lru_from_the_start() -> None:
    found = run("incremental", 16, ptes_per_slice=1, slices_per_s=1e-6)
    assert found["cost/ptes_switched"] == 0
    assert found["benefit/lru_entries_removed"] == 511 * REGIONS


def test_deferred_switches_who_is_visited_and_nobody_else() -> None:
    found = run("deferred", 16, trigger=ROOT_ONLY, redirect=False)
    assert found["cost/ptes_switched"] == 512 * REGIONS
    assert found["cost/tlb_flushes"] == REGIONS
    assert found["benefit/lru_entries_removed"] == -REGIONS, "the old pages are still there, and a folio more"
    assert found["cost/extra_byte_seconds"] == 600 * REGIONS * BOTH_COPIES_BYTES


def test_deferred_ends_as_switch_does_once_everybody_was_visited() -> None:
    found = run("deferred", 16)
    assert found["cost/ptes_switched"] == 16 * 512 * REGIONS
    assert found["cost/tlb_flushes"] == 16 * REGIONS
    assert found["benefit/lru_entries_removed"] == 511 * REGIONS
    assert found["cost/extra_byte_seconds"] == 0


def test_deadline_ends_double_memory() -> None:
    found = run("deferred", 16, trigger=ROOT_ONLY, redirect=False, deadline_s=180.0)
    assert found["cost/extra_byte_seconds"] == 180 * REGIONS * BOTH_COPIES_BYTES
    assert found["benefit/lru_entries_removed"] == 511 * REGIONS


def test_a_child_forked_meanwhile_is_given_the_folio() -> None:
    options = {"redirect": False}
    one = point("deferred", 2, trigger=ROOT_ONLY, options=options, **QUIET, worker_life_s=90.0)
    found = totals(simulate({**one, "run": {**one["run"], "duration_s": 6000.0}}))
    # The only worker ends sooner or later, the last to map the old pages; its successor never sees them.
    assert found["cost/ptes_switched"] == 512 * REGIONS
    assert found["benefit/lru_entries_removed"] == 511 * REGIONS
