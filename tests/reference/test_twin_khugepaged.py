"""The slow twin's khugepaged: passes, cursor and pace."""

import pytest

from tests.reference.shapes import (
    FULL,
    fixed_inputs,
    shared_by,
    write_slots,
)
from tests.reference.twin import Twin
from tests.reference.twin_khugepaged import Khugepaged, madvise, passes_in_tick
from tests.reference.twin_mechanisms import NOBODY

# ---- khugepaged ------------------------------------------------------------------------------------------------------


def test_a_pass_at_default_pace_scans_eight_full_regions():
    twin = shared_by(1, n_regions=20)
    Khugepaged().pass_(twin, "copy", {}, lambda region, sharer: (False, False, NOBODY))
    assert twin.outcomes == {"LACK_REFERENCED_PAGE": 8}


def test_a_pass_at_default_pace_refuses_sixteen_fully_shared_regions():
    twin = shared_by(2, n_regions=20)
    daemon = Khugepaged()
    assert daemon.pass_(twin, "copy", {}, fixed_inputs) == 1 + 16 * 257
    assert twin.outcomes == {"EXCEED_SHARED_PTE": 16}
    assert (daemon.sharer, daemon.region, daemon.full_scans) == (0, 16, 0)


def test_a_pass_from_the_head_visits_every_region_of_every_mm_once():
    twin = shared_by(4, n_regions=3)
    daemon = Khugepaged(pages_to_scan=1 << 20)
    assert daemon.pass_(twin, "copy", {}, fixed_inputs) == 4 * (1 + 3 * 257)
    assert twin.outcomes == {"EXCEED_SHARED_PTE": 12}
    assert (daemon.full_scans, daemon.sharer) == (1, None)


@pytest.mark.parametrize(("limit", "private", "expected"), [
    (256, 0, {"EXCEED_SHARED_PTE": 4}),
    (511, 0, {"EXCEED_SHARED_PTE": 4}),
    (511, 1, {"SUCCEED": 4}),
])  # fmt: skip
def test_a_family_of_four_on_a_live_kernel(limit, private, expected):
    twin = shared_by(4)
    for sharer in range(4):
        write_slots(twin, sharer, range(private))
    Khugepaged(pages_to_scan=1 << 20, max_ptes_shared=limit).pass_(twin, "copy", {}, fixed_inputs)
    assert twin.outcomes == expected


def test_an_attempt_ends_the_visit_but_not_the_mm():
    twin = Twin(2, 1, [(region, (0,), FULL, 0) for region in range(2)])
    daemon = Khugepaged(pages_to_scan=513)
    assert daemon.pass_(twin, "copy", {}, fixed_inputs) == 513
    assert (daemon.sharer, daemon.region) == (0, 1)
    assert daemon.pass_(twin, "copy", {}, fixed_inputs) == 513
    assert (daemon.sharer, daemon.region, daemon.full_scans) == (0, 2, 0)
    # The mm is left only now (+1 each way), and the pass goes round once more: two huge rows, one progress each.
    assert daemon.pass_(twin, "copy", {}, fixed_inputs) == 1 + 1 + 2
    assert daemon.full_scans == 2


def test_the_cursor_passes_over_an_mm_that_has_exited():
    twin = shared_by(3, n_regions=2)
    daemon = Khugepaged(pages_to_scan=1)
    daemon.pass_(twin, "copy", {}, fixed_inputs)
    assert (daemon.sharer, daemon.region) == (0, 1)
    twin.exit(0)
    assert daemon.pass_(twin, "copy", {}, fixed_inputs) == 1 + 257
    assert (daemon.sharer, daemon.region) == (1, 1)


def test_passes_follow_the_sleep_without_drift():
    assert sum(passes_in_tick(t, 100, 10_000) for t in range(1_000)) == 10
    assert [passes_in_tick(t, 1_000, 300) for t in range(4)] == [3, 3, 4, 3]
    assert passes_in_tick(99, 100, 10_000) == 1 and passes_in_tick(98, 100, 10_000) == 0


def test_madvise_by_the_root_asks_for_its_own_rows_only():
    twin = shared_by(3, n_regions=2)
    madvise(twin, "copy", {}, fixed_inputs, callers="root")
    assert twin.pmd_rows() == {(0, 0), (1, 0)}
