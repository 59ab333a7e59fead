"""Which VMAs an rmap walk visits: that of the process whose fault made the page, and those of all its descendants.

Source: mm/rmap.c anon_vma_fork(), rmap_walk_anon(). Seen on Linux 6.18: to split a THP that only the parent maps takes
126 us without children, 1,567 us with 50 of them, 3,615 to 4,936 us with 200.
"""

import pytest

from thpsweep.model.scenario.process import Process
from thpsweep.model.scenario.scenario import Scenario
from thpsweep.outcomes import ScanResult

NR = 512


def visits(process: Process, mechanism: str = "switch", walks: int = 1) -> int:
    """Collapse for all sharers, and give how many VMAs each walk over each page visited in all."""
    before = process.scene.counts.total["vmas_visited"][0]
    options = {"walk": "per_page"} if mechanism == "switch" else {}
    assert process.collapse(mechanism, **options) == ScanResult.SUCCEED
    return int(process.scene.counts.total["vmas_visited"][0] - before) // walks


@pytest.mark.parametrize(("mechanism", "walks"), [("switch", 1), ("inplace", 2), ("incremental", 1)])
@pytest.mark.parametrize("children", [1, 3])
def test_a_child_that_was_forked_before_the_page_was_made_is_visited(mechanism: str, walks: int, children: int) -> None:
    scene = Scenario()
    parent = scene.process()
    parent.write([0])
    for _ in range(children):
        parent.fork()
    parent.write(range(1, NR))
    assert visits(parent, mechanism, walks) == NR * (1 + children)


def test_what_a_worker_shares_with_its_own_child_alone_is_not_looked_for_in_others() -> None:
    scene = Scenario()
    root = scene.process()
    root.write([0])
    worker = root.fork()
    for _ in range(3):
        root.fork()
    worker.write(range(1, NR))
    worker.fork()
    assert visits(worker) == 1 * 6 + (NR - 1) * 2


def test_the_descendants_of_one_that_exited_are_visited_still() -> None:
    scene = Scenario()
    root = scene.process()
    root.write(range(NR))
    child = root.fork()
    grandchild = child.fork()
    root.exit()
    child.write(range(256))
    assert visits(grandchild) == NR * 2, "the root's pages, in the child, which copied half of them, and its own child"


def test_a_family_that_did_not_fork_is_another_tree() -> None:
    scene = Scenario()
    one, other = scene.process(), scene.process()
    one.write(range(NR))
    other.write(range(NR))
    assert visits(one) == NR
