"""Do the accounts add up: CPU time by payer, gains and costs, and when the one makes up for the other?"""

import math
from typing import Any

import pytest

from tests.model.families import QUIET
from tests.model.points import option, point, totals
from thpsweep.model import registry
from thpsweep.model.accounting.prices import PAYERS
from thpsweep.model.simulate import simulate

ACTIVE = [name for name, cls in registry.options("mechanism").items() if cls.active]
DAEMON = {"kind": "khugepaged", "pages_to_scan": 1 << 20, "max_ptes_shared": 511}
BUSY = {"worker_life_s": 120.0, "reads_per_page_hour": 1e4, "late_references_per_page": 1e-4}
PRICE = option("machine", "milan_vm")


@pytest.mark.parametrize("trigger", [None, DAEMON], ids=["madvise", "khugepaged"])
@pytest.mark.parametrize("memory", ["plentiful", "fragmented"])
@pytest.mark.parametrize("mechanism", ACTIVE)
def test_payers_add_up(mechanism: str, memory: str, trigger: dict[str, Any] | None) -> None:
    one = point(mechanism, 9, trigger=trigger, **BUSY)
    one["memory"] = {**option("memory", memory)}
    found = totals(simulate(one))
    by_payer = {payer: found[f"cost/cpu_ms_{payer}"] for payer in PAYERS}
    assert sum(by_payer.values()) == pytest.approx(found["cost/cpu_ms"])
    assert by_payer["khugepaged" if trigger else "caller"] > 0 == by_payer["caller" if trigger else "khugepaged"]
    assert (by_payer["touching"] > 0) == (mechanism == "retract")


def test_kcompactd_pays_for_what_it_moves() -> None:
    one = point("inplace", 9, trigger=DAEMON, regions=8, run={"duration_s": 3600.0}, **BUSY)
    one["memory"] = {**option("memory", "fragmented"), "defrag": "background", "free_blocks": 1}
    found = totals(simulate(one))
    assert found["cost/cpu_ms_kcompactd"] == found["cost/compaction_cpu_ms_kcompactd"] > 0


@pytest.mark.parametrize("mechanism", ACTIVE)
@pytest.mark.parametrize("aging", [0.0, 1.0, 60.0])
def test_payback_lies_within_the_run_just_where_the_net_gain_is_positive(mechanism: str, aging: float) -> None:
    result = simulate(point(mechanism, 5, reclaim="classic", aging_passes_per_hour=aging, run={"replicates": 3}))
    of = {name: result["replicates"][f"tradeoff/{name}"] for name in ("net_cpu_ms", "payback_s")}
    for net_ms, payback_s in zip(of["net_cpu_ms"], of["payback_s"], strict=True):
        assert (payback_s <= 600.0) == (net_ms > 0)
        assert math.isinf(payback_s) == (net_ms <= 0)
    assert ("note_payback" in result["facts"]) == (0 < sum(map(math.isinf, of["payback_s"])) < 3)


@pytest.mark.parametrize("mechanism", ["copy", "inplace_pmd", "retract"])
def test_what_translation_can_save_is_what_the_cpus_spend_on_it(mechanism: str) -> None:
    duration_s = 600.0
    most_ms = PRICE["cpus"] * duration_s * 1e3 * 0.02
    for degree in (1, 10, 100, 400):
        found = totals(simulate(point(mechanism, degree, page_walk_share=0.02, run={"replicates": 1})))
        assert abs(found["benefit/tlb_ms_saved"]) <= most_ms


@pytest.mark.parametrize("degree", [2, 20, 200])
def test_lru_entries_do_not_grow_with_the_degree_where_sharing_stays(degree: int) -> None:
    quiet = {"worker_hot_writes_per_page_hour": 0.0, "hot_regions": 0.0}
    found = totals(simulate(point("inplace", degree, regions=3, run={"replicates": 1}, **quiet)))
    assert found["benefit/lru_entries_removed"] == 3 * 511


def test_unshare_holds_its_copies_and_the_folio_at_once() -> None:
    """Of one region with 512 shared pages: 512 copies and 512 pages of the folio, on top of what there was."""
    found = {name: totals(simulate(point(name, 4, regions=1, **QUIET))) for name in ("unshare", "copy")}
    page = 4096
    assert found["unshare"]["cost/extra_bytes_peak"] - found["copy"]["cost/extra_bytes_peak"] == 512 * page
