"""Long references that processes ask for: at the rates of the workload, and what they keep from collapsing."""

import numpy as np
import pytest

from tests.model.families import QUIET
from tests.model.points import point
from thpsweep.model.events.draw import ticks
from thpsweep.model.events.scene import Scene
from thpsweep.model.setting import setting
from thpsweep.model.simulate import simulate


def test_vmsplice_keeps_regions_from_collapsing_for_everybody() -> None:
    held = {**QUIET, "vmsplices_per_process_hour": 600.0, "request_life_s": 1e6}
    result = simulate(point("switch", 4, regions=2, **held))
    assert set(result["outcomes"]) == {"PAGE_COUNT"}


def test_pins_cost_sharing_in_the_baseline_too() -> None:
    pinned = {**QUIET, "pins_per_process_hour": 60.0, "request_life_s": 1e6}
    found = simulate(point("switch", 4, regions=2, **pinned))
    alone = simulate(point("none", 4, regions=2, **pinned))
    memory = found["series"]["series/memory_bytes"]["baseline"]
    assert memory[-1] > memory[0] and alone["series"]["series/memory_bytes"]["mean"] == memory


def test_requests_have_the_rates_that_the_workload_says() -> None:
    asked = {**QUIET, "pins_per_process_hour": 30.0, "vmsplices_per_process_hour": 10.0, "pages_per_request": 8}
    built = setting(point("none", 50, regions=64, **asked, swap_outs_per_page_hour=0.2, hot_regions=0.25))
    scene = Scene(built.workload, 64, 50, 600, 60.0)
    drawn = [tick.requests for tick in ticks(scene, 3, "ab" * 32, 0)]
    hours, cold = 10.0, 48 * 512
    for keys, mean in (
        (np.concatenate([one.pins for one in drawn]), 30 * 50 * hours * 8),
        (np.concatenate([one.vmsplices for one in drawn]), 10 * 50 * hours * 8),
        (np.concatenate([one.reclaims for one in drawn]), 0.2 * cold * hours),
    ):
        assert keys.size == pytest.approx(mean, rel=6 / np.sqrt(mean / 8)), "six standard deviations of 8-page requests"
    reclaims = np.concatenate([one.reclaims for one in drawn])
    assert (reclaims // 512 // 50).min() >= 16, "hot ranges are spared"
    lives = np.concatenate([one.pins_until - number for number, one in enumerate(drawn[:300])])
    assert lives.mean() == pytest.approx(10.5, rel=0.1), "600 s in ticks of 60 s, rounded up"
