"""Events that are kept are those that would be drawn, and nobody changes them."""

import dataclasses

import numpy as np
import pytest

from thpsweep.api import composed
from thpsweep.model.events import cache
from thpsweep.model.events.draw import Tick
from thpsweep.model.events.scene import Scene
from thpsweep.model.setting import setting
from thpsweep.model.simulate import simulate

SMALL = ("workload=prefork", "workload.regions=2", "sharing.degree=5", "run.replicates=2", "run.duration_s=600")
TWO = ((3, 0), (3, 1))
"""The replicates of a point with seed 3."""


def scene(**other: float) -> Scene:
    """Give a small scene, or one that is like it."""
    built = setting(composed(SMALL))
    workload = dataclasses.replace(built.workload, **other)
    return Scene(workload, 2, built.n_sharers, built.n_ticks, built.tick_s)


def content(ticks: list[tuple[Tick, ...]]) -> list[list[list[int]]]:
    """Give what is written in each tick."""
    return [[tick.writes.tolist() for tick in each] for each in ticks]


def test_what_is_kept_is_what_would_be_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = cache.ticks(scene(), TWO, "ab" * 32)
    assert cache.ticks(scene(), TWO, "ab" * 32) is kept
    monkeypatch.setattr(cache, "MOST_WORDS", 0)
    anew = cache.ticks(scene(), TWO, "ab" * 32)
    assert anew is not kept and content(list(anew)) == content(list(kept))


def test_another_scene_of_the_same_key_is_not_taken_for_it() -> None:
    first = content(list(cache.ticks(scene(), TWO, "ab" * 32)))
    busier = scene(worker_hot_writes_per_page_hour=500.0)
    second = content(list(cache.ticks(busier, TWO, "ab" * 32)))
    assert np.size(np.concatenate([x for t in second for x in t])) > np.size(
        np.concatenate([x for t in first for x in t])
    )


@pytest.mark.parametrize("policy", ["copy", "inplace_pmd", "deferred", "mainline"])
def test_a_run_gives_the_same_whether_they_are_kept_or_not(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    busy = ("workload.worker_cold_writes_per_page_hour=5", "workload.worker_life_s=120", "workload=prefork")
    point = composed((*SMALL, *busy, f"policy={policy}"))
    kept = [simulate(point) for _ in range(2)]
    monkeypatch.setattr(cache, "MOST_WORDS", 0)
    anew = simulate({**point, "run": {**point["run"], "seed": point["run"]["seed"]}})
    assert repr(kept[0]) == repr(kept[1]) == repr(anew)
