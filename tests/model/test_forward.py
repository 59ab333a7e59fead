"""Passes that are gone over at once are those that are made one by one: every count, lock hold, series and cursor."""

import dataclasses
from typing import Any, ClassVar

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.model.points import option, point
from thpsweep.model import registry
from thpsweep.model.collapse import forward
from thpsweep.model.gates.base import Gate
from thpsweep.model.gates.max_ptes import MaxPtes
from thpsweep.model.mechanisms.switch import Switch
from thpsweep.model.setting import setting
from thpsweep.model.simulate import _finish, _prepare, _step, simulate
from thpsweep.model.state.counts import Counter

MECHANISMS = [name for name, cls in registry.options("mechanism").items() if cls.active]
ONE_BY_ONE = 1 << 62


@dataclasses.dataclass
class Alternating(Gate):
    """Let pass by what it was asked before: to be asked each time, in the same order."""

    asked: ClassVar[list[Any]] = []

    def begin(self, n_replicates):
        self.asked.clear()
        return np.zeros(n_replicates, np.int64)

    def allow(self, state, proposal):
        for row, replicate in zip(proposal.rows.tolist(), proposal.replicates, strict=True):
            self.asked.append(
                (int(replicate), proposal.now_s, row, int(proposal.counts.total["ptes_scanned"][replicate]))
            )
        np.add.at(state, proposal.replicates, 1)
        return state[proposal.replicates] % 7 == 0


@dataclasses.dataclass
class Underhand(MaxPtes):
    """Decide otherwise than the gate it derives from, which is steady; this one has not said so."""

    def allow(self, state, proposal):
        return proposal.counts.total["ptes_scanned"][proposal.replicates] % 3 == 0


@dataclasses.dataclass
class Often(Switch):
    """Leave alone what is odd, and count how often it came to that."""

    outcomes: ClassVar = {"ODD": "an odd row"}
    counters: ClassVar = {"odd_ones": Counter("odd rows", "rows", 3.5)}

    def attempt(self, visit):
        odd = visit.rows % 2 == 1
        visit.counts.add("odd_ones", visit.replicates[odd], 1)
        results = np.full(visit.rows.size, self.outcome("ODD"))
        results[~odd] = super().attempt(visit.where(~odd))
        return results


@pytest.fixture(autouse=True, scope="module")
def own_options():
    """Add a user's own gates and mechanism."""
    with pytest.MonkeyPatch.context() as patch:
        added = {group: {} for group in registry.GROUPS}
        added["gate"] = {"alternating": (Alternating, "1"), "underhand": (Underhand, "2")}
        added["mechanism"] = {"often": (Often, "3")}
        patch.setattr(registry, "_ADDED", added)
        yield


