"""The table of the design: what each mechanism counts on N fully mapped sharers that never write."""

from math import isnan

import pytest

from tests.model.points import option, point, totals
from thpsweep.model.simulate import simulate

REGIONS = 4
QUIET = {"hot_regions": 0.0, "page_walk_share": 0.0}
DEGREES = [1, 2, 16, 98, 195, 512]


def run(mechanism: str, degree: int, **changed: object) -> dict[str, float]:
    return totals(simulate(point(mechanism, degree, **{**QUIET, **changed})))


@pytest.mark.parametrize("degree", DEGREES)
def test_inplace_sets_and_restores_every_pte(degree: int) -> None:
    found = run("inplace", degree)
    assert found["cost/migration_entries_set"] == found["cost/ptes_restored"] == 512 * degree * REGIONS
    assert found["cost/migration_entries_set_worst_region"] == found["cost/ptes_restored_worst_region"] == 512 * degree
    assert found["cost/pte_updates"] == 2 * 512 * degree * REGIONS
    assert found["cost/rmap_walks"] == 2 * 512 * REGIONS
    assert found["cost/vmas_visited"] == 2 * 512 * degree * REGIONS
    assert found["cost/tlb_flushes"] == REGIONS
    assert found["cost/pmd_writes"] == found["cost/global_syncs"] == 0
    assert found["cost/bytes_copied"] == REGIONS * 2 * 2**20
    assert found["benefit/lru_entries_removed"] == 511 * REGIONS
    assert found["benefit/lru_reduction"] == 511 / 512
    assert found["cost/sharing_lost_bytes"] == 0
    assert found["tradeoff/pte_updates_per_lru_entry"] == pytest.approx(2 * 512 * degree / 511)


def test_the_hundred_thousand_ptes() -> None:
    assert run("inplace", 195)["cost/migration_entries_set_worst_region"] == 99_840
    assert run("switch", 195)["cost/ptes_switched_worst_region"] == 99_840


@pytest.mark.parametrize("degree", DEGREES)
def test_switch_touches_every_pte_once(degree: int) -> None:
    found = run("switch", degree)
    protected = 512 * REGIONS if degree == 1 else 0  # a sole owner's pages are writable
    assert found["cost/ptes_switched"] == 512 * degree * REGIONS
    assert found["cost/ptes_protected"] == protected
    assert found["cost/pte_updates"] == 512 * degree * REGIONS + protected
    assert found["cost/tlb_flushes"] == degree * REGIONS + (REGIONS if degree == 1 else 0)
    assert (found["cost/rmap_walks"], found["cost/vmas_visited"]) == (REGIONS, degree * REGIONS)
    assert found["cost/pmd_writes"] == found["cost/global_syncs"] == 0
    assert found["benefit/lru_entries_removed"] == 511 * REGIONS


@pytest.mark.parametrize("mechanism", ["switch", "switch_pmd"])
@pytest.mark.parametrize(
    ("options", "flushes"),
    [
        ({"walk": "per_page"}, 512),
        ({"walk": "per_range"}, 1),
        ({"walk": "per_range", "slots_per_slice": 16}, 32),
        ({"walk": "per_range", "slots_per_slice": 100}, 6),
        ({"walk": "overwrite", "slots_per_slice": 16}, 1),
    ],
)
def test_flushes_of_switch_follow_from_its_walk(mechanism: str, options: dict[str, object], flushes: int) -> None:
    """A flush is owed for what is cleared under one pte lock, or once a sharer where nothing is cleared."""
    degree, found = 16, totals(simulate(point(mechanism, 16, options=options, **QUIET)))
    last_step = degree if mechanism == "switch_pmd" else 0
    assert found["cost/tlb_flushes"] == (flushes * degree + last_step) * REGIONS
    assert found["cost/rmap_walks"] == (512 if options["walk"] == "per_page" else 1) * REGIONS
    assert found["cost/ptes_switched"] == 512 * degree * REGIONS


@pytest.mark.parametrize("degree", DEGREES)
def test_inplace_pmd_clears_every_pte_once_more(degree: int) -> None:
    found = run("inplace_pmd", degree)
    assert found["cost/pte_updates"] == 3 * 512 * degree * REGIONS
    assert found["cost/ptes_cleared_worst_region"] == 512 * degree
    assert found["cost/pmd_writes"] == 2 * degree * REGIONS
    assert found["cost/tlb_flushes"] == (1 + degree) * REGIONS
    assert found["cost/global_syncs"] == degree * REGIONS
    assert found["benefit/pmd_mapped_fraction"] == 1
    assert found["benefit/lru_entries_removed"] == 511 * REGIONS


