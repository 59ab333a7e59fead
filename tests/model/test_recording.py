"""Counts, then prices: a recorded run at other prices is the run that would have been simulated at them."""

import json
from typing import Any

import numpy as np
import pytest

from tests.model.points import point
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
    "page_walk_saved_ns": 5.0,
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
    known = point(mechanism, **workload)
    anew = recording(known, through_json(simulate(known))).cpu(
        {f"machine.{name}": value for name, value in prices.items()}
    )
    expected = simulate({**known, "machine": {**known["machine"], **prices}})["replicates"]
    for name, values in anew.items():
        assert values.tolist() == pytest.approx(expected[name], rel=1e-9, abs=1e-9, nan_ok=True), name


def test_accesses_that_miss_scale_what_the_tlb_costs() -> None:
    quiet = {"hot_regions": 0.0}  # another rate is another scene, with other events
    known, thrice = (point("inplace_pmd", **quiet, random_accesses_per_s=rate) for rate in (1e6, 3e6))
    anew = recording(known, simulate(known)).cpu({"workload.random_accesses_per_s": 3e6})
    assert anew["tradeoff/net_cpu_ms"].tolist() == pytest.approx(simulate(thrice)["replicates"]["tradeoff/net_cpu_ms"])


@pytest.mark.parametrize(("mechanism", "workload"), CASES)
def test_many_draws_at_once_are_each_priced_by_itself(mechanism: str, workload: dict[str, float]) -> None:
    known = point(mechanism, **workload)
    recorded, factors = recording(known, simulate(known)), np.array([[0.5], [1.0], [3.0]])
    keys = {f"machine.{name}": known["machine"][name] for name in OTHER} | {"workload.random_accesses_per_s": 1e6}
    together = recorded.cpu({key: value * factors for key, value in keys.items()})
    for number, (factor,) in enumerate(factors):
        alone = recorded.cpu({key: value * factor for key, value in keys.items()})
        for name, values in alone.items():
            assert together[name][number].tolist() == pytest.approx(values.tolist(), rel=1e-12, nan_ok=True), name


def test_sizes_are_no_prices() -> None:
    known = point("inplace")
    with pytest.raises(ThpsweepError, match="tlb_l2_entries: not a price"):
        recording(known, simulate(known)).cpu({"machine.tlb_l2_entries": 4.0})


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
