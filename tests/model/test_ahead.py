"""Scanning rows of several mms together changes nothing: the same runs with one mm at a time give the same numbers."""

import json
from typing import Any

import numpy as np
import pytest

from tests.model.points import option, point
from thpsweep.model.collapse import lookahead
from thpsweep.model.simulate import simulate
from thpsweep.model.state.family import Family
from thpsweep.model.triggers import madvise

KHUGEPAGED = {"kind": "khugepaged"}
RUN = {"replicates": 2, "duration_s": 200.0, "tick_s": 10.0}

SCENES: list[dict[str, Any]] = [
    {},
    {"mmap_write_locked_share": 0.3},
    {"pins_per_process_hour": 60.0, "vmsplices_per_process_hour": 60.0, "extra_references_per_page": 1e-3},
    {"swap_outs_per_page_hour": 2.0, "worker_life_s": 60.0, "worker_gap_s": 20.0},
]


def results(mechanism: str, trigger: dict[str, Any], changed: dict[str, Any], gate: dict[str, Any] | None) -> str:
    """Run a point; as text, in which what is not a number equals itself."""
    one = point(
        mechanism, 9, trigger=trigger, run=RUN, regions=3, **{"worker_cold_writes_per_page_hour": 0.3, **changed}
    )
    if gate:
        one["policy"]["gate"] = gate
    if mechanism in ("copy", "inplace_pmd"):
        one["memory"] = {**option("memory", "fragmented"), "free_blocks": 5}
    return json.dumps(simulate(one), sort_keys=True)


@pytest.mark.parametrize("changed", SCENES, ids=lambda changed: "-".join(changed) or "plain")
@pytest.mark.parametrize("mechanism", ["copy", "inplace", "inplace_pmd", "deferred"])
def test_khugepaged_does_the_same_mm_by_mm(
    monkeypatch: pytest.MonkeyPatch, mechanism: str, changed: dict[str, Any]
) -> None:
    budget = {"kind": "budget", "pte_updates_per_s": 400.0}
    for trigger, gate in (
        (KHUGEPAGED, None),
        ({**KHUGEPAGED, "max_ptes_shared": 511, "scan_sleep_millisecs": 3000}, budget),
        ({**KHUGEPAGED, "pages_to_scan": 700}, None),
    ):
        together = results(mechanism, trigger, changed, gate)
        with monkeypatch.context() as patched:
            patched.setattr(lookahead, "AT_ONCE", 0)
            assert results(mechanism, trigger, changed, gate) == together


@pytest.mark.parametrize("mechanism", ["copy", "inplace", "deferred"])
def test_callers_of_madvise_do_the_same_one_by_one(monkeypatch: pytest.MonkeyPatch, mechanism: str) -> None:
    trigger = {"kind": "madvise", "at_s": [30.0, 150.0], "callers": "all"}
    together = results(mechanism, trigger, SCENES[2], None)
    monkeypatch.setattr(madvise, "AT_ONCE", 0)
    monkeypatch.setattr(madvise, "FEW", 0)
    assert results(mechanism, trigger, SCENES[2], None) == together


def test_rows_behind_an_mm_that_takes_longer_than_was_guessed_are_dropped() -> None:
    family = Family(1, n_regions=2, n_sharers=3)
    family.alive[:], family.record_of[:] = True, 1
    laid_out = lookahead.look_ahead(family, *np.zeros((3, 1), np.int64), left=np.array([100]), dearest_row=10)
    assert laid_out.chosen.all() and laid_out.rows.tolist() == [[0, 3, 1, 4, 2, 5]]
    nothing = np.zeros((1, 6), bool)
    progress = np.array([[10, 90, 10, 10, 10, 10]])
    assert laid_out.usable(progress, nothing, nothing, np.array([100])).tolist() == [
        [True, True, True, False, False, False]
    ]
    progress[:] = 10
    assert laid_out.usable(progress, nothing, nothing, np.array([100])).all()
