"""The vectorised model equals the slow twin after every tick of random scripts on random families."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.model.replay import Replay, snapshot
from tests.reference.families import play_tick, play_trigger, random_family, random_script
from tests.reference.twin import Twin
from tests.reference.twin_khugepaged import Khugepaged
from thpsweep.model.state.counts import OPERATIONS
from thpsweep.model.state.rules import CHANGES, NEWEST, Rules
from thpsweep.outcomes import ScanResult

ONLY_OURS = {"family_flushes"}
"""Counts that the twin does not keep: how far a flush reaches is a matter of prices."""


def compare(seed: int, n_ticks: int, n_replicates: int = 1, version: tuple[int, int] = (7, 3)) -> None:
    """Play one script on both, by a kernel's rules, and compare state, counts and outcomes after every tick."""
    drawn = random_family(seed)
    script = random_script(seed, drawn, n_ticks)
    twin, daemon = Twin(*drawn), Khugepaged(**script["khugepaged"])
    replay = Replay(drawn, script["khugepaged"], n_replicates)
    twin.version, replay.family.rules = version, Rules.of(version)
    last = n_replicates - 1
    assert snapshot(replay.family, last) == twin.snapshot()
    for number, tick in enumerate(script["ticks"]):
        play_tick(twin, daemon, {**tick, "triggers": []})
        returned = [play_trigger(twin, daemon, trigger) for trigger in tick["triggers"]]
        collapses = [
            answer for answer, trigger in zip(returned, tick["triggers"], strict=True) if trigger["do"] == "collapse"
        ]
        replay.returned.clear()
        replay.tick(tick)
        where = f"seed {seed} tick {number}"
        assert replay.returned == collapses, where
        state = snapshot(replay.family, last)
        for name, value in twin.snapshot().items():
            assert state[name] == value, f"{where}: {name}"
        counted = {name: int(replay.counts.total[name][last]) for name in OPERATIONS if name not in ONLY_OURS}
        counted["full_scans"] = 0
        expected = {name: twin.counts[name] for name in counted} | {"full_scans": 0}
        assert counted == expected, where
        assert set(twin.counts) - {name for name, n in twin.counts.items() if not n} <= set(OPERATIONS), where
        tallied = {result.name: int(replay.outcomes[last, result]) for result in ScanResult}
        assert {name: n for name, n in tallied.items() if n} == {name: n for name, n in twin.outcomes.items() if n}, (
            where
        )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32 - 1))
def test_random_scripts(seed: int) -> None:
    compare(seed, n_ticks=6)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32 - 1))
def test_replicates_side_by_side_do_not_disturb_each_other(seed: int) -> None:
    compare(seed, n_ticks=5, n_replicates=3)


VERSIONS = sorted({change.since for change in CHANGES.values()} | {(6, 12), NEWEST})
"""Each with a change of the table, so that none between two of them does anything else, and what ships most."""


@pytest.mark.parametrize("version", VERSIONS)
def test_random_scripts_by_the_rules_of_other_kernels(version: tuple[int, int]) -> None:
    for seed in range(3):
        compare(seed, n_ticks=4, version=version)


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_many_scripts_by_the_rules_of_other_kernels(version: tuple[int, int]) -> None:
    for seed in range(40):
        compare(seed, n_ticks=6, version=version)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_many_long_scripts(part: int) -> None:
    for seed in range(part * 50, part * 50 + 50):
        compare(seed, n_ticks=12)


def test_full_scans_are_counted_alike() -> None:
    for seed in range(40):
        drawn = random_family(seed, all_alive=True)
        script = random_script(seed, drawn, 8, triggers=("khugepaged",))
        twin, daemon = Twin(*drawn), Khugepaged(**script["khugepaged"])
        replay = Replay(drawn, script["khugepaged"])
        for tick in script["ticks"]:
            calm = {**tick, "exits": [], "forks": []}
            play_tick(twin, daemon, calm)
            replay.tick(calm)
        assert np.array_equal(replay.counts.total["full_scans"], [daemon.full_scans]), seed
