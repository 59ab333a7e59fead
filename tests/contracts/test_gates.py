"""What every gate promises, found by name, and what a gate can know; what each lets pass is in test_gate_rules.py."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from tests.contracts.gated import MECHANISMS, PTES, aged, guarded, passes, plain, proposal, refusing, visit
from tests.model.replay import Replay, snapshot
from tests.reference.families import random_family
from thpsweep.model import registry
from thpsweep.model.gates.base import Gate
from thpsweep.model.mechanisms.visit import ScanLimits, Visit
from thpsweep.outcomes import SENTENCES, ScanResult

GATES = registry.options("gate")
NAMES = list(GATES)


# ---- every gate ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_is_a_documented_dataclass_with_defaults(name: str) -> None:
    cls = GATES[name]
    assert issubclass(cls, Gate) and cls.__doc__ and cls.allow.__doc__
    assert registry.spec(cls()) == {"kind": name, **dataclasses.asdict(cls())}
    assert registry.build("gate", registry.spec(cls())) == cls()
    assert set(cls.loosens) <= {field.name for field in dataclasses.fields(cls)}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_asking_changes_nothing_and_asking_again_gives_the_same_answer(name: str, mechanism: str) -> None:
    replay = aged(5)
    gate, row = GATES[name](), int(np.flatnonzero(replay.family.record_of)[0])
    state = gate.begin(1)
    before, counted = snapshot(replay.family), {k: v.copy() for k, v in replay.counts.total.items()}
    answers = [bool(gate.allow(state, proposal(replay, mechanism, row))[0]) for _ in range(3)]
    assert len(set(answers)) == 1
    assert snapshot(replay.family) == before
    assert all((replay.counts.total[k] == v).all() for k, v in counted.items())


def tight(key: str) -> float:
    """Give a value with which an option refuses everything."""
    return 1e-3 if key in ("horizon_s", "burst_s") else 0


LOOSENING = [(name, key) for name, cls in GATES.items() for key in cls.loosens]


@pytest.mark.parametrize(("name", "key"), LOOSENING)
@pytest.mark.parametrize("seed", range(6))
def test_a_larger_limit_lets_pass_what_a_smaller_one_does(name: str, key: str, seed: int) -> None:
    replay = aged(seed)
    rows = [int(row) for row in np.flatnonzero(replay.family.record_of)]
    for row in rows[:4]:
        answers = [
            passes(registry.build("gate", {"kind": name, key: value}), proposal(replay, "inplace", row))
            for value in (tight(key), 1, 2, 50, 700, 1500, 5_000, 90_000, 1_000_000)
        ]
        assert answers == sorted(answers)


def test_some_of_them_refuse_and_some_let_pass() -> None:
    """The suite above would also pass for gates that always say the same."""
    for name, key in LOOSENING:
        answers = {
            passes(registry.build("gate", {"kind": name, key: value}), proposal(plain()))
            for value in (tight(key), 1_000_000)
        }
        assert answers == {False, True}, (name, key)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_refused_attempt_changes_nothing_and_counts_only_the_scan(mechanism: str) -> None:
    replay = plain()
    before = snapshot(replay.family)
    collapser = guarded(replay, refusing(), mechanism)
    assert visit(collapser, [0]) == ["GATE_REFUSED"]
    assert snapshot(replay.family) == before
    assert {name: int(n[0]) for name, n in replay.counts.total.items() if n[0]} == {"ptes_scanned": 512}
    assert collapser.outcomes[0, ScanResult.GATE_REFUSED] == 1


def test_the_gate_is_not_asked_about_what_the_scan_refuses() -> None:
    replay = plain()
    assert visit(guarded(replay, registry.build("gate", {"kind": "always"}), "inplace"), [0]) == ["SUCCEED"]
    assert visit(guarded(replay, refusing()), [0]) == ["PTE_MAPPED_HUGEPAGE"]


@pytest.mark.parametrize("seed", range(8))
def test_always_changes_nothing_at_all(seed: int) -> None:
    drawn = random_family(seed)
    ends = []
    for gate in (None, registry.build("gate", {"kind": "always"})):
        replay = Replay(drawn, {})
        collapser = guarded(replay, gate or refusing(), "inplace_pmd")
        collapser.guard = None if gate is None else collapser.guard
        found = collapser.scan(np.arange(drawn.n_regions) * drawn.n_sharers, ScanLimits(), 0, False)
        results = collapser.attempt(found, ScanLimits()).tolist()
        totals = {name: n.tolist() for name, n in replay.counts.total.items()}
        ends.append((results, snapshot(replay.family), totals))
    assert ends[0] == ends[1]


@pytest.mark.parametrize(("gate", "regions"), [({"kind": "always"}, 2), ({"kind": "max_ptes", "max_ptes": 0}, 3)])
def test_khugepaged_keeps_its_lock_where_the_gate_refuses(gate: dict[str, Any], regions: int) -> None:
    """An attempt drops the lock: taking it again costs one unit, the one that is left here for a third region."""
    replay = plain(n_regions=3)
    settings = {"pages_to_scan": 1 + 512 + 1 + 512, "scan_sleep_millisecs": 1000}
    daemon = registry.build("trigger", {"kind": "khugepaged", **settings})
    collapser = guarded(replay, registry.build("gate", gate))
    daemon.act(daemon.begin(1), collapser, 0, 1.0)
    assert collapser.outcomes.sum() == regions
    assert replay.counts.total["ptes_scanned"][0] == 512 * regions


def test_every_outcome_has_a_sentence() -> None:
    assert set(SENTENCES) == set(ScanResult)


# ---- what a gate can know --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("seed", range(6))
def test_a_rehearsal_counts_what_the_attempt_then_counts(mechanism: str, seed: int) -> None:
    replay = aged(seed)
    row = int(np.flatnonzero(replay.family.record_of)[0])
    asked = proposal(replay, mechanism, row)
    gauges = {name: n.copy() for name, n in replay.family.gauge.items()}
    foreseen, before = asked.rehearsal, {name: n.copy() for name, n in replay.counts.total.items()}
    asked.mechanism.attempt(Visit(replay.family, replay.counts, asked.rows, np.array([512]), ScanLimits()))
    for name, total in replay.counts.total.items():
        assert foreseen.counts.total[name] == total - before[name], name
    for name, gauge in replay.family.gauge.items():
        assert foreseen.stage.gauge[name] == gauge - gauges[name], name


@pytest.mark.parametrize(("mechanism", "ptes"), [("inplace", PTES), ("switch", PTES), ("retract", PTES), ("copy", 512)])
def test_ptes_are_those_of_all_sharers_or_of_the_scanned_mm(mechanism: str, ptes: int) -> None:
    assert proposal(plain(), mechanism).ptes == ptes
