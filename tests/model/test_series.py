"""Does a run's course end where its totals are, in at most 200 steps, and does the baseline's stand beside it?"""

import itertools
import json
import math

import numpy as np
import pytest

from tests.model.points import point, totals
from thpsweep.model.accounting.series import MAX_STEPS, UNITS, steps
from thpsweep.model.capture.start import populate
from thpsweep.model.setting import setting
from thpsweep.model.simulate import simulate
from thpsweep.model.state.family import Family
from thpsweep.units import HPAGE_PMD_NR, PAGE_SIZE_BYTES

COUNTED = ("series/pte_updates", "series/collapses", "series/write_faults")
EACH = {"kind": "madvise", "at_s": [60.0, 300.0], "callers": "all"}
N_REGIONS, N_SHARERS = 4, 4


@pytest.fixture(scope="module")
def result():
    return simulate(point("inplace_pmd", N_SHARERS, regions=N_REGIONS, trigger=EACH))


def short(n_ticks, tick_s=0.5, mechanism="inplace", **changed):
    """Make a point of one region and two sharers that runs for so many ticks."""
    run = {"duration_s": n_ticks * tick_s, "tick_s": tick_s, "replicates": 1}
    trigger = {"kind": "madvise", "at_s": [0.0], "callers": "all"}
    return point(mechanism, 2, regions=1, trigger=trigger, run=run, **changed)


def started():
    """Give the family of `result` as it is before the first tick."""
    start = setting(point("inplace", N_SHARERS, regions=N_REGIONS)).workload.start(N_SHARERS)
    family = Family(1, N_REGIONS, N_SHARERS)
    populate(family, start)
    return family


@pytest.mark.parametrize("n_ticks", [*range(1, 403), 599, 600, 601, 1000, 60_000])
def test_steps_are_every_kth_tick_and_the_last(n_ticks):
    every = math.ceil(n_ticks / MAX_STEPS)
    assert steps(n_ticks).tolist() == sorted({*range(every, n_ticks + 1, every), n_ticks})
    assert steps(n_ticks).size <= MAX_STEPS


@pytest.mark.parametrize(("n_ticks", "n_steps"), [(1, 1), (199, 199), (200, 200), (201, 101), (1000, 200)])
def test_a_run_of_any_length_has_at_most_200_steps_and_ends_with_its_last_tick(n_ticks, n_steps):
    series = simulate(short(n_ticks))["series"]
    assert len(series["time_s"]) == n_steps
    assert series["time_s"][-1] == n_ticks * 0.5
    assert all(len(series[name][whose]) == n_steps for name in UNITS for whose in ("mean", "baseline"))


def test_times_are_the_ends_of_ticks(result):
    assert result["series"]["time_s"] == [60.0 * tick for tick in range(1, 11)]


def test_counts_end_at_the_totals(result):
    series, total = result["series"], totals(result)
    assert total["cost/collapses"] > 0
    assert series["series/pte_updates"]["mean"][-1] == pytest.approx(total["cost/pte_updates"], rel=1e-12)
    assert series["series/collapses"]["mean"][-1] == pytest.approx(total["cost/collapses"], rel=1e-12)
    assert series["series/pte_updates"]["baseline"] == [0.0] * 10


def test_the_state_ends_where_the_metrics_find_it(result):
    series, total = result["series"], totals(result)
    entries = series["series/lru_entries"]
    removed = entries["baseline"][-1] - entries["mean"][-1]
    assert removed == pytest.approx(total["benefit/lru_entries_removed"], rel=1e-12)
    fraction = series["series/pmd_mapped_fraction"]["mean"][-1]
    assert fraction > 0
    assert fraction == pytest.approx(total["benefit/pmd_mapped_fraction"], rel=1e-12)


def test_a_quiet_region_collapsed_at_once_is_one_folio_of_the_same_size():
    found = simulate(short(5, mechanism="inplace_pmd", worker_hot_writes_per_page_hour=0.0))["series"]
    expected = {
        "series/lru_entries": (1, HPAGE_PMD_NR),
        "series/memory_bytes": (HPAGE_PMD_NR * PAGE_SIZE_BYTES, HPAGE_PMD_NR * PAGE_SIZE_BYTES),
        "series/pmd_mapped_fraction": (1, 0),
        "series/collapses": (1, 0),
        "series/write_faults": (0, 0),
    }
    for name, (policy, baseline) in expected.items():
        assert found[name] == {"mean": [policy] * 5, "baseline": [baseline] * 5}


def test_without_a_collapse_memory_grows_by_one_page_a_copy(result):
    """The baseline's only new pages are those that writes copied; a reuse makes none."""
    series = result["series"]
    begun = float(started().pages_in_use[0] * PAGE_SIZE_BYTES)
    grown = (np.array(series["series/memory_bytes"]["baseline"]) - begun) / PAGE_SIZE_BYTES
    assert (grown <= np.array(series["series/write_faults"]["baseline"])).all()
    assert grown[-1] > 0


def test_counts_never_fall(result):
    for name, whose in itertools.product(COUNTED, ("mean", "baseline")):
        values = result["series"][name][whose]
        assert values == sorted(values)


def test_shares_stay_between_nothing_and_all(result):
    assert all(0 <= value <= 1 for value in result["series"]["series/pmd_mapped_fraction"]["mean"])


def test_the_baseline_equals_itself():
    series = simulate(short(20, mechanism="none"))["series"]
    assert all(series[name]["mean"] == series[name]["baseline"] for name in UNITS)


def test_policies_share_the_baseline(result):
    other = simulate(point("copy", N_SHARERS, regions=N_REGIONS, trigger=EACH))["series"]
    assert all(other[name]["baseline"] == result["series"][name]["baseline"] for name in UNITS)
    assert other["series/memory_bytes"]["mean"] != result["series"]["series/memory_bytes"]["mean"]


def test_the_same_seed_gives_the_same_numbers(result):
    again = simulate(point("inplace_pmd", N_SHARERS, regions=N_REGIONS, trigger=EACH))
    assert again["series"] == result["series"]


def test_a_series_is_plain_json_with_units(result):
    assert json.loads(json.dumps(result["series"])) == result["series"]
    assert {name: result["units"][name] for name in UNITS} == UNITS
    assert result["units"]["time_s"] == "s"
    assert set(result["series"]) == {"time_s", *UNITS}
