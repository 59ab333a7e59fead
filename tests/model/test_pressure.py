"""Reclaim, splits and swap, against closed forms and against what the kernel's rules demand."""

import math
from typing import Any

import numpy as np
import pytest

from tests.model.families import QUIET, family_of
from tests.model.points import point, totals
from thpsweep.model import bits, draws, registry
from thpsweep.model.capture.start import populate
from thpsweep.model.collapse.conditions import DrawnConditions, born_at_start
from thpsweep.model.mechanisms.visit import ScanLimits, Visit
from thpsweep.model.mm.fault import write
from thpsweep.model.mm.swap import read_back
from thpsweep.model.mm.vmscan import reclaim
from thpsweep.model.mm.zeroed import wrote
from thpsweep.model.setting import setting
from thpsweep.model.simulate import simulate
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family
from thpsweep.outcomes import ScanResult

NEVER_YOUNG = lambda rows, *_: np.zeros(rows.size, bool)  # noqa: E731


def collapsed(mechanism: str, degree: int) -> tuple[Family, Counts]:
    """Give a family of which region 0 has been collapsed."""
    family, counts = family_of(degree), Counts(1)
    built = registry.build("mechanism", {"kind": mechanism})
    built.attempt(Visit(family, counts, np.array([0]), np.array([512]), ScanLimits()))
    return family, counts


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
    visit = Visit(family, counts, np.array([0]), np.array([512]), ScanLimits())
    assert made.attempt(visit).tolist() == [ScanResult.SUCCEED]
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
    made.attempt(Visit(family, counts, np.array([0, 2]), np.array([512, 512]), ScanLimits()))
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
    drawn = DrawnConditions(family, built.workload, draws.keys([(1, 0)], "scene"), tick_s, born_at_start(family))
    read_back(family, counts, *drawn.read_back(0))
    chance = 1 - math.exp(-per_hour * tick_s / 3600)
    read = counts.total["swap_ins"][0] + counts.total["swap_cache_faults"][0]
    assert read == pytest.approx(pages * degree * chance, rel=0.03)
    assert counts.total["swap_ins"][0] == pytest.approx(pages * (1 - (1 - chance) ** degree), rel=0.03)
    assert family.gauge["small_ptes"][0] == read and family.pages_in_use[0] == counts.total["swap_ins"][0]
    for tick in range(1, 200):
        read_back(family, counts, *drawn.read_back(tick))
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