@pytest.mark.parametrize("degree", DEGREES)
def test_switch_pmd_writes_every_pte_twice(degree: int) -> None:
    found, switched = run("switch_pmd", degree), run("switch", degree)
    assert found["cost/pte_updates"] == switched["cost/pte_updates"] + 512 * degree * REGIONS
    assert found["cost/pmd_writes"] == 2 * degree * REGIONS
    assert found["cost/tlb_flushes"] == switched["cost/tlb_flushes"] + degree * REGIONS
    assert found["cost/global_syncs"] == degree * REGIONS
    assert found["benefit/pmd_mapped_fraction"] == 1
    assert found["benefit/lru_entries_removed"] == 511 * REGIONS


@pytest.mark.parametrize("degree", DEGREES)
def test_copy_by_every_sharer_loses_the_sharing(degree: int) -> None:
    found = run("copy", degree)
    assert found["cost/ptes_cleared"] == 512 * degree * REGIONS
    assert found["cost/pmd_writes"] == 2 * degree * REGIONS
    assert found["cost/tlb_flushes"] == found["cost/global_syncs"] == degree * REGIONS
    # The last one takes the pages with it: the others each leave a second copy behind.
    assert found["cost/sharing_lost_bytes"] == (degree - 1) * REGIONS * 2 * 2**20
    assert found["benefit/lru_entries_removed"] == (512 - degree) * REGIONS


def test_copy_by_the_root_alone_leaves_the_others_on_small_pages() -> None:
    trigger = {"kind": "madvise", "at_s": [60.0], "callers": "root"}
    found = totals(simulate(point("copy", 16, trigger=trigger, **QUIET)))
    assert found["cost/ptes_cleared"] == 512 * REGIONS
    assert found["cost/sharing_lost_bytes"] == REGIONS * 2 * 2**20
    assert found["benefit/lru_entries_removed"] == -REGIONS


def test_copy_of_everything_holds_one_copy_a_sharer_until_the_end() -> None:
    found = run("copy", 5)
    ticks_after = 600 / 60  # the first tick ends at 60 s, with the collapse in it
    assert found["cost/extra_byte_seconds"] == ticks_after * 60 * 4 * REGIONS * 2 * 2**20


@pytest.mark.parametrize("mechanism", ["copy", "inplace", "switch"])
def test_half_empty_regions_are_filled(mechanism: str) -> None:
    found = run(mechanism, 3, present_ptes=200)
    folios = 3 * REGIONS if mechanism == "copy" else REGIONS
    assert found["cost/bloat_bytes"] == folios * 312 * 4096
    assert found["benefit/lru_entries_removed"] == 200 * REGIONS - folios


def test_none_costs_and_gains_nothing() -> None:
    found = totals(simulate(point("none", 16)))
    unknown = {"tradeoff/pte_updates_per_lru_entry", "tradeoff/payback_s", "tradeoff/break_even_walk_share"}
    unknown |= {"cost/cow_bytes_per_fork", "cost/cow_bytes_per_fork_baseline"}  # nobody forks
    as_baseline = {"cost/memory_bytes_peak", "cost/fork_pause_ms"}
    assert all(found[name] == found[f"{name}_baseline"] > 0 for name in as_baseline)
    beside = unknown | as_baseline | {f"{name}_baseline" for name in as_baseline}
    assert all(value == 0 for name, value in found.items() if name not in beside)
    assert all(isnan(found[name]) for name in unknown)


def test_mainline_refuses_fully_shared_regions_and_says_so() -> None:
    trigger = {"kind": "khugepaged"}
    result = simulate(point("copy", 16, trigger=trigger, **QUIET))
    assert set(result["outcomes"]) == {"EXCEED_SHARED_PTE"}
    assert totals(result)["cost/pte_updates"] == 0
    assert "EXCEED_SHARED_PTE" in result["facts"]["note_refused"]


@pytest.mark.parametrize(("mechanism", "walk", "walks"), [("inplace", "per_range", 2), ("switch", "per_range", 1)])
def test_one_walk_over_the_range_visits_each_vma_once(mechanism: str, walk: str, walks: int) -> None:
    found = totals(simulate(point(mechanism, 16, options={"walk": walk}, **QUIET)))
    assert found["cost/rmap_walks"] == walks * REGIONS
    assert found["cost/vmas_visited"] == walks * 16 * REGIONS


def test_cpu_time_of_inplace_is_its_counts_times_the_price_list() -> None:
    price, degree = option("machine", "milan_vm"), 16
    found = run("inplace", degree)
    ptes, visits = 512 * degree, 16 * REGIONS  # every sharer asks; the first one's request does the work
    expected = REGIONS * (
        price["collapse_fixed_ns"]
        + 512 * price["copy_page_ns"]
        + ptes * (price["migration_entry_set_ns"] + price["migration_entry_restore_ns"])
        + 2 * 512 * price["rmap_walk_ns"]
        + price["tlb_flush_ns"]
        + price["ipi_ns"]
        + price["ipi_receiver_ns"]  # one other CPU
    )
    expected += visits * 512 * price["pte_scan_ns"]
    assert found["cost/cpu_ms"] == pytest.approx(expected / 1e6)


