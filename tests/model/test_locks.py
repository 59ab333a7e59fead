"""Lock holds and waits against sums written out from the price list."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from tests.model.points import option, point, totals
from thpsweep.model import registry
from thpsweep.model.accounting.locks import CLASSES, ONCE, SCAN, Locks, LockStep, hold_prices, measures_of, spans
from thpsweep.model.mechanisms.base import Mechanism
from thpsweep.model.simulate import simulate
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family

REGIONS = 4
QUIET: dict[str, Any] = {"hot_regions": 0.0, "page_walk_share": 0.0}
PRICE = option("machine", "milan_vm")
DEGREES = [2, 16, 195]
ROOT = {"kind": "madvise", "at_s": [60.0], "callers": "root"}
ACTIVE: dict[str, type[Mechanism]] = {
    name: cls for name, cls in registry.options("mechanism").items() if issubclass(cls, Mechanism) and cls.active
}


def run(mechanism: str, degree: int, **changed: Any) -> dict[str, float]:
    given = {"trigger": ROOT, **QUIET, **changed}
    return {
        name.removeprefix("cost/"): value for name, value in totals(simulate(point(mechanism, degree, **given))).items()
    }


def own_flush_ns(degree: int) -> float:
    return float(PRICE["tlb_flush_ns"] + PRICE["ipi_ns"] / degree)  # two CPUs: it is on the other one once in `degree`


def frozen_ns(degree: int) -> float:
    """Sum up `inplace` on 512 slots of `degree` sharers, from the first migration entry to the last restored pte."""
    return float(
        2 * 512 * PRICE["rmap_walk_ns"]
        + 512 * degree * (PRICE["migration_entry_set_ns"] + PRICE["migration_entry_restore_ns"])
        + PRICE["tlb_flush_ns"]
        + PRICE["ipi_ns"]
        + 512 * PRICE["copy_page_ns"]
    )


@pytest.mark.parametrize("degree", DEGREES)
def test_inplace_freezes_from_the_first_entry_to_the_last_restored(degree: int) -> None:
    found = run("inplace", degree)
    assert found["lock_hold_folio_max_ms"] == pytest.approx(frozen_ns(degree) / 1e6)
    assert found["lock_hold_folio_ms"] == pytest.approx(REGIONS * frozen_ns(degree) / 1e6)
    walk_ns = PRICE["rmap_walk_ns"] + degree * PRICE["migration_entry_set_ns"]
    assert found["lock_hold_anon_vma_read_max_ms"] == pytest.approx(walk_ns / 1e6)
    both_ns = 2 * PRICE["rmap_walk_ns"] + degree * (
        PRICE["migration_entry_set_ns"] + PRICE["migration_entry_restore_ns"]
    )
    assert found["lock_hold_anon_vma_read_ms"] == pytest.approx(REGIONS * 512 * both_ns / 1e6)
    assert found["lock_hold_mmap_write_ms"] == found["lock_hold_anon_vma_write_ms"] == 0


def test_the_freeze_of_inplace_grows_linearly_with_the_sharers() -> None:
    at = {degree: run("inplace", degree)["lock_hold_folio_max_ms"] for degree in (10, 20, 40)}
    assert at[40] - at[20] == pytest.approx(2 * (at[20] - at[10]))
    assert at[20] > at[10]


@pytest.mark.parametrize("degree", DEGREES)
def test_inplace_pmd_holds_each_mm_for_its_own_step(degree: int) -> None:
    found = run("inplace_pmd", degree)
    step_ns = 512 * PRICE["pte_clear_compound_ns"] + 2 * PRICE["pmd_write_ns"] + own_flush_ns(degree) + PRICE["ipi_ns"]
    assert found["lock_hold_mmap_write_max_ms"] == pytest.approx(step_ns / 1e6)
    assert found["lock_hold_mmap_write_ms"] == pytest.approx(REGIONS * degree * step_ns / 1e6)
    assert found["lock_hold_folio_max_ms"] == pytest.approx(frozen_ns(degree) / 1e6)


@pytest.mark.parametrize("degree", DEGREES)
def test_switch_pmd_freezes_nothing_and_holds_each_mm_for_its_own_step(degree: int) -> None:
    found, frozen = run("switch_pmd", degree), run("inplace_pmd", degree)
    assert found["lock_hold_folio_ms"] == 0 < frozen["lock_hold_folio_ms"]
    for key in ("lock_hold_mmap_write_max_ms", "lock_hold_mmap_write_ms"):
        assert found[key] == pytest.approx(frozen[key])


@pytest.mark.parametrize("degree", DEGREES)
def test_copy_drops_the_root_lock_before_it_copies(degree: int) -> None:
    found = run("copy", degree)
    begin_ns = PRICE["pmd_write_ns"] + own_flush_ns(degree) + PRICE["ipi_ns"] + 512 * PRICE["pte_scan_ns"]
    rest_ns = 512 * (PRICE["copy_page_ns"] + PRICE["pte_clear_ns"] - PRICE["pte_scan_ns"]) + PRICE["pmd_write_ns"]
    assert found["lock_hold_anon_vma_write_max_ms"] == pytest.approx(begin_ns / 1e6)
    for lock in ("mmap_write", "vma_write", "empty_pmd"):
        assert found[f"lock_hold_{lock}_max_ms"] == pytest.approx((begin_ns + rest_ns) / 1e6)
        assert found[f"lock_hold_{lock}_ms"] == pytest.approx(REGIONS * (begin_ns + rest_ns) / 1e6)
    assert found["lock_hold_folio_ms"] == 0


def test_the_worst_mmap_write_hold_of_copy_does_not_grow_with_the_sharers() -> None:
    one_cpu = {**PRICE, "cpus": 1}  # no interrupts: they get fewer as the sharers spread over the CPUs
    held = []
    for degree in DEGREES:
        made = point("copy", degree, **QUIET)
        held.append(totals(simulate({**made, "machine": one_cpu}))["cost/lock_hold_mmap_write_max_ms"])
    assert held[0] == held[1] == held[2] > 0


@pytest.mark.parametrize("degree", DEGREES)
def test_switch_freezes_nothing(degree: int) -> None:
    found = run("switch", degree)
    assert found["lock_hold_folio_ms"] == found["lock_hold_empty_pmd_ms"] == found["lock_hold_mmap_write_ms"] == 0
    table_ns = 512 * PRICE["pte_switch_ns"] + own_flush_ns(degree)
    walk_ns = PRICE["rmap_walk_ns"] + degree * table_ns
    assert found["lock_hold_anon_vma_read_max_ms"] == pytest.approx(walk_ns / 1e6)
    assert found["lock_hold_pte_max_ms"] == pytest.approx(table_ns / 1e6)
    assert found["lock_hold_pte_ms"] == pytest.approx(REGIONS * degree * table_ns / 1e6)
    assert found["stall_ms"] == 0 < found["stall_max_ms"] == found["call_mean_max_ms"]  # nobody forks or exits


@pytest.mark.parametrize(("walk", "in_slice", "flushed_in_slice"), [
    ("per_page", 1, True), ("per_range", 64, True), ("overwrite", 64, False),
])  # fmt: skip
def test_a_pte_lock_of_switch_is_held_for_a_slice(walk: str, in_slice: int, flushed_in_slice: bool) -> None:
    """The flush is part of the hold where ptes are cleared; an overwriting walk flushes under the anon_vma's lock only."""
    degree = 16
    found = run("switch", degree, options={"walk": walk, "slots_per_slice": 64})
    slice_ns = in_slice * PRICE["pte_switch_ns"] + (own_flush_ns(degree) if flushed_in_slice else 0)
    assert found["lock_hold_pte_max_ms"] == pytest.approx(slice_ns / 1e6)
    assert found["lock_hold_pte_ms"] == pytest.approx(REGIONS * degree * (512 / in_slice) * slice_ns / 1e6)
    walks = 512 if walk == "per_page" else 1
    every_ns = REGIONS * (walks * PRICE["rmap_walk_ns"] + 512 * degree * PRICE["pte_switch_ns"])
    every_ns += found["tlb_flushes"] * own_flush_ns(degree)
    assert found["lock_hold_anon_vma_read_ms"] == pytest.approx(every_ns / 1e6)


