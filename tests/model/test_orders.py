"""Collapses below PMD order: closed forms for each order, and what writes and exits leave of smaller folios."""

from typing import Any

import pytest

from tests.model.points import option, point, totals
from thpsweep.errors import OptionError
from thpsweep.model.metrics.repricing import recording
from thpsweep.model.scenario.scenario import Scenario
from thpsweep.model.setting import check, setting
from thpsweep.model.simulate import simulate
from thpsweep.outcomes import ScanResult

REGIONS, DEGREE = 2, 5
QUIET = {"hot_regions": 0.0, "page_walk_share": 0.0}
ORDERS = [2, 4, 7, 9]


def run(mechanism: str, order: int) -> dict[str, float]:
    made = point(mechanism, DEGREE, **{**QUIET, "regions": REGIONS})
    made["policy"]["mechanism"]["order"] = order
    return totals(simulate(made))


@pytest.mark.parametrize("order", ORDERS)
def test_inplace_writes_as_many_ptes_at_every_order_and_freezes_a_block_at_a_time(order: int) -> None:
    found, folios = run("inplace", order), REGIONS * (512 >> order)
    assert found["cost/migration_entries_set"] == found["cost/ptes_restored"] == 512 * DEGREE * REGIONS
    assert found["cost/migration_entries_set_worst_region"] == DEGREE << order
    assert found["cost/collapses"] == found["cost/tlb_flushes"] == found["cost/thp_collapse_alloc"] == folios
    assert found["cost/rmap_walks"] == 2 * 512 * REGIONS
    assert found["benefit/lru_entries_removed"] == 512 * REGIONS - folios
    assert found["cost/extra_bytes_peak"] == 4096 << order
    assert found["cost/bloat_bytes"] == found["cost/sharing_lost_bytes"] == 0


@pytest.mark.parametrize("order", ORDERS)
def test_switch_writes_each_pte_once_at_every_order(order: int) -> None:
    found, folios = run("switch", order), REGIONS * (512 >> order)
    assert found["cost/ptes_switched"] == found["cost/pte_updates"] == 512 * DEGREE * REGIONS
    assert found["cost/ptes_switched_worst_region"] == DEGREE << order
    assert found["cost/tlb_flushes"] == DEGREE * folios and found["cost/rmap_walks"] == folios


def shared(processes: int = 3) -> Scenario:
    scene = Scenario(processes=processes)
    parent = scene.process()
    parent.write(range(512))
    for _ in range(processes - 1):
        parent.fork()
    return scene


@pytest.mark.parametrize("order", ORDERS)
def test_a_write_copies_4_kib_and_the_last_exit_frees_the_folio(order: int) -> None:
    scene = shared()
    parent, child, last = scene.living
    assert parent.collapse("switch", order=order) == ScanResult.SUCCEED
    folios, size = 512 >> order, 1 << order
    label = f"anon-thp-pte-aligned-{4 << order}kB"
    assert (scene.lru_entries, scene.pages_in_use, parent.thpmaps_kib) == (folios, 512, {label: 2048})
    child.write([1])
    assert (scene.lru_entries, scene.pages_in_use) == (folios + 1, 513)
    rest = {label: 2048 - 4 * size} if size < 512 else {}
    assert child.thpmaps_kib == {**rest, "anon-thp-pte-partial": 4 * (size - 1)}
    parent.write([1])
    last.write([1])  # nobody maps the page any more, but its folio keeps it
    assert (scene.pages_in_use, scene.family.gauge["stuck_pages"][0]) == (515, 1)
    for process in (parent, child):
        process.exit()
    assert scene.pages_in_use == 513 and scene.intact
    last.exit()
    assert (scene.pages_in_use, scene.lru_entries) == (0, 0)


@pytest.mark.parametrize("order", [2, 4, 8])
def test_copy_gives_one_process_folios_of_its_own(order: int) -> None:
    scene = shared()
    parent, child, _ = scene.living
    assert child.collapse("copy", order=order) == ScanResult.SUCCEED
    assert (child.shared_pages(parent), child.anon_huge_kib, scene.pages_in_use) == (0, 0, 1024)
    assert child.thpmaps_kib == {f"anon-thp-pte-aligned-{4 << order}kB": 2048} and parent.thpmaps_kib == {}
    assert child.collapse("copy", order=order) == ScanResult.PTE_MAPPED_HUGEPAGE, "it knows its own product"
    if order < 8:
        assert child.collapse("copy", order=order + 1) == ScanResult.SUCCEED, "larger folios may take its place"
        assert scene.lru_entries == 512 + (512 >> order + 1)
    assert scene.intact


