"""What each gate lets pass: exactly at its limit, and one beyond."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from tests.contracts.gated import MACHINE, MECHANISMS, PTES, SHARED, WORKLOAD, guarded, passes, plain, proposal, visit
from tests.model.points import option, point
from tests.model.replay import Replay
from tests.reference.families import Family as Drawn
from thpsweep.errors import OptionError
from thpsweep.model import registry
from thpsweep.model.accounting.prices import collapse_ns
from thpsweep.model.collapse.scan import VisitConditions
from thpsweep.model.gates.base import Gate
from thpsweep.model.setting import setting
from thpsweep.model.simulate import _prepare, simulate
from thpsweep.model.state.counts import PTE_UPDATES

# ---- max_ptes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "outcome"), [(PTES, "SUCCEED"), (PTES - 1, "GATE_REFUSED")])
def test_max_ptes_lets_the_limit_itself_pass(limit: int, outcome: str) -> None:
    gate = registry.build("gate", {"kind": "max_ptes", "max_ptes": limit})
    assert visit(guarded(plain(), gate), [0]) == [outcome]


# ---- budget ----------------------------------------------------------------------------------------------------------

UPDATES = 2 * PTES
"""What one `inplace` attempt takes on a plain family."""


def budget(**given: float | None) -> Gate:
    return registry.build("gate", {"kind": "budget", "pte_updates_per_s": None, "burst_s": 1.0, **given})


@pytest.mark.parametrize(("rate", "outcome"), [(UPDATES, "SUCCEED"), (UPDATES - 1, "GATE_REFUSED")])
def test_a_full_bucket_holds_exactly_its_burst(rate: float, outcome: str) -> None:
    assert visit(guarded(plain(), budget(pte_updates_per_s=rate)), [0]) == [outcome]


def test_a_bucket_empties_in_the_order_of_the_scans() -> None:
    collapser = guarded(plain(n_regions=4), budget(pte_updates_per_s=2 * UPDATES))
    rows = [region * SHARED for region in range(4)]
    assert visit(collapser, rows) == ["SUCCEED", "SUCCEED", "GATE_REFUSED", "GATE_REFUSED"]


def test_a_bucket_fills_with_time_up_to_its_burst() -> None:
    collapser = guarded(plain(n_regions=6), budget(pte_updates_per_s=UPDATES / 10, burst_s=20.0))
    rows = [region * SHARED for region in range(6)]
    assert visit(collapser, rows[:3]) == ["SUCCEED", "SUCCEED", "GATE_REFUSED"]
    assert visit(collapser, rows[2:3], now_s=9.9) == ["GATE_REFUSED"]
    assert visit(collapser, rows[2:4], now_s=10.0) == ["SUCCEED", "GATE_REFUSED"]
    assert visit(collapser, rows[3:], now_s=1000.0) == ["SUCCEED", "SUCCEED", "GATE_REFUSED"]


def test_replicates_have_buckets_of_their_own() -> None:
    members = tuple(range(SHARED))
    cells = [(region, members, list(range(512)), 0) for region in range(2)]
    replay = Replay(Drawn(2, SHARED, cells, {}, set(), set(members)), {}, n_replicates=2)
    collapser = guarded(replay, budget(pte_updates_per_s=UPDATES))
    assert visit(collapser, [0, 3, 6, 9]) == ["SUCCEED", "GATE_REFUSED", "SUCCEED", "GATE_REFUSED"]


def test_a_failed_attempt_is_charged_what_it_wasted() -> None:
    replay = plain(n_regions=2)
    collapser = guarded(
        replay, budget(pte_updates_per_s=UPDATES + 2 * 101 * SHARED)
    )  # page 100 is counted once its entries are set
    late = np.array([100])
    collapser.conditions = lambda rows, tick, khugepaged: VisitConditions(np.full(1, 512), np.zeros(1, bool), late)
    assert visit(collapser, [0]) == ["PAGE_COUNT"]
    late = np.array([512])
    assert visit(collapser, [0]) == ["SUCCEED"]
    assert visit(collapser, [SHARED]) == ["GATE_REFUSED"]


@pytest.mark.parametrize(("more", "outcome"), [(1.0, "SUCCEED"), (0.999, "GATE_REFUSED")])
def test_cpu_time_is_measured_by_the_price_list(more: float, outcome: str) -> None:
    replay = plain()
    cpu_ms = float(collapse_ns(proposal(replay).rehearsal.counts, MACHINE, SHARED)[0]) / 1e6
    assert visit(guarded(replay, budget(cpu_ms_per_s=cpu_ms * more)), [0]) == [outcome]


def test_both_budgets_must_have_enough() -> None:
    assert visit(guarded(plain(), budget(pte_updates_per_s=UPDATES, cpu_ms_per_s=0.0)), [0]) == ["GATE_REFUSED"]
    assert visit(guarded(plain(), budget(pte_updates_per_s=0, cpu_ms_per_s=1e9)), [0]) == ["GATE_REFUSED"]


@pytest.mark.parametrize("rate", [20.0, 40.0])
def test_a_run_takes_its_budget_and_never_more(rate: float) -> None:
    asked = point("inplace", 4, regions=16, trigger={"kind": "khugepaged"}, reads_per_page_hour=1e6)
    asked["policy"]["gate"] = {"kind": "budget", "pte_updates_per_s": rate, "burst_s": 600.0}
    result = simulate(asked)
    # The bucket is full until the first tick ends, at 60 s; what is left in the end is less than one attempt takes.
    given = rate * (600 + 540)
    for updates in result["replicates"]["cost/pte_updates"]:
        assert given - 2 * 512 * 4 < updates <= given


# ---- payback ---------------------------------------------------------------------------------------------------------


def payback(**given: Any) -> Any:
    return registry.build("gate", {"kind": "payback", **given})


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_payback_asks_whether_the_gain_over_the_horizon_exceeds_the_cost(mechanism: str) -> None:
    asked = proposal(plain(), mechanism)
    gain, cost = float(payback().gain_ns_per_s(asked)[0]), float(payback().attempt_ns(asked)[0])
    for more, expected in ((1.001, True), (0.999, False)):
        assert passes(payback(horizon_s=cost / abs(gain) * more), asked) == (expected and gain > 0)


def test_as_much_as_it_costs_is_not_enough() -> None:
    asked = proposal(plain())
    gain = float(payback().gain_ns_per_s(asked)[0])
    assert not passes(payback(horizon_s=2.0, cost_ns=2.0 * gain), asked)
    assert passes(payback(horizon_s=2.0, cost_ns=float(np.nextafter(2.0 * gain, 0))), asked)


def test_gain_of_inplace_is_what_the_price_list_says() -> None:
    """511 folios less to age, 512 * 3 ptes aged and 512 forked and cleared as a folio's; 2 lives end every 600 s."""
    asked, price = proposal(plain()), option("machine", "milan_vm")
    passes_per_s = WORKLOAD.aging_passes_per_hour / 3600
    small, compound = price["age_small_pte_ns"], price["age_compound_pte_ns"]
    aging = (511 * price["age_folio_ns"] + PTES * (small - compound)) * passes_per_s
    fork = 512 * (price["fork_pte_small_ns"] - price["fork_pte_compound_ns"]) * 2 / 600
    leave = 512 * (price["exit_pte_small_ns"] - price["exit_pte_compound_ns"]) * 2 / 600
    for gains, expected in ((["aging"], aging), (["fork"], fork), (["exit"], leave), (["fork", "aging"], fork + aging)):
        assert payback(gains=gains).gain_ns_per_s(asked)[0] == pytest.approx(expected)
    assert payback(gains=["tlb"]).gain_ns_per_s(asked)[0] == 0, "ptes only"


