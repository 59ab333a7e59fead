"""The rule of the kernel's rmap selftest: after a page has moved, every process that shared it sees the same new frame.

Source: tools/testing/selftests/mm/rmap.c (torvalds/linux cb9f145f638d): a random fork tree of at most 5 levels and 3
children each, a page that all have touched, one of them moves it.
"""

import random

import numpy as np
import pytest

from thpsweep.model import registry
from thpsweep.model.scenario.process import Process
from thpsweep.model.scenario.scenario import Scenario
from thpsweep.outcomes import ScanResult

MEMBERS = {name: cls for name, cls in registry.options("mechanism").items() if cls.active}
ALL_SHARERS = [name for name, cls in MEMBERS.items() if cls.all_sharers]
PRIVATE = [name for name in MEMBERS if name not in ALL_SHARERS]
LEVELS, MAX_CHILDREN = 5, 3


def grow(rng: random.Random, parent: Process, level: int, pages: list[int]) -> None:
    """Let a process fork up to 3 children, which do the same; some write a page or two of their own, and so leave it."""
    for _ in range(rng.randint(1, MAX_CHILDREN) if level < LEVELS else 0):
        child = parent.fork()
        if rng.random() < 0.2:
            child.write(rng.sample(pages, min(2, len(pages))))
        grow(rng, child, level + 1, pages)


def tree(seed: int) -> tuple[Scenario, Process]:
    """Grow a family around a few pages, or a full region, and choose who works."""
    rng = random.Random(seed)
    scene = Scenario(processes=sum(MAX_CHILDREN**level for level in range(LEVELS)))
    root = scene.process()
    pages = list(range(512)) if seed % 2 else rng.sample(range(512), 5)
    root.write(pages)
    grow(rng, root, 1, pages)
    return scene, rng.choice(scene.living)


def sees_the_same_new_frame(scene: Scenario, worker: Process, name: str) -> bool:
    """Collapse in one process, and look at everybody's frames before and after."""
    before = {process.number: process.frames for process in scene.living}
    assert worker.collapse(name) == ScanResult.SUCCEED
    scene.settle(name)
    old, new = before[worker.number], worker.frames
    assert not np.isin(new[old != 0], old).any(), "the worker's pages are new frames"
    for process in scene.living:
        shared = (before[process.number] == old) & (old != 0)
        if not np.array_equal(process.frames[shared], new[shared]):
            return False
    assert scene.intact
    return True


@pytest.mark.parametrize("name", ALL_SHARERS)
@pytest.mark.parametrize("seed", range(8))
def test_all_sharers_see_the_same_new_frame(name: str, seed: int) -> None:
    assert sees_the_same_new_frame(*tree(seed), name)


@pytest.mark.parametrize("name", ALL_SHARERS)
@pytest.mark.parametrize("seed", range(8))
def test_who_did_not_share_keeps_its_frame(name: str, seed: int) -> None:
    scene, worker = tree(seed)
    before, old = {process.number: process.frames for process in scene.living}, worker.frames
    worker.collapse(name)
    scene.settle(name)
    for process in scene.living:
        other = (before[process.number] != old) & (before[process.number] != 0)
        assert np.array_equal(process.frames[other], before[process.number][other])


@pytest.mark.parametrize("name", PRIVATE)
@pytest.mark.parametrize("seed", range(8))
def test_a_private_collapse_breaks_the_rule(name: str, seed: int) -> None:
    scene, worker = tree(seed)
    assert not sees_the_same_new_frame(scene, worker, name)
    assert scene.intact


def test_both_kinds_of_mechanism_were_found() -> None:
    assert {"inplace", "inplace_pmd", "switch"} <= set(ALL_SHARERS) and "copy" in PRIVATE
