"""Who gains what from fewer page walks, against closed forms: planted cases in which the answer is known beforehand."""

from typing import Any

import numpy as np
import pytest

from tests.model.points import option, point, totals
from thpsweep.model import registry
from thpsweep.model.accounting.translation import Forms, Law, Rates, busy, process_seconds, uncached
from thpsweep.model.metrics.tradeoff import crossing_s
from thpsweep.model.simulate import simulate

MACHINE = registry.build("machine", option("machine", "milan_vm"))
STILL: dict[str, Any] = {"hot_regions": 0.0}
AT_ONCE = {"kind": "madvise", "at_s": [0.0], "callers": "root"}


def rates(**changed: float) -> Rates:
    known = {"root_cpu_share": 0.5, "worker_cpu_share": 0.25, "page_walk_share": 0.1, "reach_exponent": 0.5}
    return Rates(**{**known, **changed})


def machine(**changed: float) -> Any:
    return registry.build("machine", {**option("machine", "milan_vm"), **changed})


def gain(mechanism: str, degree: int = 4, cpus: int = 64, **changed: Any) -> dict[str, float]:
    made = point(mechanism, degree, trigger=AT_ONCE, **{**STILL, **changed})
    return totals(simulate({**made, "machine": {**made["machine"], "cpus": cpus}}))


def test_a_root_that_does_not_run_gains_nothing_from_its_own_copy() -> None:
    """copy in the root alone: the workers, who run, map what they mapped before."""
    assert gain("copy", root_cpu_share=0.0)["benefit/tlb_ms_saved"] == 0
    assert gain("copy", root_cpu_share=0.5)["benefit/tlb_ms_saved"] > 0


def test_workers_that_do_not_run_gain_nothing() -> None:
    idle = gain("inplace_pmd", root_cpu_share=0.0, worker_cpu_share=0.0)
    assert idle["benefit/tlb_ms_saved"] == 0
    assert idle["tradeoff/break_even_walk_share"] == np.inf


@pytest.mark.parametrize("mechanism", ["inplace_pmd", "retract"])
def test_twice_the_cpus_in_use_gain_twice_as_much(mechanism: str) -> None:
    once, twice = (gain(mechanism, worker_cpu_share=share)["benefit/tlb_ms_saved"] for share in (0.25, 0.5))
    assert twice == pytest.approx(2 * once) and once > 0


def test_processes_share_the_cpus_that_there_are() -> None:
    root, worker = busy(rates(), machine(cpus=2), 100)
    assert root + 99 * worker == pytest.approx(2) and root / worker == pytest.approx(2)
    assert busy(rates(), machine(cpus=64), 100) == (0.5, 0.25)


