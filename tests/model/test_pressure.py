"""Pins, reclaim and recycling in whole runs, against closed forms and against what the kernel's rules demand."""

import math
from typing import Any

import numpy as np
import pytest

from tests.model.points import option, point, totals
from tests.model.replay import Replay
from tests.reference.families import NOTHING
from tests.reference.families import Family as Drawn
from thpsweep.errors import ThpsweepError
from thpsweep.model import bits, draws, registry
from thpsweep.model.counts import Counts
from thpsweep.model.events import Scene, ticks
from thpsweep.model.family import Family
from thpsweep.model.luck import Luck
from thpsweep.model.machines.profile import Profile
from thpsweep.model.mechanisms.base import Limits
from thpsweep.model.prices import tlb_ns_per_s
from thpsweep.model.reclaim import reclaim
from thpsweep.model.setting import check, setting
from thpsweep.model.simulate import simulate
from thpsweep.model.start import populate
from thpsweep.model.swapping import read_back
from thpsweep.model.writes import write
from thpsweep.model.zeroed import wrote

QUIET = {
    name: 0.0
    for name in (
        "root_hot_writes_per_page_hour",
        "root_cold_writes_per_page_hour",
        "worker_hot_writes_per_page_hour",
        "worker_cold_writes_per_page_hour",
        "burst_pages_share",
        "extra_references_per_page",
        "late_references_per_page",
        "worker_life_s",
    )
}
NEVER_YOUNG = lambda rows, *_: np.zeros(rows.size, bool)  # noqa: E731


def family_of(degree: int, regions: int = 2) -> Family:
    """Give a family that shares all of its memory."""
    built = setting(point("inplace", degree, regions=regions))
    family = Family(1, regions, degree)
    populate(family, built.workload.start(degree))
    return family


def collapsed(mechanism: str, degree: int) -> tuple[Family, Counts]:
    """Give a family of which region 0 has been collapsed."""
    family, counts = family_of(degree), Counts(1)
    built = registry.build("mechanism", {"kind": mechanism})
    built.attempt(family, counts, np.array([0]), np.array([512]), Limits())
    return family, counts


# ---- reclaim ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("degree", [1, 7, 195])
def test_a_split_sets_and_restores_every_pte_of_every_sharer(degree: int) -> None:
    family, counts = collapsed("inplace", degree)
    reclaim(family, counts, np.array([5]), NEVER_YOUNG)
    assert counts.total["folio_splits"][0] == 1
    assert counts.total["split_ptes"][0] == counts.largest["split_ptes_worst_region"][0] == 512 * degree
    assert counts.total["swap_outs"][0] == 1 and counts.total["swap_out_ptes"][0] == degree
    assert family.lru_entries[0] == 2 * 512 - 1, "all that the collapse had gained is gone"


def test_a_split_of_a_pmd_mapped_folio_splits_every_pmd_first() -> None:
    family, counts = collapsed("inplace_pmd", 7)
    assert family.pmd.sum() == 7
    reclaim(family, counts, np.array([5]), NEVER_YOUNG)
    assert counts.total["pmd_splits"][0] == 7 and not family.pmd.any()


def test_one_young_pte_keeps_all_of_a_folio() -> None:
    family, counts = collapsed("inplace", 7)
    reclaim(family, counts, np.arange(512), lambda rows, *_: np.ones(rows.size, bool))
    assert counts.total["folio_splits"][0] == 0 and family.gauge["folios"][0] == 1


def test_a_small_shared_page_goes_from_all_its_mappers_at_once() -> None:
    family, counts = family_of(7), Counts(1)
    reclaim(family, counts, np.array([5, 512 + 5]), NEVER_YOUNG)  # one page, through two of its mappers
    assert counts.total["swap_outs"][0] == 1 and counts.total["swap_out_ptes"][0] == 7
    assert family.pages_in_use[0] == 2 * 512 - 1


def holed(mechanism: str, degree: int, pages: int) -> tuple[Family, Counts]:
    """Give a family that shares so many pages of one region, collapsed: what it had no page for is full of zeroes."""
    built = setting(point("inplace", degree, regions=1, present_ptes=pages))
    family, counts = Family(1, 1, degree), Counts(1)
    populate(family, built.workload.start(degree))
    made = registry.build("mechanism", {"kind": mechanism})
    assert made.attempt(family, counts, np.array([0]), np.array([512]), Limits()).all()
    return family, counts