def test_tlb_gains_are_the_page_walks_that_the_collapse_removes() -> None:
    """One of 8 regions by PMD in each of 3 processes on 2 CPUs: of that eighth of the walks 512 ** -0.5 remain."""
    asked = proposal(plain(n_regions=8), "inplace_pmd")
    per_s = 3 * 0.25 * WORKLOAD.page_walk_share / 8 * (1 - 512**-WORKLOAD.reach_exponent)
    for given, factor in (({}, 1.0), ({"miss_ns": 11.0}, 11.0 / MACHINE.page_walk_ns)):
        found = payback(gains=["tlb"], **given).gain_ns_per_s(asked)[0]
        assert found == pytest.approx(per_s * factor * 1e9)


@pytest.mark.parametrize(("mechanism", "tables"), [("inplace", SHARED), ("shared_table", 1)])
def test_a_table_that_all_share_takes_the_cache_once(mechanism: str, tables: int) -> None:
    """Of 4 KiB a table 4 KiB fit; a walk of miss_ns instead of what the machine's take, of which 4 ** -0.5 remain."""
    machine = dataclasses.replace(MACHINE, tlb_coalesce=4.0, page_table_cache_bytes=4096.0)
    forked = _prepare(setting(point(mechanism, SHARED, regions=1)))
    asked = dataclasses.replace(
        proposal(plain(), mechanism), family=forked.family, counts=forked.counts, machine=machine
    )
    walk_ns = machine.page_walk_ns + (machine.page_walk_uncached_ns - machine.page_walk_ns) * (1 - 1 / tables)
    per_s = 3 * 0.25 * WORKLOAD.page_walk_share * (1 - 4**-WORKLOAD.reach_exponent)
    found = payback(gains=["tlb"], miss_ns=11.0).gain_ns_per_s(asked)[0]
    assert found == pytest.approx(per_s * 11.0 / walk_ns * 1e9)