@pytest.mark.parametrize("degree", DEGREES)
def test_unshare_by_every_sharer_copies_twice_what_another_maps(degree: int) -> None:
    found = run("unshare", degree)
    shared = 512 * (degree - 1) * REGIONS  # the last one has the pages for itself
    assert found["cost/ptes_unshared"] == shared
    assert found["cost/ptes_unshared_worst_region"] == (512 if degree > 1 else 0)
    assert found["cost/migration_entries_set"] == 512 * degree * REGIONS
    assert found["cost/pte_updates"] == shared + 512 * degree * REGIONS
    assert found["cost/bytes_copied"] == (shared + 512 * degree * REGIONS) * 4096
    assert found["cost/pmd_writes"] == 2 * degree * REGIONS
    assert found["cost/tlb_flushes"] == shared + 2 * degree * REGIONS
    assert found["cost/global_syncs"] == found["cost/rmap_walks"] == found["cost/ptes_restored"] == 0


@pytest.mark.parametrize("degree", DEGREES)
def test_unshare_ends_where_copy_ends(degree: int) -> None:
    found, copied = run("unshare", degree), run("copy", degree)
    state = [name for name in found if name.startswith("benefit/")]
    assert {name: found[name] for name in state} == {name: copied[name] for name in state}
    assert found["cost/sharing_lost_bytes"] == copied["cost/sharing_lost_bytes"]


@pytest.mark.parametrize("degree", DEGREES)
def test_retract_unmaps_every_pte_and_maps_a_pmd_a_sharer(degree: int) -> None:
    found = run("retract", degree)
    assert found["cost/ptes_cleared"] == found["cost/pte_updates"] == 512 * degree * REGIONS
    assert found["cost/ptes_cleared_worst_region"] == 512 * degree
    assert found["cost/pmd_writes"] == 2 * degree * REGIONS
    assert found["cost/tlb_flushes"] == (1 + degree) * REGIONS
    assert found["cost/rmap_walks"] == 512 * REGIONS
    assert found["cost/vmas_visited"] == 512 * degree * REGIONS
    assert found["cost/global_syncs"] == found["cost/sharing_lost_bytes"] == found["cost/ptes_refaulted"] == 0
    assert found["cost/bytes_copied"] == REGIONS * 2 * 2**20
    assert found["benefit/pmd_mapped_fraction"] == 1
    assert found["benefit/lru_entries_removed"] == 511 * REGIONS
    assert found["benefit/page_table_bytes_freed"] == degree * REGIONS * 4096


def test_only_retract_frees_page_tables() -> None:
    assert (
        run("inplace_pmd", 4)["benefit/page_table_bytes_freed"] == run("copy", 4)["benefit/page_table_bytes_freed"] == 0
    )


def test_one_walk_of_retract_over_the_range_visits_each_vma_once() -> None:
    found = totals(simulate(point("retract", 16, options={"walk": "per_range"}, **QUIET)))
    assert (found["cost/rmap_walks"], found["cost/vmas_visited"]) == (REGIONS, 16 * REGIONS)


def test_cpu_time_of_retract_is_its_counts_times_the_price_list() -> None:
    price, degree = option("machine", "milan_vm"), 16
    expected = REGIONS * (
        price["collapse_fixed_ns"]
        + 512 * price["copy_page_ns"]
        + 512 * degree * price["pte_unmap_ns"]
        + 512 * price["rmap_walk_ns"]
        + degree * (2 * price["pmd_write_ns"] + price["minor_fault_ns"])
        + (1 + degree) * price["tlb_flush_ns"]
        + (1 + degree / degree)
        * (
            price["ipi_ns"] + price["ipi_receiver_ns"]
        )  # one other CPU: the batch finds somebody there, each mm with 1 in 16
        + 512 * price["pte_scan_ns"]  # the first sharer's request does the work,
        + (degree - 1) * price["pte_scan_ns"]  # the others find a PMD
    )
    assert run("retract", degree)["cost/cpu_ms"] == pytest.approx(expected / 1e6)


@pytest.mark.parametrize("degree", DEGREES)
def test_shared_table_changes_each_table_once(degree: int) -> None:
    found = run("shared_table", degree)
    assert found["cost/migration_entries_set"] == found["cost/ptes_restored"] == 512 * REGIONS
    assert found["cost/tlb_flushes"] == REGIONS
    assert found["benefit/lru_entries_removed"] == 511 * REGIONS


def test_shared_tables_are_the_baselines_too() -> None:
    price = option("machine", "milan_vm")
    busy = {"worker_life_s": 300.0, "hot_regions": 1.0, "worker_hot_writes_per_page_hour": 1.0}
    shared, plain = (simulate(point(mechanism, 8, **busy)) for mechanism in ("shared_table", "inplace"))
    # A child of the collapsed family is forked at the price of its tables, which is the same before and after.
    assert totals(shared)["benefit/fork_ms_saved"] == 0
    forks_saved = totals(plain)["benefit/fork_ms_saved"]
    assert forks_saved > 0 and price["fork_pte_compound_ns"] < price["fork_pte_small_ns"]
