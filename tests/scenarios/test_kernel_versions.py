"""What kernels of several versions did with the same programs, done by the model with the rules of each.

Debian's 6.1.187 and 6.12.117 under emulation, 6.18.44 on hardware; p parent, c child.
"""

import pytest

from tests.scenarios.truths import NR
from thpsweep.model.scenario.process import Process
from thpsweep.model.scenario.scenario import Scenario
from thpsweep.model.state.rules import Rules, version_of
from thpsweep.outcomes import ScanResult

LTS = [(6, 1), (6, 12), (6, 18)]


def parent_and_child(version: tuple[int, int], huge: bool = False, split: bool = False) -> tuple[Process, Process]:
    """Let a parent write a region, and fork."""
    parent = Scenario(rules=Rules.of(version)).process()
    parent.huge() if huge else parent.write(range(NR))
    if split:
        parent.split()
    return parent, parent.fork()


@pytest.mark.parametrize(("version", "result"), [*zip(LTS, ["PAGE_RO", "PAGE_RO", "SUCCEED"], strict=True)])
def test_a_region_that_was_not_written_after_the_fork(version: tuple[int, int], result: str) -> None:
    for process in parent_and_child(version):
        assert process.collapse().name == result


@pytest.mark.parametrize(("version", "result"), [*zip(LTS, ["PAGE_RO", "PAGE_RO", "SUCCEED"], strict=True)])
def test_one_written_page_is_enough_for_its_writer(version: tuple[int, int], result: str) -> None:
    parent, child = parent_and_child(version)
    parent.write([0])
    assert (parent.collapse().name, child.collapse().name) == ("SUCCEED", result)


@pytest.mark.parametrize(("version", "changed"), [*zip(LTS, [511, 512, 0], strict=True)])
def test_a_pte_mapped_thp_that_the_child_left_is_rewritten(version: tuple[int, int], changed: int) -> None:
    parent, child = parent_and_child(version, huge=True, split=True)
    child.exit()
    before = parent.frames
    parent.write(range(NR - 1))  # in two steps: the model judges a step by its beginning, the kernel write by write
    parent.write(range(NR - 1, NR))
    assert (parent.frames != before).sum() == changed


@pytest.mark.parametrize(("version", "changed"), [*zip(LTS, [510, 511, 0], strict=True)])
def test_a_thp_that_was_split_by_a_write_while_the_child_lived(version: tuple[int, int], changed: int) -> None:
    parent, child = parent_and_child(version, huge=True)
    parent.write([0])
    child.exit()
    before = parent.frames
    parent.write(range(1, NR - 1))
    parent.write(range(NR - 1, NR))
    assert (parent.frames != before).sum() == changed


@pytest.mark.parametrize(
    ("version", "untouched", "discarded"),
    [((6, 1), 2048, 4096), ((6, 12), 2048, 4096), ((6, 18), 2048, 2048), ((7, 2), 4096, 4096)],
)
def test_one_call_over_three_regions(version: tuple[int, int], untouched: int, discarded: int) -> None:
    """The middle one untouched, or discarded."""
    for discards, huge_kib in ((False, untouched), (True, discarded)):
        process = Scenario(regions=3, rules=Rules.of(version)).process()
        process.write([*range(NR), *(range(NR, 2 * NR) if discards else ()), *range(2 * NR, 3 * NR)])
        if discards:
            process.discard(range(NR, 2 * NR))
        process.collapse()
        assert sum(process.is_huge(region) for region in (0, 2)) * 2048 == huge_kib


def test_khugepaged_asks_for_a_writable_pte_too() -> None:
    parent, child = parent_and_child((6, 12))
    parent.write([0])
    child.read(range(NR))
    results = child.scene.khugepaged(full_scans=1, max_ptes_shared=511)
    assert results == {ScanResult.SUCCEED: 1, ScanResult.PAGE_RO: 1}


@pytest.mark.parametrize(
    ("release", "version"), [("6.18.44-fc-v669", (6, 18)), ("6.1.0-40-amd64", (6, 1)), ("7.3.4", (7, 3))]
)
def test_a_release_names_its_version(release: str, version: tuple[int, int]) -> None:
    assert version_of(release) == version


def test_a_release_without_a_version_is_refused() -> None:
    with pytest.raises(ValueError, match=r"kernel release 'custom': expected one that begins with a version"):
        version_of("custom")
