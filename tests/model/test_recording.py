"""Counts, then prices: a recorded run at other prices is the run that would have been simulated at them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.model.layouts import layout_of
from tests.model.points import option, point
from thpsweep.errors import ThpsweepError
from thpsweep.model.metrics.repricing import FED_BACK, recording
from thpsweep.model.simulate import simulate

CASES = [
    ("inplace", {"worker_life_s": 600.0}),
    ("copy", {"worker_cold_writes_per_page_hour": 2.0}),
    ("inplace_pmd", {"root_cold_writes_per_page_hour": 1.0}),
    ("switch", {"pins_per_process_hour": 4.0}),
    ("shared_table", {"worker_life_s": 600.0}),
    ("none", {}),
]
OTHER = {
    "pte_switch_ns": 31.0,
    "ipi_ns": 1500.0,
    "age_folio_ns": 99.0,
    "page_walk_ns": 5.0,
    "page_walk_uncached_ns": 50.0,
    "tlb_coalesce": 4.0,
    "cow_fault_ns": 700.0,
}


def through_json(result: dict[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(json.dumps(result))
    return read


@pytest.mark.parametrize(("mechanism", "workload"), CASES)
@pytest.mark.parametrize("prices", [{}, OTHER], ids=["same", "other"])
def test_pricing_anew_is_simulating_at_these_prices(
    mechanism: str, workload: dict[str, float], prices: dict[str, float]
) -> None:
    known = point(mechanism, **workload, reclaim="classic", root_cpu_share=0.3)
    changed = {f"machine.{name}": value for name, value in prices.items()}
    anew = recording(known, through_json(simulate(known))).cpu(changed)
    expected = simulate({**known, "machine": {**known["machine"], **prices}})["replicates"]
    for name, values in anew.items():
        assert values.tolist() == pytest.approx(expected[name], rel=1e-9, abs=1e-9, nan_ok=True), name


RATES = {"root_cpu_share": 0.1, "worker_cpu_share": 0.4, "page_walk_share": 0.07, "reach_exponent": 0.3}


def test_rates_of_translation_are_priced_anew_too() -> None:
    quiet = {"hot_regions": 0.0}  # another rate is another scene, with other events
    known, other = point("inplace_pmd", **quiet, root_cpu_share=0.3), point("inplace_pmd", **quiet, **RATES)
    anew = recording(known, simulate(known)).cpu({f"workload.{name}": value for name, value in RATES.items()})
    expected = simulate(other)["replicates"]
    for name in ("tradeoff/net_cpu_ms", "tradeoff/break_even_walk_share"):
        assert anew[name].tolist() == pytest.approx(expected[name])


@pytest.mark.parametrize("group", [1.0, 4.0, 16.0])
def test_contiguity_of_a_captured_tree_is_recorded_with_the_rates(group: float, tmp_path: Path) -> None:
    facts = {"ptes": 100, "ptes_in_groups_of_4": 60, "ptes_in_groups_of_16": 20}
    cells = {(0, slot): (0, str(slot)) for slot in range(512)}
    layout_of([cells, cells, cells], provenance=facts).save(tmp_path / "tree.npz")
    captured = {"kind": "captured", **option("workload", "captured"), "path": str(tmp_path / "tree.npz")}
    known = {**point("inplace", 3), "workload": captured}
    recorded = recording(known, through_json(simulate(known)))
    assert (recorded.rates.contiguous_4, recorded.rates.contiguous_16) == (0.6, 0.2)
    assert not any("contiguous" in key for key in recorded.keys)
    other = {**known, "machine": {**known["machine"], "tlb_coalesce": group}}
    expected = simulate(other)["replicates"]["benefit/tlb_ms_saved"]
    assert recorded.cpu({"machine.tlb_coalesce": group})["benefit/tlb_ms_saved"].tolist() == pytest.approx(expected)
    assert (expected[0] > 0) == (group > 1)


def test_draws_of_many_prices_are_each_draw_alone() -> None:
    known = point("inplace_pmd", reclaim="classic", worker_life_s=300.0)
    found, rng = recording(known, simulate(known)), np.random.default_rng(1)
    factors = {key: rng.uniform(0.5, 1.0, (5, 1)) for key in found.keys}
    together = found.cpu({key: found.keys[key] * factor for key, factor in factors.items()})
    for draw in range(5):
        alone = found.cpu({key: found.keys[key] * float(factor[draw, 0]) for key, factor in factors.items()})
        for name, values in alone.items():
            assert np.broadcast_to(together[name], (5, 2))[draw].tolist() == pytest.approx(values.tolist()), name


@pytest.mark.parametrize("key", ["machine.page_table_cache_bytes", "machine.cpus", "workload.regions", "machine.typo"])
def test_sizes_are_no_prices(key: str) -> None:
    known = point("inplace")
    with pytest.raises(ThpsweepError, match=f"{key}: not a price"):
        recording(known, simulate(known)).cpu({key: 4.0})


@pytest.mark.parametrize("gate", ["payback", "budget"])
def test_a_gate_that_compares_costs_forbids_it(gate: str) -> None:
    known = point("inplace")
    known["policy"]["gate"] = {"kind": gate}
    with pytest.raises(ThpsweepError, match=FED_BACK):
        recording(known, simulate(known))


def test_a_cap_on_ptes_does_not() -> None:
    known = point("inplace")
    known["policy"]["gate"] = {"kind": "all_of", "gates": [{"kind": "max_ptes"}, {"kind": "always"}]}
    assert recording(known, simulate(known)).cpu()["cost/cpu_ms"].shape == (known["run"]["replicates"],)


def test_an_old_record_says_that_it_has_no_counts() -> None:
    known = point("inplace")
    result = {key: value for key, value in simulate(known).items() if key != "counted"}
    with pytest.raises(ThpsweepError, match="older version"):
        recording(known, result)