@pytest.mark.parametrize(("ptes_per_slice", "pieces"), [(512, [512]), (100, [100] * 5 + [12]), (4096, [512])])
def test_a_slice_of_incremental_holds_one_mm_at_a_time(ptes_per_slice: int, pieces: list[int]) -> None:
    options = {"ptes_per_slice": ptes_per_slice, "slices_per_s": 1000.0}
    found = run("incremental", 16, options=options)
    largest_ns = max(pieces) * PRICE["pte_switch_ns"] + own_flush_ns(16)
    assert found["lock_hold_pte_max_ms"] == pytest.approx(largest_ns / 1e6)
    every_ns = REGIONS * 512 * 16 * PRICE["pte_switch_ns"] + found["tlb_flushes"] * own_flush_ns(16)
    assert found["lock_hold_pte_ms"] == pytest.approx(every_ns / 1e6)


def test_deferred_holds_the_visited_mm_alone() -> None:
    found = run("deferred", 16, options={"redirect": False})
    visit_ns = 512 * PRICE["pte_switch_ns"] + own_flush_ns(16)
    for lock, scan_ns in (("mmap_read", 512 * PRICE["pte_scan_ns"]), ("pte", 0)):
        assert found[f"lock_hold_{lock}_max_ms"] == pytest.approx(visit_ns / 1e6)
        assert found[f"lock_hold_{lock}_ms"] == pytest.approx(REGIONS * (visit_ns + scan_ns) / 1e6)
    assert found["lock_hold_folio_ms"] == found["stall_ms"] == 0


