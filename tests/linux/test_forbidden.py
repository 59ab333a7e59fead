"""Is memory in which the kernel makes no huge page left out of a capture, and is it said?"""

import os

import numpy as np
import pytest

from tests.linux.family import MARKER, REGION
from tests.model.layouts import board
from thpsweep.linux.capture import capture as capture_module
from thpsweep.linux.capture.capture import capture
from thpsweep.linux.capture.forbidden import MOST_PROCESSES, is_except_advised, sort_advice
from thpsweep.linux.capture.summary import summary
from thpsweep.linux.proc.maps import Vma

pytestmark = pytest.mark.live


def marked(layout):
    """Count the captured regions of each process that hold what the family wrote."""
    return (layout.present == board(MARKER)).all(axis=2).sum(axis=1).tolist()


def test_what_forbids_huge_pages_is_left_out_for_whom_it_does(family):
    layout = capture(family("forbidden").pid)
    assert marked(layout) == [3, 2]
    assert layout.provenance["nohugepage_regions_left_out"] == 2 and layout.provenance["regions_hugepage"] == 1
    (last,) = np.flatnonzero((layout.present[0] == board(MARKER)).all(axis=1) & ~layout.present[1].any(axis=1))
    assert layout.cell_outside[layout.cell_region == last].tolist() == [1]  # the child's mappings are known of
    assert dict(summary(layout))["left out, THP forbidden"] == "2"


def test_it_is_left_out_without_frame_numbers_too(family, monkeypatch):
    monkeypatch.setattr(capture_module, "hidden_frames", lambda: "a test hides them")
    layout = capture(family("forbidden").pid)
    assert marked(layout) == [3, 2]
    assert layout.provenance["nohugepage_regions_left_out"] == 2 and layout.provenance["regions_hugepage"] == 1


def test_who_is_not_asked_is_as_his_parent():
    vma = [Vma(REGION, 3 * REGION, {}, frozenset({"nh"}))]
    parents = [0] * MOST_PROCESSES + [0, 1]
    advice = sort_advice([vma, *[[]] * (MOST_PROCESSES - 1)], parents, [True, *[False] * (MOST_PROCESSES - 1)])
    assert [len(each) for each in advice.forbidden] == [2, *[0] * (MOST_PROCESSES - 1), 2, 0]
    assert advice.facts(np.arange(9)) == {
        "nohugepage_regions_left_out": 2, "regions_hugepage": 0, "nohugepage_asked_processes": MOST_PROCESSES,
        "thp_except_advised_processes": 2,
    }  # fmt: skip


def test_a_process_with_thp_off_unless_advised_is_counted(family, thp_always):
    process = family("except_advised")
    with thp_always():
        layout = capture(process.pid)
        assert layout.provenance["thp_except_advised_processes"] == 1
        assert layout.provenance["thp_disabled_processes"] == 0
    assert dict(summary(layout))["processes with THP off unless advised"] == "1"


def test_a_process_that_may_have_huge_pages_everywhere_is_not_counted(family, thp_always):
    process = family("forbidden")
    with thp_always():
        assert capture(process.pid).provenance["thp_except_advised_processes"] == 0


@pytest.mark.parametrize("enabled", ["madvise", "never"])
def test_only_where_huge_pages_are_enabled_always_a_vma_that_gets_none_says_so(enabled):
    vma = Vma(0, REGION, {}, frozenset(), eligible=False)
    assert not is_except_advised(os.getpid(), [vma], enabled)