@pytest.mark.parametrize("degree", [1, 7])
def test_a_split_gives_back_what_was_never_written(degree: int) -> None:
    family, counts = holed("inplace_pmd", degree, 400)
    assert family.pages_in_use[0] == 512 and family.pmd.sum() == degree
    written = np.array([405, 411])  # of the first sharer: where others map the folio these are copies
    write(family, counts, written)
    wrote(family, written)
    reclaim(family, counts, np.array([5]), NEVER_YOUNG)
    kept = 2 if degree == 1 else 0
    assert counts.total["zeroes_freed"][0] == 112 - kept
    assert counts.total["split_ptes"][0] == 512 * degree - (0 if degree == 1 else 2), "restored as the zero page's, too"
    assert family.pages_in_use[0] == 399 + 2
    zero = bits.count(family.records.zero[family.record_of])
    assert sorted(zero) == [110] + [112] * (degree - 1)
    assert family.gauge["small_ptes"][0] == 399 * degree + 2


@pytest.mark.parametrize(
    ("max_ptes_none", "splits"), [(0, 1), (111, 1), (112, 0), (510, 0), (511, 0)], ids=lambda value: str(value)
)
def test_pressure_splits_an_underused_folio_beyond_max_ptes_none(max_ptes_none: int, splits: int) -> None:
    family, counts = holed("copy", 1, 400)
    reclaim(family, counts, np.array([5]), lambda rows, *_: np.ones(rows.size, bool), max_ptes_none)
    assert counts.total["folio_splits"][0] == splits and counts.total["swap_outs"][0] == 0
    assert family.pages_in_use[0] == (400 if splits else 512)


def test_reclaim_of_one_replicate_leaves_the_deferred_lists_of_the_others_alone() -> None:
    built = setting(point("inplace", 2, regions=1, run={"replicates": 2}))
    family, counts = Family(2, 1, 2), Counts(2)
    populate(family, built.workload.start(2))
    made = registry.build("mechanism", {"kind": "inplace"})
    made.attempt(family, counts, np.array([0, 2]), np.array([512, 512]), Limits())
    for row in (0, 1, 2, 3):  # both sharers leave page 7 of their replicate's folio
        write(family, counts, np.array([row * 512 + 7]))
    assert family.gauge["stuck_pages"].tolist() == [1, 1]
    reclaim(family, counts, np.array([5]), lambda rows, *_: np.ones(rows.size, bool))
    assert counts.total["folio_splits"].tolist() == [1, 0]


def test_reads_bring_pages_back_from_swap_at_their_rate() -> None:
    degree, per_hour, tick_s = 8, 6.0, 60.0
    built = setting(point("none", degree, regions=16, **QUIET, reads_per_page_hour=per_hour))
    family, counts = family_of(degree, regions=16), Counts(1)
    pages = 16 * 512
    every = (np.arange(16)[:, None] * degree * 512 + np.arange(512)).reshape(-1)
    reclaim(family, counts, every, NEVER_YOUNG)
    assert family.pages_in_use[0] == 0 and counts.total["swap_out_ptes"][0] == pages * degree
    luck = Luck(family, built.workload, draws.keys([(1, 0)], "scene"), tick_s)
    read_back(family, counts, *luck.read_back(0))
    chance = 1 - math.exp(-per_hour * tick_s / 3600)
    read = counts.total["swap_ins"][0] + counts.total["swap_cache_faults"][0]
    assert read == pytest.approx(pages * degree * chance, rel=0.03)
    assert counts.total["swap_ins"][0] == pytest.approx(pages * (1 - (1 - chance) ** degree), rel=0.03)
    assert family.gauge["small_ptes"][0] == read and family.pages_in_use[0] == counts.total["swap_ins"][0]
    for tick in range(1, 200):
        read_back(family, counts, *luck.read_back(tick))
    assert counts.total["swap_ins"][0] == family.pages_in_use[0] == pages, (
        "each page was read once, and is shared again"
    )
    assert (family.mapcounts(*layers_of(family)) == degree).all()


def layers_of(family: Family) -> tuple[np.ndarray, np.ndarray]:
    """Name every frame by its layer and slot."""
    layers = family.layers.live()
    index, slot = bits.pairs(family.layers.slots[layers])
    return layers[index], slot


