"""What every mechanism promises, whoever wrote it: found by name, run on random families against the twin's invariants."""

import dataclasses

import numpy as np
import pytest

from tests.model.replay import Replay, snapshot
from tests.reference.families import random_family, random_script
from thpsweep.model import registry
from thpsweep.model.mechanisms.base import Mechanism
from thpsweep.model.mechanisms.visit import ScanLimits, Visit
from thpsweep.model.mm.links import open_rows
from thpsweep.model.state.counts import OPERATIONS

NAMES = list(registry.options("mechanism"))
ACTIVE = [name for name, cls in registry.options("mechanism").items() if cls.active]
LEAVES_PAGES_UNSHARED = [name for name in ACTIVE if not registry.options("mechanism")[name].undoes]
"""What fails with its first step done: the sharing is lost although no folio came out."""
ALL_SHARERS = [name for name, cls in registry.options("mechanism").items() if cls.all_sharers and cls.active]


@pytest.mark.parametrize("name", NAMES)
def test_is_a_documented_dataclass_with_defaults(name: str) -> None:
    cls = registry.options("mechanism")[name]
    assert issubclass(cls, Mechanism) and cls.__doc__ and cls.attempt.__doc__
    assert registry.spec(cls()) == {"kind": name, **dataclasses.asdict(cls())}
    assert registry.build("mechanism", registry.spec(cls())) == cls()


def _one_attempt(seed: int, mechanism: str, race: bool) -> tuple[Replay, dict[str, object], str]:
    """Let a script without collapses age a family, then attempt one collapse."""
    drawn = random_family(seed, swapped_share=0.0, folio_share=0.0)
    script = random_script(seed, drawn, 2)
    replay = Replay(drawn, script["khugepaged"])
    for tick in script["ticks"]:
        replay.tick({**tick, "references": [], "reclaims": [], "triggers": []})
    living = [int(sharer) for sharer in np.flatnonzero(replay.family.alive[0])]
    present = next((slots for slots in _present(replay, living[0])), None)
    before = snapshot(replay.family)
    inputs = {"young": 512, "extra_reference": False, "race_slot": present if race and present is not None else 512}
    arguments = {**inputs, "khugepaged": False}
    replay.returned.clear()
    replay.trigger(
        {
            "do": "collapse",
            "mechanism": mechanism,
            "region": 0,
            "sharer": living[0],
            "arguments": arguments,
            "options": {},
        }
    )
    return replay, before, replay.returned[0][0]


def _finish(replay: Replay, name: str) -> None:
    made = registry.build("mechanism", {"kind": name})
    made.step(replay.family, replay.counts, 0, 1e6, lambda rows: np.zeros(rows.size, bool))
    if made.resumes:
        rows, _, _ = open_rows(replay.family)
        for row in rows:
            made.attempt(Visit(replay.family, replay.counts, np.array([row]), np.array([512]), ScanLimits()))


def _present(replay: Replay, sharer: int) -> list[int]:
    state = snapshot(replay.family)["partition"]
    assert isinstance(state, dict)
    return [slot for slot, groups in state[0].items() if any(sharer in group for group in groups)]


@pytest.mark.parametrize("name", [name for name in ACTIVE if name not in LEAVES_PAGES_UNSHARED])
@pytest.mark.parametrize("seed", range(12))
def test_a_failed_attempt_leaves_everything_as_found(name: str, seed: int) -> None:
    replay, before, outcome = _one_attempt(seed, name, race=True)
    if outcome == "PAGE_COUNT":
        assert snapshot(replay.family) == before
        assert replay.counts.total["aborts"][0] == 1


@pytest.mark.parametrize("name", LEAVES_PAGES_UNSHARED)
@pytest.mark.parametrize("seed", range(12))
def test_a_failed_attempt_makes_no_folio_and_moves_no_other_sharer(name: str, seed: int) -> None:
    replay, before, outcome = _one_attempt(seed, name, race=True)
    after, caller = snapshot(replay.family), int(np.flatnonzero(replay.family.alive[0])[0])
    if outcome == "PAGE_COUNT":
        assert replay.counts.total["aborts"][0] == 1 and after["folios"] == before["folios"]
        old, new = before["partition"], after["partition"]
        assert isinstance(old, dict) and isinstance(new, dict)
        for slot, groups in old[0].items():
            rest = {group - {caller} for group in groups} - {frozenset()}
            assert {group - {caller} for group in new[0][slot]} - {frozenset()} == rest


@pytest.mark.parametrize("name", ALL_SHARERS)
@pytest.mark.parametrize("seed", range(12))
def test_every_sharer_stays_on_the_same_frame(name: str, seed: int) -> None:
    """The rule of the kernel's tools/testing/selftests/mm/rmap.c: all processes see the same new page.

    Those that work bit by bit are given the time to end, and every sharer a visit.
    """
    replay, before, outcome = _one_attempt(seed, name, race=False)
    _finish(replay, name)
    after = snapshot(replay.family)["partition"]
    if outcome == "SUCCEED":
        old, new = before["partition"], after
        assert isinstance(old, dict) and isinstance(new, dict)
        assert all(groups <= new[0][slot] for slot, groups in old[0].items())
        assert all(new[region] == old[region] for region in old if region)


@pytest.mark.parametrize("name", [name for name in ACTIVE if name not in ALL_SHARERS])
def test_mechanisms_for_one_mm_break_that_rule(name: str) -> None:
    broken = 0
    for seed in range(12):
        replay, before, outcome = _one_attempt(seed, name, race=False)
        old, new = before["partition"], snapshot(replay.family)["partition"]
        assert isinstance(old, dict) and isinstance(new, dict)
        broken += outcome == "SUCCEED" and any(not groups <= new[0][slot] for slot, groups in old[0].items())
    assert broken > 0


@pytest.mark.parametrize("name", NAMES)
def test_counts_only_what_has_a_name(name: str) -> None:
    replay, _, _ = _one_attempt(3, name, race=False)
    assert set(replay.counts.total) == set(OPERATIONS)
    assert all((values >= 0).all() for values in replay.counts.total.values())


@pytest.mark.parametrize("name", [name for name in NAMES if registry.options("mechanism")[name].active])
def test_the_seeds_above_reach_a_collapse(name: str) -> None:
    """Where nothing ever succeeded, the rules above would hold of nothing."""
    assert "SUCCEED" in {_one_attempt(seed, name, race=False)[2] for seed in range(12)}


@pytest.mark.parametrize("name", ["copy", "unshare", "inplace", "inplace_pmd", "retract", "shared_table"])
def test_the_seeds_above_reach_a_late_reference(name: str) -> None:
    assert "PAGE_COUNT" in {_one_attempt(seed, name, race=True)[2] for seed in range(12)}