def test_unshare_freezes_one_mm_after_it_unshared_it() -> None:
    found = run("unshare", 16)
    frozen_ns = (
        512 * (PRICE["migration_entry_set_ns"] + PRICE["copy_page_ns"])
        + 2 * own_flush_ns(16)
        + 2 * PRICE["pmd_write_ns"]
    )
    fault_in_ns = 512 * (PRICE["cow_fault_ns"] + PRICE["ipi_ns"] / 16)
    assert found["lock_hold_folio_max_ms"] == pytest.approx(frozen_ns / 1e6)
    assert found["lock_hold_vma_read_max_ms"] == pytest.approx((fault_in_ns + frozen_ns) / 1e6)
    assert found["lock_hold_mmap_write_ms"] == found["lock_hold_anon_vma_read_ms"] == 0


def test_retract_keeps_accesses_out_until_the_copy_is_made() -> None:
    found = run("retract", 16)
    unmap_ns = 512 * PRICE["rmap_walk_ns"] + 512 * 16 * PRICE["pte_unmap_ns"]
    copied_ns = unmap_ns + PRICE["tlb_flush_ns"] + PRICE["ipi_ns"] + 512 * PRICE["copy_page_ns"]
    assert found["lock_hold_folio_max_ms"] == pytest.approx(copied_ns / 1e6)
    assert found["lock_hold_pmd_max_ms"] == pytest.approx((PRICE["pmd_write_ns"] + own_flush_ns(16)) / 1e6)


@pytest.mark.parametrize("mechanism", list(ACTIVE))
def test_regions_add_up_and_leave_the_worst_hold_alone(mechanism: str) -> None:
    few, many = run(mechanism, 8, regions=2), run(mechanism, 8, regions=10)
    for lock in CLASSES:
        assert many[f"lock_hold_{lock}_ms"] == pytest.approx(5 * few[f"lock_hold_{lock}_ms"])
        assert many[f"lock_hold_{lock}_max_ms"] == pytest.approx(few[f"lock_hold_{lock}_max_ms"])
    assert sum(many[f"lock_hold_{lock}_ms"] for lock in CLASSES) > 0
    assert many["stall_max_ms"] == pytest.approx(few["stall_max_ms"])


def test_none_holds_nothing_and_nobody_waits() -> None:
    found = run("none", 16)
    assert all(value == 0 for name, value in found.items() if name.startswith(("lock_hold_", "stall_")))


