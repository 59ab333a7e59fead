"""What a mechanism of a user's own sees of rows, and what it says of them: young ptes, ages, writes, outcomes, counters."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from tests.contracts.gated import MACHINE, WORKLOAD, aged
from tests.kit.conftest import Load
from tests.model.points import point
from tests.reference.families import Family as Drawn
from thpsweep.model import draws, registry
from thpsweep.model.collapse.conditions import DrawnConditions, born_at_start
from thpsweep.model.collapse.view import DrawnView
from thpsweep.model.gates.base import Proposal
from thpsweep.model.mechanisms.visit import ScanLimits, Visit
from thpsweep.model.simulate import simulate

PICKY = '''
import dataclasses
import numpy as np
from thpsweep.model.mechanisms.inplace import Inplace
from thpsweep.model.state.counts import Counter

@dataclasses.dataclass
class Picky(Inplace):
    """Collapse odd regions alone."""

    outcomes = {"EVEN": "a region with an even number"}
    counters = {"numbers_looked_at": Counter("region numbers that were looked at", "numbers", PRICE)}

    def attempt(self, visit):
        visit.counts.add("numbers_looked_at", visit.replicates, 1)
        odd = visit.regions % 2 == 1
        results = np.full(visit.rows.size, self.outcome("EVEN"))
        results[odd] = super().attempt(visit.where(odd))
        return results
'''


def drawn_view(reads_per_page_hour: float, mapped: int, n: int, tick: int = 3) -> tuple[DrawnConditions, DrawnView]:
    """See so many regions of one process, of which it maps the first slots; ticks of 60 s, aged every hour."""
    from tests.model.replay import Replay

    cells = [(region, (0,), list(range(mapped)), 0) for region in range(n)]
    family = Replay(Drawn(n, 1, cells, {}, set(), {0}), {}).family
    workload = dataclasses.replace(WORKLOAD, reads_per_page_hour=reads_per_page_hour, aging_passes_per_hour=1.0)
    conditions = DrawnConditions(family, workload, draws.keys([(1, 0)], "scene"), 60.0, born_at_start(family))
    return conditions, DrawnView(conditions, tick)


def visit(conditions: DrawnConditions, view: DrawnView) -> Visit:
    from thpsweep.model.state.counts import Counts

    rows = np.arange(conditions.family.record_of.size)
    return Visit(conditions.family, Counts(1), rows, np.full(rows.size, 512), ScanLimits(), view)


@pytest.mark.parametrize(("rate", "mapped"), [(0.05, 300), (0.5, 512), (20.0, 7), (0.0, 9)])
def test_some_are_young_just_where_the_scan_found_some(rate: float, mapped: int) -> None:
    conditions, view = drawn_view(rate, mapped, 400)
    rows = np.arange(400)
    scanned = conditions.of_visit(rows, view.tick, khugepaged=True).young > 0
    assert (visit(conditions, view).young.any(axis=1) == scanned).all()


@pytest.mark.parametrize("rate", [1.0, 15.0])
def test_each_pte_is_young_with_the_chance_that_its_reads_give(rate: float) -> None:
    """240 s after the begin: 1 - exp(-rate / 15) of all mapped ptes, wherever they are, within 5 standard errors."""
    conditions, view = drawn_view(rate, 512, 2000)
    chance = -np.expm1(-rate * 240 / 3600)
    by_slot = visit(conditions, view).young.mean(axis=0)
    assert np.abs(by_slot - chance).max() < 5 * np.sqrt(chance * (1 - chance) / 2000)


def test_time_since_the_last_access_is_that_of_poisson_reads() -> None:
    """Of ptes read at rate r in the last T: the share idle for less than t is (1 - exp(-r t)) / (1 - exp(-r T))."""
    conditions, view = drawn_view(15.0, 512, 500)
    idle = visit(conditions, view).idle_s
    assert np.isinf(idle).any() and idle.min() >= 0 and idle[np.isfinite(idle)].max() <= 240
    for t in (30, 60, 120, 200):
        expected = np.expm1(-15 * t / 3600) / np.expm1(-15 * 240 / 3600)
        assert (idle < t).sum() / np.isfinite(idle).sum() == pytest.approx(expected, abs=0.006)


def test_nothing_is_young_that_is_not_mapped() -> None:
    conditions, view = drawn_view(1e6, 100, 5)
    seen = visit(conditions, view)
    assert seen.young[:, :100].all() and not seen.young[:, 100:].any() and (seen.mapped == seen.young).all()


def policy(kind: str, **more: Any) -> dict[str, Any]:
    spec = registry.spec(registry.build("mechanism", {"kind": kind}))
    one = point("inplace", 4, **more)
    return {**one, "policy": {**one["policy"], "name": kind, "mechanism": spec}}


def test_own_outcomes_have_their_names_and_sentences(load: Load) -> None:
    load("picky", PICKY.replace("PRICE", "None"))
    result = simulate(policy("picky", trigger={"kind": "madvise", "at_s": [60.0], "callers": "root"}))
    assert result["outcomes"] == {"SUCCEED": 4, "EVEN": 4}, "4 regions, 2 replicates"
    alone = simulate(policy("picky", regions=1))
    assert "a region with an even number (EVEN)" in alone["facts"]["note_refused"]
    assert set(alone["outcomes"]) == {"EVEN"} and alone["metrics"]["cost/aborts"]["mean"] == 0


@pytest.mark.parametrize(("price", "each_ns"), [("None", 0.0), ("2.5e6", 2.5e6), ('"copy_page_ns"', None)])
def test_own_counters_are_metrics_with_a_unit_and_a_price(load: Load, price: str, each_ns: float | None) -> None:
    load("picky", PICKY.replace("PRICE", price))
    once = {"kind": "madvise", "at_s": [60.0], "callers": "root"}
    free, priced = (simulate(policy("picky", trigger=once)) for _ in range(2))
    assert (
        free["replicates"]["cost/numbers_looked_at"] == [4, 4] and free["units"]["cost/numbers_looked_at"] == "numbers"
    )
    assert priced["own"] == ["cost/numbers_looked_at"], "first in MLflow, and a column of the table"
    each_ns = MACHINE.copy_page_ns if each_ns is None else each_ns
    odd = point("inplace", 4, trigger=once)
    without = simulate(odd)["metrics"]
    half = without["cost/cpu_ms"]["mean"] - priced["metrics"]["cost/cpu_ms"]["mean"] + 4 * each_ns / 1e6
    scanning = 4 * 512 * MACHINE.pte_scan_ns / 1e6
    assert half == pytest.approx((without["cost/cpu_ms"]["mean"] - scanning) / 2, rel=0.02)


def test_the_same_price_holds_when_it_is_priced_anew(load: Load) -> None:
    from thpsweep.model.metrics.repricing import recording

    load("picky", PICKY.replace("PRICE", "1e6"))
    one = policy("picky")
    result = simulate(one)
    assert recording(one, result).cpu()["cost/cpu_ms"].tolist() == result["replicates"]["cost/cpu_ms"]


def test_a_counter_that_is_none_is_named_beside_those_that_are(load: Load) -> None:
    load("picky", PICKY.replace("PRICE", "None").replace('add("numbers', 'add("letters'))
    with pytest.raises(ValueError, match=r"no counter 'letters_looked_at'; there are numbers_looked_at, .* others"):
        simulate(policy("picky"))


def test_an_outcome_that_is_none_is_named_beside_those_that_are(load: Load) -> None:
    load("picky", PICKY.replace("PRICE", "None").replace('outcome("EVEN")', 'outcome("ODD")'))
    with pytest.raises(ValueError, match=r"no outcome 'ODD'; Picky.outcomes has EVEN"):
        simulate(policy("picky"))


@pytest.mark.parametrize("answer", ["visit.rows > 0", "None", "visit.rows[:1]", "[0]"])
def test_an_answer_that_is_none_is_refused(load: Load, answer: str) -> None:
    load("picky", PICKY.replace("PRICE", "None").replace("return results", f"return {answer}"))
    with pytest.raises(ValueError, match=r"Picky.attempt\(\) gave .*; expected outcomes, int of shape"):
        simulate(policy("picky", regions=3))


WRITTEN = '''
import dataclasses
import numpy as np
from thpsweep.model.gates.base import Gate

@dataclasses.dataclass
class Unwritten(Gate):
    """Let pass what its process has not written to so far."""

    remembers_writes = True

    def allow(self, state, proposal):
        assert (proposal.visit.age_s > 0).all()
        return proposal.visit.write_faults == 0
'''


def test_write_faults_so_far_are_seen(load: Load) -> None:
    """Half of the regions are written again and again, the other half never."""
    load("unwritten", WRITTEN)
    rates = {"worker_hot_writes_per_page_hour": 60.0, "root_hot_writes_per_page_hour": 60.0}
    rates |= {"worker_cold_writes_per_page_hour": 0.0, "root_cold_writes_per_page_hour": 0.0}
    once = {"kind": "madvise", "at_s": [300.0], "callers": "root"}
    one = point("inplace", 4, hot_regions=0.5, trigger=once, worker_life_s=0.0, **rates)
    one["policy"]["gate"] = registry.spec(registry.build("gate", {"kind": "unwritten"}))
    assert simulate(one)["outcomes"] == {"SUCCEED": 4, "GATE_REFUSED": 4}


def test_a_rehearsal_sees_what_the_attempt_will(load: Load) -> None:
    text = PICKY.replace("PRICE", "None").replace("visit.regions % 2 == 1", "visit.idle_s.min(axis=1) < 40")
    load("picky", text)
    conditions, view = drawn_view(3.0, 2, 30)
    rows = np.arange(5, 30)
    made = registry.build("mechanism", {"kind": "picky"})
    seen = visit(conditions, view).where(rows)
    asked = Proposal(seen.family, seen.counts, made, rows, ScanLimits(), MACHINE, WORKLOAD, 0.0, view)
    foreseen = asked.rehearsal.counts.total["collapses"]
    assert (foreseen == (asked.visit.idle_s.min(axis=1) < 40)).all() and 0 < foreseen.sum() < 25


def test_whose_turn_it_is_and_what_it_maps() -> None:
    replay = aged(5)
    rows = np.flatnonzero(replay.family.record_of)
    seen = Visit(replay.family, replay.counts, rows, np.full(rows.size, 512), ScanLimits())
    assert (seen.regions * replay.family.n_sharers + seen.sharers == rows).all()
    assert not (seen.shared & ~seen.mapped).any() and not (seen.in_folio & ~seen.mapped).any()