def test_payback_refuses_what_only_costs() -> None:
    """A worker's private copy makes no fork of the root cheaper, the root's own does: no horizon is long enough."""
    assert not passes(payback(gains=["fork"], horizon_s=1e12), proposal(plain(), "copy", row=1))
    assert passes(payback(gains=["fork"], horizon_s=1e12), proposal(plain(), "copy", row=0))


# ---- all_of ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, -1])
def test_all_of_lets_pass_what_all_let_pass(order: int) -> None:
    wide, narrow = {"kind": "max_ptes", "max_ptes": PTES}, {"kind": "max_ptes", "max_ptes": PTES - 1}
    for gates, outcome in (([wide, wide], "SUCCEED"), ([wide, narrow], "GATE_REFUSED")):
        gate = registry.build("gate", {"kind": "all_of", "gates": gates[::order]})
        assert visit(guarded(plain(), gate), [0]) == [outcome]


def test_all_of_charges_a_budget_only_for_what_the_others_let_pass() -> None:
    replay = Replay(
        Drawn(2, 2, [(0, (0, 1), list(range(512)), 0), (1, (0, 1), list(range(100)), 0)], {}, set(), {0, 1}), {}
    )
    spec = [{"kind": "max_ptes", "max_ptes": 200}, {"kind": "budget", "pte_updates_per_s": 400, "burst_s": 1.0}]
    gate = registry.build("gate", {"kind": "all_of", "gates": spec})
    assert visit(guarded(replay, gate), [0, 2]) == ["GATE_REFUSED", "SUCCEED"]
    assert np.sum([replay.counts.total[kind] for kind in PTE_UPDATES]) == 400


def test_gates_nest() -> None:
    inner = {"kind": "all_of", "gates": [{"kind": "max_ptes", "max_ptes": 0}]}
    gate = registry.build("gate", {"kind": "all_of", "gates": [{"kind": "always"}, inner]})
    assert visit(guarded(plain(), gate), [0]) == ["GATE_REFUSED"]


# ---- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "max_ptes", "max_ptes": -1},
        {"kind": "max_ptes", "max_ptes": 1.5},
        {"kind": "budget", "pte_updates_per_s": -1.0},
        {"kind": "budget", "pte_updates_per_s": None},
        {"kind": "budget", "burst_s": 0.0},
        {"kind": "payback", "horizon_s": 0},
        {"kind": "payback", "horizon_s": float("inf")},
        {"kind": "payback", "gains": []},
        {"kind": "payback", "gains": ["luck"]},
        {"kind": "payback", "cost_ns": -1.0},
        {"kind": "all_of", "gates": [{"kind": "max_ptes", "max_ptes": -1}]},
        {"kind": "all_of", "gates": [{"kind": "nothing"}]},
        {"kind": "all_of", "gates": ["always"]},
    ],
    ids=str,
)
def test_bad_options_are_refused_by_name(spec: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r"gate\."):
        registry.build("gate", spec)


def test_a_run_says_that_a_gate_kept_everything_back() -> None:
    asked = point("inplace", 4)
    asked["policy"]["gate"] = {"kind": "max_ptes", "max_ptes": 0}
    result = simulate(asked)
    assert set(result["outcomes"]) == {"GATE_REFUSED"}
    assert "gate" in result["facts"]["note_refused"]


def test_a_point_without_a_gate_has_none() -> None:
    asked = point("inplace", 4)
    assert str(simulate(asked)) == str(simulate({**asked, "policy": {**asked["policy"], "gate": {"kind": "always"}}}))