def test_khugepaged_takes_only_blocks_that_nobody_shares() -> None:
    """7.2 refuses any shared or swapped pte below PMD order, and scales max_ptes_none=511 to all pages but one."""
    scene = Scenario()
    parent = scene.process()
    parent.write([*range(16, 512), 3])
    child = parent.fork()
    child.write(range(500, 512))
    parent.write(range(300, 512))
    scene.khugepaged("copy", order=4, max_ptes_shared=511)
    assert child.thpmaps_kib == parent.thpmaps_kib == {"anon-thp-pte-aligned-64kB": 4 * (512 - 304)}
    child.exit()
    scene.khugepaged("copy", order=4)
    assert parent.thpmaps_kib == {"anon-thp-pte-aligned-64kB": 2048}, "a page is enough for a block"
    assert scene.pages_in_use == 512 and scene.intact


def test_reclaim_splits_one_folio_and_leaves_its_neighbours() -> None:
    scene = Scenario()
    process = scene.process()
    process.write(range(512))
    process.collapse("switch", order=4)
    process.page_out([17])
    assert process.thpmaps_kib == {"anon-thp-pte-aligned-64kB": 2048 - 64}
    assert (scene.pages_in_use, scene.lru_entries, process.swap_kib) == (511, 31 + 15, 4)
    process.page_out(range(32, 48))  # a whole folio is not split
    assert (scene.counts.total["folio_splits"][0], scene.pages_in_use) == (1, 511 - 16) and scene.intact


@pytest.mark.parametrize(
    ("mechanism", "order", "expected"),
    [
        ("inplace_pmd", 4, "9, as it maps"),
        ("switch_pmd", 4, "9"),
        ("shared_table", 4, "9"),
        ("retract", 4, "fields"),
        ("copy", 1, "2..9"),
        ("switch", 10, "2..9"),
    ],
)
def test_an_order_that_a_mechanism_does_not_know_is_refused(mechanism: str, order: int, expected: str) -> None:
    made = point(mechanism, 2)
    made["policy"]["mechanism"]["order"] = order
    with pytest.raises(OptionError, match=f"order={order}.*{expected}"):
        check(made)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"memory": option("memory", "fragmented")}, "2 MiB"),
        ({"gate": {"kind": "payback", "gains": ["tlb"]}}, "tlb"),
        ({"trigger": {"kind": "at_fault"}}, "PMDs"),
    ],
)
def test_what_knows_pmd_order_alone_refuses_another(changed: dict[str, Any], expected: str) -> None:
    made = point("switch", 2)
    made["policy"]["mechanism"]["order"] = 4
    (made if "memory" in changed else made["policy"]).update(changed)
    with pytest.raises(OptionError, match=f"order=4.*{expected}"):
        setting(made)


def translation_ms(order: int, coalesce: int) -> float:
    made = point("switch", DEGREE, hot_regions=0.0, regions=1)
    made["policy"]["mechanism"]["order"] = order
    made["machine"]["tlb_coalesce"] = coalesce
    return totals(simulate(made))["benefit/tlb_ms_saved"]


@pytest.mark.parametrize(("order", "coalesce", "gains"), [(2, 1, 0), (2, 4, 1), (2, 16, 0), (4, 16, 1), (9, 16, 1)])
def test_a_folio_saves_walks_where_it_has_as_many_pages_as_the_tlb_coalesces(
    order: int, coalesce: int, gains: bool
) -> None:
    assert (translation_ms(order, coalesce) > 0) == gains


@pytest.mark.parametrize("order", [2, 4])
def test_a_run_priced_for_another_tlb_is_the_run_simulated_there(order: int) -> None:
    known = point("switch", DEGREE, hot_regions=0.0, regions=1)
    known["policy"]["mechanism"]["order"] = order
    for coalesce in (4.0, 16.0):
        anew = recording(known, simulate(known)).cpu({"machine.tlb_coalesce": coalesce})
        expected = simulate({**known, "machine": {**known["machine"], "tlb_coalesce": coalesce}})["replicates"]
        assert anew["benefit/tlb_ms_saved"].tolist() == pytest.approx(expected["benefit/tlb_ms_saved"])
