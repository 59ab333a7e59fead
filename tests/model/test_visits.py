"""What a visit of khugepaged meets: locked mms, young ptes, and mms in the order in which it was told of them."""

import numpy as np
import pytest

from tests.model.families import QUIET, family_of
from tests.model.points import point, totals
from tests.model.replay import Replay
from tests.reference.families import NOTHING
from tests.reference.families import Family as Drawn
from thpsweep.model import draws
from thpsweep.model.collapse.conditions import DrawnConditions, born_at_start
from thpsweep.model.setting import setting
from thpsweep.model.simulate import simulate


def test_khugepaged_passes_over_an_mm_whose_lock_is_held() -> None:
    found = {}
    for share in (0.0, 0.5, 1.0):
        calm = {**QUIET, "mmap_write_locked_share": share}
        run = {"duration_s": 3600.0, "tick_s": 10.0, "replicates": 8}
        made = point("inplace", 20, regions=4, trigger={"kind": "khugepaged"}, run=run, **calm)
        found[share] = totals(simulate(made))
    assert found[1.0]["cost/ptes_scanned"] == found[1.0]["cost/collapses"] == 0
    assert found[0.5]["cost/collapses"] == found[0.0]["cost/collapses"] == 4, "it comes round again"


@pytest.mark.parametrize(("all_sharers", "n_mms"), [(False, 1), (True, 32)])
def test_a_page_is_young_for_all_sharers_where_any_of_them_read_it(all_sharers: bool, n_mms: int) -> None:
    degree, regions, reads = 32, 4000, 0.1 / 512
    load = setting(point("inplace", degree, regions=regions, reads_per_page_hour=reads)).workload
    family, rows = family_of(degree, regions), np.arange(regions) * degree
    drawn = DrawnConditions(family, load, np.array([99], np.uint64), 3600.0, born_at_start(family), all_sharers)
    young = drawn.of_visit(rows, 0, khugepaged=True).young > 0
    expected = 1 - np.exp(-0.1 * n_mms)
    assert young.mean() == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / regions))


def test_a_fork_leaves_the_childs_ptes_old() -> None:
    built = setting(point("copy", 3, **QUIET, reads_per_page_hour=1e-3, aging_passes_per_hour=0.0))
    family = family_of(3)
    drawn = DrawnConditions(family, built.workload, draws.keys([(7, 0)], "scene"), 60.0, born_at_start(family))
    young = [drawn.of_visit(np.array([0, 1]), tick, khugepaged=True).young for tick in range(0, 6000, 10)]
    assert np.mean([one[0] for one in young]) > 0, "some are young by now"
    for tick in range(0, 6000, 10):  # forked in each of these ticks, just before khugepaged comes
        drawn.born[0, 1] = tick
        young.append(drawn.of_visit(np.array([0, 1]), tick, khugepaged=True).young)
    lately = np.array(young[600:])
    assert lately[:, 1].mean() < 0.05 < lately[:, 0].mean(), "512 pages read in a minute at that rate: 0.9 %"


def test_aging_makes_all_ptes_old() -> None:
    built = setting(point("copy", 3, **QUIET, reads_per_page_hour=1.0, aging_passes_per_hour=2.0))
    drawn = DrawnConditions(
        family_of(3), built.workload, draws.keys([(7, 0)], "scene"), 60.0, born_at_start(family_of(3))
    )
    reads = [drawn.reads_since_old(tick)[0, 0] * 60 for tick in range(90)]  # in minutes: one read an hour and page
    assert reads == pytest.approx([1 + tick % 30 for tick in range(90)])


def test_khugepaged_comes_to_a_recycled_worker_last() -> None:
    """A new mm is put at the end of the list (__khugepaged_enter()), whatever number the model gives it."""
    drawn = Drawn(1, 4, [(0, (0, 1, 2, 3), list(range(512)), 0)], {}, set(), {0, 1, 2, 3})
    replay = Replay(drawn, {"pages_to_scan": 1, "max_ptes_shared": 511})
    replay.tick({**NOTHING, "exits": [1], "forks": [(0, 1)], "writes": [(0, sharer, sharer) for sharer in range(4)]})
    inputs = {(0, sharer): (512, False, 512) for sharer in range(4)}
    order = []
    for _ in range(12):
        huge = replay.family.pmd.copy()
        trigger = {"do": "khugepaged", "mechanism": "copy", "options": {}, "inputs": inputs, "locked": set()}
        replay.tick({**NOTHING, "triggers": [trigger]})
        order += np.flatnonzero(replay.family.pmd & ~huge).tolist()
    assert order == [0, 2, 3, 1]