def pressed(mechanism: str) -> dict[str, Any]:
    busy = {
        "hot_regions": 0.0,
        "swap_outs_per_page_hour": 0.05,
        "reads_per_page_hour": 0.0,
        "aging_passes_per_hour": 4.0,
    }
    return totals(simulate(point(mechanism, 16, regions=4, **(QUIET | busy), run={"duration_s": 3600.0})))


def test_pressure_takes_back_what_a_collapse_gained_and_charges_for_it() -> None:
    found = pressed("inplace")
    assert found["cost/folio_splits"] == pytest.approx(found["cost/collapses"]), "every folio is met sooner or later"
    assert found["cost/split_ptes"] > 0.5 * found["cost/migration_entries_set"]
    assert found["benefit/reclaim_ms_saved"] < 0
    assert found["cost/split_cpu_ms"] > 0


# ---- long references in runs -------------------------------------------------------------------------------------------


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


# ---- recycling heals -------------------------------------------------------------------------------------------------


def zygote(life_s: float) -> dict[str, Any]:
    calm = {**QUIET, "worker_life_s": life_s, "worker_life_law": "fixed", "worker_gap_s": 0.0}
    root_only = {"kind": "madvise", "at_s": [0.0], "callers": "root"}
    run = {"duration_s": 3600.0, "tick_s": 60.0, "replicates": 2}
    return simulate(point("copy", 20, regions=4, trigger=root_only, run=run, **calm))


def test_recycled_workers_heal_what_copy_in_the_parent_lost() -> None:
    result = zygote(600.0)
    found = totals(result)
    assert found["cost/sharing_lost_bytes"] == 4 * 2**21, "the root's copy of each region"
    assert found["cost/sharing_healed_bytes"] == found["cost/sharing_lost_bytes"]
    assert "100% of it had healed" in result["facts"]["note_sharing"]
    assert found["benefit/pmd_mapped_fraction"] == 1, "every worker was forked from the huge pages"


def test_without_recycling_nothing_heals() -> None:
    result = zygote(0.0)
    assert totals(result)["cost/sharing_healed_bytes"] == 0
    assert "all of it was still double" in result["facts"]["note_sharing"]


# ---- address translation ---------------------------------------------------------------------------------------------


def machine(**changed: float) -> Profile:
    built: Profile = registry.build("machine", {**option("machine", "milan_vm"), "tlb_l1_entries": 0, **changed})
    return built


@pytest.mark.parametrize("coalesce", [1, 4, 16])
def test_coalesced_ptes_need_fewer_entries(coalesce: int) -> None:
    """8,192 ptes of folios, 2,048 entries: 2,048 / c of them miss nothing more."""
    gauge = {"pmds": np.array([0]), "compound_ptes": np.array([8192]), "small_ptes": np.array([0])}
    profile = machine(tlb_coalesce=coalesce, tlb_l2_hit_ns=0)
    missing = max(0, 8192 - 2048 * coalesce) / 8192
    found = tlb_ns_per_s(gauge, profile, 1e6, np.array([1]))
    assert found[0] == pytest.approx(1e6 * missing * profile.page_walk_saved_ns)


def test_what_covers_most_keeps_its_entries() -> None:
    """2,000 PMDs leave 48 entries to 4,096 small pages, evenly accessed by bytes."""
    gauge = {"pmds": np.array([2000]), "compound_ptes": np.array([0]), "small_ptes": np.array([4096])}
    profile = machine(tlb_l2_hit_ns=0)
    share = (4096 - 48) * 4096 / (2000 * 2**21 + 4096 * 4096)
    assert tlb_ns_per_s(gauge, profile, 1e6, np.array([1]))[0] == pytest.approx(
        1e6 * share * profile.page_walk_saved_ns
    )


def test_the_first_level_costs_its_misses_too() -> None:
    gauge = {"pmds": np.array([0]), "compound_ptes": np.array([0]), "small_ptes": np.array([128])}
    profile = machine(tlb_l1_entries=64, tlb_l2_hit_ns=2)
    assert tlb_ns_per_s(gauge, profile, 1e6, np.array([1]))[0] == pytest.approx(1e6 * 0.5 * 2)


# ---- refusals --------------------------------------------------------------------------------------------------------


def test_more_sharers_than_the_machine_has_memory_for_are_refused() -> None:
    made = point("inplace", 919, regions=4096)
    with pytest.raises(ThpsweepError, match=r"sharing\.degree=919: allowed is 1\.\.918 for 4096 regions"):
        check(made)
    check(point("inplace", 918, regions=4096))
    check({**made, "machine": {**made["machine"], "memory_bytes": 1e12}})