def ran(one: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """Run a point; give all that it counts, where its cursors end, and what a gate was asked."""
    Alternating.asked.clear()
    running = _prepare(setting(one))
    for number, tick in enumerate(running.ticks):
        _step(running, number, tick)
    asked, clock = sorted(Alternating.asked, key=lambda each: each[0]), running.trigger_state
    run, outcomes = _finish(running)
    ends = [clock.cursors.sharer, clock.cursors.region, clock.cursors.registered, clock.next_pass, clock.slept_ms]
    parts = (run.counts, run.locks, run.integrals, run.family)
    counted = [value for part in parts for value in vars(part).values() if isinstance(value, dict)]
    ends += [
        outcomes,
        run.series.table,
        *(each for values in counted for each in values.values() if isinstance(each, np.ndarray)),
    ]
    return [end.tolist() for end in ends], asked


def same(one: dict[str, Any], at_once: int = forward.AT_ONCE) -> None:
    """Run a point both ways."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forward, "AT_ONCE", at_once)
        together = ran(one)
        patch.setattr(forward, "LEAST", ONE_BY_ONE)
        assert ran(one) == together


GATES = [
    None,
    {"kind": "max_ptes", "max_ptes": 1400},
    {"kind": "budget", "pte_updates_per_s": 40.0},
    {"kind": "budget", "pte_updates_per_s": None, "cpu_ms_per_s": 0.01},
    {"kind": "payback", "horizon_s": 60.0},
    {"kind": "all_of", "gates": [{"kind": "max_ptes", "max_ptes": 3000}, {"kind": "budget"}]},
    {"kind": "alternating"},
    {"kind": "underhand"},
]


@st.composite
def points(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a small point whose daemon wakes often."""
    trigger = {
        "kind": "khugepaged",
        "scan_sleep_millisecs": draw(st.sampled_from([250, 500, 1000, 3000])),
        "pages_to_scan": draw(st.sampled_from([1, 2, 3, 300, 513, 700, 4096])),
        "alloc_sleep_millisecs": draw(st.sampled_from([0, 500, 60_000])),
        "max_ptes_none": draw(st.sampled_from([0, 100, 511])),
        "max_ptes_swap": draw(st.sampled_from([0, 64])),
        "max_ptes_shared": draw(st.sampled_from([0, 256, 511])),
    }
    changed = {
        "present_ptes": draw(st.sampled_from([512, 512, 200])),
        "mmap_write_locked_share": draw(st.sampled_from([0.0, 0.0, 0.4, 0.95])),
        "reads_per_page_hour": draw(st.sampled_from([60.0, 0.2, 0.0])),
        "extra_references_per_page": draw(st.sampled_from([0.0, 1e-3])),
        "late_references_per_page": draw(st.sampled_from([0.0, 1e-3])),
        "pins_per_process_hour": draw(st.sampled_from([0.0, 60.0])),
        "swap_outs_per_page_hour": draw(st.sampled_from([0.0, 4.0])),
        "worker_life_s": draw(st.sampled_from([0.0, 40.0])),
        "worker_gap_s": draw(st.sampled_from([0.0, 20.0])),
        "worker_cold_writes_per_page_hour": draw(st.sampled_from([0.0, 0.5])),
        "regions": draw(st.integers(1, 5)),
    }
    if changed["swap_outs_per_page_hour"]:
        changed["aging_passes_per_hour"] = 30.0
    one = point(
        draw(st.sampled_from([*MECHANISMS, "often"])),
        draw(st.integers(1, 6)),
        trigger=trigger,
        run={
            "replicates": draw(st.integers(1, 3)),
            "duration_s": draw(st.sampled_from([20.0, 30.0])),
            "tick_s": 10.0,
            "seed": draw(st.integers(0, 99)),
        },
        **changed,
    )
    if changed["worker_life_s"] == 0.0:
        one["workload"]["worker_gap_s"] = 0.0
    gate = draw(st.sampled_from(GATES))
    if gate is not None:
        one["policy"]["gate"] = gate
    if draw(st.booleans()):
        one["memory"] = {**option("memory", "fragmented"), "free_blocks": draw(st.integers(0, 4))}
    return one


@hypothesis.settings(deadline=None, max_examples=6)
@given(one=points(), at_once=st.sampled_from([forward.AT_ONCE, 12, 1]))
def test_passes_that_are_gone_over_are_those_made_one_by_one(one: dict[str, Any], at_once: int) -> None:
    same(one, at_once)


@pytest.mark.slow
@hypothesis.settings(deadline=None, max_examples=300)
@given(one=points(), at_once=st.sampled_from([forward.AT_ONCE, 12, 1]))
def test_passes_that_are_gone_over_are_those_made_one_by_one_at_length(one: dict[str, Any], at_once: int) -> None:
    same(one, at_once)


@pytest.mark.parametrize("mechanism", ["copy", "inplace"])
def test_passes_are_gone_over_at_all(monkeypatch: pytest.MonkeyPatch, mechanism: str) -> None:
    """After the collapses of the first seconds nothing is left to attempt, and hardly a pass is made by itself."""
    from thpsweep.model.triggers.khugepaged import Khugepaged

    made, original = [], Khugepaged._pass
    monkeypatch.setattr(Khugepaged, "_pass", lambda *args: (made.append(1), original(*args))[1])
    run = {"replicates": 1, "duration_s": 600.0, "tick_s": 10.0}
    simulate(point(mechanism, 4, trigger={"kind": "khugepaged", "scan_sleep_millisecs": 10}, run=run))
    assert 0 < len(made) < 600.0 / 0.01 / 100


def test_holds_end_where_the_last_mms_of_the_list_are_busy() -> None:
    trigger = {"kind": "khugepaged", "scan_sleep_millisecs": 250}
    run = {"replicates": 3, "duration_s": 40.0, "tick_s": 10.0}
    same(point("inplace", 4, trigger=trigger, run=run, regions=2, mmap_write_locked_share=0.5))