@pytest.mark.parametrize("exponent", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("degree", [1, 4, 40])
def test_the_gain_of_pmds_is_the_share_of_cycles_that_they_remove(exponent: float, degree: int) -> None:
    """c CPUs for 600 s, s of their cycles in walks; 512 ** -exponent of these remain, each to a cached entry."""
    found = gain(
        "inplace_pmd", degree, root_cpu_share=0.5, worker_cpu_share=0.5, reach_exponent=exponent, page_walk_share=0.1
    )
    table_bytes = degree * 4 * 512 * 8
    lost = max(0.0, 1 - MACHINE.page_table_cache_bytes / table_bytes)
    walk_ns = MACHINE.page_walk_ns + lost * (MACHINE.page_walk_uncached_ns - MACHINE.page_walk_ns)
    left = 512**-exponent * MACHINE.page_walk_ns / walk_ns
    assert found["benefit/tlb_ms_saved"] == pytest.approx(0.5 * degree * 600e3 * 0.1 * (1 - left))


@pytest.mark.parametrize("coalesce", [1, 4, 16])
def test_ptes_of_a_folio_gain_what_shares_an_entry(coalesce: int) -> None:
    forms, nobody = Forms(*np.array([[0], [8192], [0]])), Forms(*np.zeros((3, 1), np.int64))
    law = Law(machine(tlb_coalesce=coalesce), rates(), 1, np.zeros(1))
    seconds = process_seconds(forms, nobody, np.zeros(1, np.int64), machine(), rates(), 60.0)
    assert law.ns(seconds)[0] == pytest.approx(0.5 * 60e9 * 0.1 * coalesce**-0.5)


@pytest.mark.parametrize(("group", "share"), [(1, 0.0), (4, 0.5), (16, 0.25)])
def test_what_contiguous_small_pages_save_already_is_no_gain(group: int, share: float) -> None:
    """Half of the ptes are in groups of 4, a quarter in groups of 16: these miss group ** -0.5 times as often as it is."""
    nobody, n = Forms(*np.zeros((3, 1), np.int64)), np.zeros(1, np.int64)
    seen = rates(contiguous_4=0.5, contiguous_16=0.25)
    law = Law(machine(tlb_coalesce=group), seen, 1, np.zeros(1))
    left = [
        float(law.ns(process_seconds(Forms(*np.array(forms)[:, None]), nobody, n, machine(), seen, 60.0))[0])
        for forms in ((8192, 0, 0), (0, 8192, 0), (0, 0, 16))
    ]
    as_it_is = 1 - share + share * group**-0.5
    expected = (1.0, group**-0.5 / as_it_is, 512**-0.5 / as_it_is)
    assert left == pytest.approx([0.5 * 60e9 * 0.1 * one for one in expected])


def test_where_all_pages_are_contiguous_ptes_of_a_folio_gain_nothing() -> None:
    seen = rates(contiguous_4=1.0, contiguous_16=1.0)
    for group in (4.0, 16.0):
        assert seen.as_it_is(group) == pytest.approx(group**-0.5)


def test_a_mixture_gains_by_its_parts() -> None:
    """Half of the bytes by PMD, half by small pages: no cliff anywhere."""
    nobody, n = Forms(*np.zeros((3, 1), np.int64)), np.zeros(1, np.int64)
    law = Law(machine(), rates(), 1, np.zeros(1))

    def ns(small: int, pmds: int) -> float:
        forms = Forms(np.array([small]), np.array([0]), np.array([pmds]))
        return float(law.ns(process_seconds(forms, nobody, n, machine(), rates(), 1.0))[0])

    assert ns(5120, 10) == pytest.approx((ns(10240, 0) + ns(0, 20)) / 2)


def test_walks_are_dearer_where_the_page_tables_do_not_fit_the_cache() -> None:
    cache = MACHINE.page_table_cache_bytes
    assert uncached(np.array([cache / 2, cache, 2 * cache, 4 * cache]), MACHINE).tolist() == [0, 0, 0.5, 0.75]


def test_a_table_that_all_share_takes_the_cache_once_until_they_write() -> None:
    """40 x 16 KiB do not fit 512 KiB, 16 KiB do; once every worker has written, 40 tables do not again."""
    still = {**STILL, "root_cpu_share": 0.5, "worker_cpu_share": 0.25, "worker_cold_writes_per_page_hour": 0.0}
    writes = {**still, "worker_cold_writes_per_page_hour": 1000.0}
    found = {
        (mechanism, name): simulate(point(mechanism, 40, **rates))["counted"]
        for mechanism in ("inplace", "shared_table")
        for name, rates in (("still", still), ("writes", writes))
    }
    lost = 1 - MACHINE.page_table_cache_bytes / (40 * 4 * 512 * 8)
    assert found["inplace", "still"]["small_uncached"] == pytest.approx([lost] * 2)
    shared = found["shared_table", "still"]
    assert shared["small_uncached"] == [0, 0] and "worker_small_uncached_s" not in shared["baseline"]
    in_all, uncached_s = (
        found["shared_table", "writes"]["baseline"][f"worker_small{part}_s"] for part in ("", "_uncached")
    )
    assert uncached_s == pytest.approx([lost * one for one in in_all], rel=1e-6)


def test_the_break_even_share_is_where_the_net_is_zero() -> None:
    at = gain("inplace_pmd", 16, page_walk_share=0.02)["tradeoff/break_even_walk_share"]
    assert 0 < at < 0.02
    found = gain("inplace_pmd", 16, page_walk_share=at)
    assert found["tradeoff/net_cpu_ms"] == pytest.approx(0, abs=1e-6 * found["cost/cpu_ms"])


@pytest.mark.parametrize(
    ("gains", "costs", "expected"),
    [
        ([20, 20], [10, 0], 5.0),  # half of the first tick's gain makes up for its cost
        ([5, 5, 10], [15, 0, 0], 25.0),
        ([15, 0, 10], [10, 10, 0], 25.0),  # paid back, and lost again
        ([20, 20], [0, 0], 0.0),
        ([0, 10], [0, 0], 10.0),
        ([5, 5], [15, 0], np.inf),
        ([5, 5], [0, 15], np.inf),
        ([5, 5], [10, 0], np.inf),  # zero is not above zero
        ([-5, 10], [0, 0], 15.0),
    ],
)
def test_it_pays_back_when_the_net_is_above_zero_for_good(
    gains: list[float], costs: list[float], expected: float
) -> None:
    gain, cost = (np.array(values, np.float64)[:, None] for values in (gains, costs))
    assert crossing_s(gain, cost, 10.0)[0] == pytest.approx(expected)


def test_when_it_pays_back_does_not_depend_on_the_length_of_the_run() -> None:
    """The same scene for 30 minutes to 8 hours: the run's draws differ, the moment does not."""
    found = [
        gain("inplace_pmd", 64, cpus=2, page_walk_share=2e-3, run={"duration_s": hours * 3600, "tick_s": 10.0})
        for hours in (0.5, 1, 8)
    ]
    moments = [one["tradeoff/payback_s"] for one in found]
    assert all(0 < moment < 1800 for moment in moments)
    assert moments == pytest.approx([moments[0]] * 3, rel=1e-6)


def test_a_run_that_is_too_short_says_so_and_guesses_nothing() -> None:
    short = point("inplace_pmd", 64, trigger=AT_ONCE, page_walk_share=1e-6, **STILL)
    assert totals(simulate(short))["tradeoff/payback_s"] == np.inf


def test_without_swap_there_is_no_reclaim_to_save() -> None:
    assert gain("inplace", reclaim="none", aging_passes_per_hour=60.0)["benefit/reclaim_ms_saved"] == 0
    assert gain("inplace", reclaim="classic", aging_passes_per_hour=60.0)["benefit/reclaim_ms_saved"] > 0


def test_mglru_saves_nothing_on_page_tables_that_stay() -> None:
    """It walks page tables: ptes of a folio take as long as those of small pages; only what it sorts has got fewer."""
    made = point("inplace", trigger=AT_ONCE, reclaim="mglru", aging_passes_per_hour=60.0, **STILL)
    for folio_ns in (0.0, 50.0):
        found = totals(simulate({**made, "machine": {**made["machine"], "mglru_folio_ns": folio_ns}}))
        rounds = 60.0 * 600 / 3600
        assert found["benefit/reclaim_ms_saved"] == pytest.approx(rounds * 4 * 511 * folio_ns / 1e6)


@pytest.mark.parametrize("name", ["milan_vm", "zen5_vm", "xeon_4210r", "i5_laptop"])
def test_mglru_walks_pmds_eighteen_times_as_fast(name: str) -> None:
    """382 against 21 ns a page of 4 KiB: Linux 6.12, emulated, 97 processes of 16 MiB."""
    prices = option("machine", name)
    assert 512 * prices["mglru_pte_ns"] / prices["mglru_pmd_ns"] == pytest.approx(382 / 21, rel=0.01)
    made = point("inplace_pmd", trigger=AT_ONCE, reclaim="mglru", aging_passes_per_hour=60.0, **STILL)
    found = totals(simulate({**made, "machine": {**prices, "mglru_folio_ns": 0.0}}))
    before_ms = 60.0 * 600 / 3600 * 4 * 4 * 512 * prices["mglru_pte_ns"] / 1e6
    assert found["benefit/reclaim_ms_saved"] == pytest.approx(before_ms * (1 - 21 / 382), rel=0.01)