def test_memory_that_cannot_hold_the_regions_of_one_sharer_is_refused() -> None:
    made = point("inplace", 1, regions=4)
    need = 4 * (2 * 2**20 + 4096)
    check({**made, "machine": {**made["machine"], "memory_bytes": float(need)}})
    made["machine"]["memory_bytes"] = need - 1.0
    with pytest.raises(ThpsweepError, match=r"machine\.memory_bytes=.* at least 8\.40499e\+06: 4 regions"):
        check(made)


def test_a_tree_that_is_too_large_is_refused_before_it_is_laid_out() -> None:
    made = point("inplace", 2000, regions=200_000)
    made["sharing"] = {"kind": "tree", "degree": 2000, "fanout": 2, "written_share": 0.1}
    made["machine"]["memory_bytes"] = 1e15
    with pytest.raises(ThpsweepError, match=r"lower sharing\.degree or the regions"):
        check(made)


# ---- khugepaged and held locks -----------------------------------------------------------------------------------------


def test_khugepaged_passes_over_an_mm_whose_lock_is_held() -> None:
    found = {}
    for share in (0.0, 0.5, 1.0):
        calm = {**QUIET, "mmap_write_locked_share": share}
        run = {"duration_s": 3600.0, "tick_s": 10.0, "replicates": 8}
        made = point("inplace", 20, regions=4, trigger={"kind": "khugepaged"}, run=run, **calm)
        found[share] = totals(simulate(made))
    assert found[1.0]["cost/ptes_scanned"] == found[1.0]["cost/collapses"] == 0
    assert found[0.5]["cost/collapses"] == found[0.0]["cost/collapses"] == 4, "it comes round again"


def test_unshare_holds_its_copies_and_the_folio_at_once() -> None:
    """Of one region with 512 shared pages: 512 copies and 512 pages of the folio, on top of what there was."""
    found = {name: totals(simulate(point(name, 4, regions=1, **QUIET))) for name in ("unshare", "copy")}
    page = 4096
    assert found["unshare"]["cost/extra_bytes_peak"] - found["copy"]["cost/extra_bytes_peak"] == 512 * page


# ---- young pages -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("all_sharers", "n_mms"), [(False, 1), (True, 32)])
def test_a_page_is_young_for_all_sharers_where_any_of_them_read_it(all_sharers: bool, n_mms: int) -> None:
    degree, regions, reads = 32, 4000, 0.1 / 512
    load = setting(point("inplace", degree, regions=regions, reads_per_page_hour=reads)).workload
    family, rows = family_of(degree, regions), np.arange(regions) * degree
    luck = Luck(family, load, np.array([99], np.uint64), 3600.0, all_sharers)
    young = luck.chances(rows, 0, khugepaged=True).young > 0
    expected = 1 - np.exp(-0.1 * n_mms)
    assert young.mean() == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / regions))


def test_a_fork_leaves_the_childs_ptes_old() -> None:
    built = setting(point("copy", 3, **QUIET, reads_per_page_hour=1e-3, aging_passes_per_hour=0.0))
    family = family_of(3)
    luck = Luck(family, built.workload, draws.keys([(7, 0)], "scene"), 60.0)
    young = [luck.chances(np.array([0, 1]), tick, khugepaged=True).young for tick in range(0, 6000, 10)]
    assert np.mean([one[0] for one in young]) > 0, "some are young by now"
    for tick in range(0, 6000, 10):  # forked in each of these ticks, just before khugepaged comes
        luck.born[0, 1] = tick
        young.append(luck.chances(np.array([0, 1]), tick, khugepaged=True).young)
    lately = np.array(young[600:])
    assert lately[:, 1].mean() < 0.05 < lately[:, 0].mean(), "512 pages read in a minute at that rate: 0.9 %"


def test_aging_makes_all_ptes_old() -> None:
    built = setting(point("copy", 3, **QUIET, reads_per_page_hour=1.0, aging_passes_per_hour=2.0))
    luck = Luck(family_of(3), built.workload, draws.keys([(7, 0)], "scene"), 60.0)
    reads = [luck._reads_since_old(tick)[0, 0] * 60 for tick in range(90)]  # in minutes: one read an hour and page
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
