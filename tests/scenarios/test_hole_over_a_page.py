"""A process that forked before a slot was first touched has a hole over somebody's page: it must go on reading zero."""

import numpy as np
import pytest

from thpsweep.model import registry
from thpsweep.model.scenario.scenario import Scenario
from thpsweep.outcomes import ScanResult

ACTIVE = [name for name, cls in registry.options("mechanism").items() if cls.active]
LATE = range(100, 103)
"""Slots that are first touched after the fork."""


def family_with_holes() -> tuple[Scenario, list[int]]:
    """Fork an early child, touch the rest of the region in the parent, fork a late child."""
    scene = Scenario()
    parent = scene.process()
    parent.write(sorted(set(range(512)) - set(LATE)))
    early = parent.fork()
    parent.write(LATE)
    late = parent.fork()
    for process in (early, late):
        process.read(range(512))
    return scene, [parent.number, early.number, late.number]


@pytest.mark.parametrize("name", ACTIVE)
@pytest.mark.parametrize("who", [0, 2])
def test_no_pmd_over_the_hole_and_zeroes_in_it(name: str, who: int) -> None:
    scene, numbers = family_with_holes()
    early = scene.processes[numbers[1]]
    assert scene.processes[numbers[who]].collapse(name) == ScanResult.SUCCEED
    assert not early.is_huge()
    assert not early.reads[list(LATE)].any()
    assert scene.intact


@pytest.mark.parametrize("name", ACTIVE)
def test_khugepaged_over_everybody_lets_nobody_read_what_it_did_not_write(name: str) -> None:
    scene, numbers = family_with_holes()
    scene.khugepaged(name, max_ptes_shared=511)
    early = scene.processes[numbers[1]]
    # A PMD is fine where it is of a folio of its own, as `copy` makes it: nobody else's page is in it.
    shared = [other for other in scene.living if other is not early and early.shared_pages(other)]
    assert not (early.is_huge() and shared)
    assert not early.reads[list(LATE)].any()
    assert scene.intact


def test_the_hole_may_be_filled_where_the_folio_has_no_source() -> None:
    scene = Scenario()
    parent = scene.process()
    parent.write(range(500))
    child = parent.fork()
    assert parent.collapse("inplace_pmd") == ScanResult.SUCCEED
    assert parent.is_huge() and child.is_huge()
    assert np.array_equal(parent.frames, child.frames) and (parent.frames != 0).all()
    assert scene.intact


def test_a_page_touched_in_a_filled_hole_stays_private() -> None:
    scene = Scenario()
    parent = scene.process()
    parent.write(range(500))
    child = parent.fork()
    parent.collapse("inplace_pmd")
    child.write([505])
    assert not child.is_huge() and parent.is_huge()
    assert parent.reads[505] == 0 and scene.intact


def test_the_early_child_collapses_its_own_holes() -> None:
    """Scanned itself, the early child is the one whose pages are the sources: the others' late pages stay as they are."""
    for name in ("inplace", "inplace_pmd", "switch"):
        scene, numbers = family_with_holes()
        parent, early, late = (scene.processes[number] for number in numbers)
        assert early.collapse(name) == ScanResult.SUCCEED
        assert not parent.is_huge() and not late.is_huge()
        assert parent.shared_pages(late) == 512 and parent.shared_pages(early) >= 509
        assert scene.intact