@pytest.mark.parametrize("degree", DEGREES)
@pytest.mark.parametrize("walk_share", [1e-9, 1e-3, 0.5])
def test_a_process_waits_from_its_first_page_walk_into_a_frozen_region_on(degree: int, walk_share: float) -> None:
    """Walks are spread over a process's memory: it waits half the hold where they are rare, at most all of it."""
    found = run("inplace", degree, page_walk_share=walk_share)
    busy = min(2.0, 0.25 * (degree - 1)) / degree
    used_bytes = (degree - 1) * REGIONS * 512 * 8  # the root does not run
    lost = max(0.0, 1 - PRICE["page_table_cache_bytes"] / used_bytes)
    walk_ns = PRICE["page_walk_ns"] + lost * (PRICE["page_walk_uncached_ns"] - PRICE["page_walk_ns"])
    met = busy * walk_share / walk_ns / REGIONS * frozen_ns(degree)
    waited = met / 2 if met < 1e-5 else 1 - (1 - math.exp(-met)) / met
    assert found["stall_ms"] == pytest.approx(REGIONS * degree * frozen_ns(degree) * waited / 1e6, rel=1e-4)
    assert found["stall_ms"] < REGIONS * degree * frozen_ns(degree) / 1e6
    assert found["stall_max_ms"] == found["call_mean_max_ms"] > frozen_ns(degree) / 1e6


@pytest.mark.parametrize(("mechanism", "tables"), [("shared_table", 1), ("inplace", 64)])
def test_walks_through_a_table_that_all_share_are_cached_and_come_the_more_often(mechanism: str, tables: int) -> None:
    """64 tables of 16 KiB do not fit 512 KiB, one does: a walk takes page_walk_ns, and as many more fit the same cycles."""
    degree, share, cpus = 64, 1e-4, 0.01
    found = run(mechanism, degree, page_walk_share=share, root_cpu_share=cpus, worker_cpu_share=cpus)
    lost = max(0.0, 1 - PRICE["page_table_cache_bytes"] / (tables * REGIONS * 512 * 8))
    walk_ns = PRICE["page_walk_ns"] + lost * (PRICE["page_walk_uncached_ns"] - PRICE["page_walk_ns"])
    hold_ns = 1e6 * found["lock_hold_folio_max_ms"]
    met = cpus * share / walk_ns / REGIONS * hold_ns  # walks of one process to one of the regions meanwhile
    waited_ns = hold_ns * (met / 2 if met < 1e-5 else 1 - (1 - math.exp(-met)) / met)
    assert (lost > 0) == (tables > 1)
    assert found["stall_ms"] == pytest.approx(REGIONS * degree * waited_ns / 1e6, rel=1e-4)


def test_a_caller_is_inside_its_call_for_all_that_the_collapse_takes() -> None:
    found = run("copy", 16)
    assert found["call_mean_max_ms"] == pytest.approx(found["cpu_ms"] / REGIONS)
    daemon = run("copy", 16, trigger={"kind": "khugepaged", "max_ptes_shared": 511})
    assert daemon["call_mean_max_ms"] == 0 < daemon["cpu_ms"]


def test_waits_are_quadratic_in_the_hold() -> None:
    as_before = ("page_walk_ns", "page_walk_uncached_ns")  # so that accesses come as often
    scaled = {n: 3 * value if n.endswith("_ns") and n not in as_before else value for n, value in PRICE.items()}
    made = point("copy", 16, **{**QUIET, "page_walk_share": 1e-7, "root_cpu_share": 0.25})
    once, thrice = (totals(simulate({**made, "machine": machine})) for machine in (PRICE, scaled))
    assert thrice["cost/lock_hold_mmap_write_ms"] == pytest.approx(3 * once["cost/lock_hold_mmap_write_ms"])
    assert thrice["cost/stall_max_ms"] == pytest.approx(3 * once["cost/stall_max_ms"])
    assert thrice["cost/stall_ms"] == pytest.approx(9 * once["cost/stall_ms"], rel=1e-3)
    assert once["cost/stall_ms"] > 0


def test_forks_and_exits_wait_for_the_root_lock() -> None:
    lives: dict[str, Any] = {
        "worker_life_s": 60.0,
        "worker_gap_s": 0.0,
        "trigger": {"kind": "madvise", "at_s": [0.0], "callers": "root"},
    }
    found = run("switch", 16, **lives)
    waited_for = ("anon_vma_read", "mmap_read")  # exits and forks, and forks alone
    waits = [found[f"lock_hold_{lock}_max_ms"] for lock in waited_for]
    assert 0 < found["stall_max_ms"] == max(*waits, found["call_mean_max_ms"])
    assert 0 < found["stall_ms"] < sum(found[f"lock_hold_{lock}_ms"] for lock in waited_for)


@pytest.mark.parametrize("mechanism", ["copy", "inplace_pmd", "incremental"])
def test_replicates_side_by_side_equal_single_ones(mechanism: str) -> None:
    changed: dict[str, Any] = {"late_references_per_page": 1e-4, "worker_life_s": 120.0}
    batch = simulate(point(mechanism, 8, run={"replicates": 3}, **changed))["replicates"]
    first = simulate(point(mechanism, 8, run={"replicates": 1}, **changed))["replicates"]
    names = [name for name in first if name.startswith(("cost/lock_hold_", "cost/stall_"))]
    assert len(names) == 2 * len(CLASSES) + 2
    assert {name: batch[name][:1] for name in names} == {name: first[name] for name in names}


@pytest.mark.parametrize("mechanism", list(ACTIVE))
def test_a_mechanism_tells_what_its_steps_name(mechanism: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sequence = ACTIVE[mechanism].locks
    told: set[str] = set()
    assert {lock for step in sequence for lock in step.holds} <= set(CLASSES)
    prices = hold_prices(registry.build("machine", PRICE), 4)
    assert {operation for step in sequence for operation in step.work} <= set(prices)
    monkeypatch.setattr(Counts, "hold", lambda self, rows, **measures: told.update(measures))
    for late in (0.0, 1.0):
        simulate(point(mechanism, 4, late_references_per_page=late))
    assert told - measures_of((SCAN,)) == measures_of(sequence)


def test_a_measure_that_no_step_names_is_refused() -> None:
    scene = point("none", 2)
    machine, workload = registry.build("machine", PRICE), registry.build("workload", scene["workload"])
    locks = Locks(Family(1, 1, 2), (LockStep("walk", {"pte": ONCE}, {"switch": "switched"}),), machine, workload)
    with pytest.raises(ValueError, match="no step names cleared"):
        locks.record(np.zeros(1, np.int64), {"cleared": np.ones(1, np.int64)})


def test_a_lock_that_is_dropped_in_between_is_held_twice() -> None:
    step = LockStep("a", {"pte": ONCE}, {"switch": "switched"})
    other = dataclasses.replace(step, holds={"pmd": ONCE})
    assert [span.lock for span in spans((step, step))] == ["pte"]
    assert [span.lock for span in spans((step, other, step))] == ["pte", "pmd", "pte"]


@pytest.mark.parametrize(("degree", "limit", "held"), [(1, 511, 512), (16, 511, REGIONS * 512), (16, 0, REGIONS)])
def test_khugepaged_holds_an_mm_from_one_attempt_to_the_next(degree: int, limit: int, held: int) -> None:
    """Where every region is attempted each hold is one scan; where none is, one hold goes over all of them."""
    daemon = {"kind": "khugepaged", "max_ptes_shared": limit}
    found = run("copy", degree, trigger=daemon, reads_per_page_hour=1e6)
    assert found["lock_hold_mmap_read_max_ms"] == pytest.approx(held * PRICE["pte_scan_ns"] / 1e6)
    assert found["lock_hold_mmap_read_ms"] == pytest.approx(found["ptes_scanned"] * PRICE["pte_scan_ns"] / 1e6)


def test_a_split_keeps_everybody_out_for_as_long_as_it_changes_ptes() -> None:
    pressure = {"swap_outs_per_page_hour": 0.05, "reads_per_page_hour": 0.0, "reclaim": "classic"}
    found = run("inplace", 16, **pressure, run={"replicates": 1})
    assert found["folio_splits"] > 0
    split_ns = found["split_cpu_ms"] * 1e6
    assert found["lock_hold_anon_vma_write_ms"] * 1e6 == pytest.approx(split_ns)
    one_ns = 2 * PRICE["rmap_walk_ns"] + 512 * 16 * (
        PRICE["migration_entry_set_ns"] + PRICE["migration_entry_restore_ns"]
    )
    assert found["lock_hold_anon_vma_write_max_ms"] * 1e6 == pytest.approx(one_ns)
