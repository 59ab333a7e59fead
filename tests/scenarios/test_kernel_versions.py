"""What kernels of several versions did with the same programs, done by the model with the rules of each.

Debian's 6.1.187 and 6.12.117 under emulation, 6.18.44 on hardware; p parent, c child.
"""

import numpy as np
import pytest

from tests.model.points import point, totals
from tests.scenarios.truths import NR
from thpsweep.errors import OptionError
from thpsweep.model import bits
from thpsweep.model.scenario.process import Process
from thpsweep.model.scenario.scenario import Scenario
from thpsweep.model.simulate import simulate
from thpsweep.model.state.mm_slots import shared_slots
from thpsweep.model.state.rules import CHANGES, NEWEST, OLDEST, Rules, has, is_vendor, version_of
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


@pytest.mark.parametrize(("version", "result"), [*zip([*LTS, (7, 3)], ["PAGE_RO"] * 2 + ["SUCCEED"] * 2, strict=True)])
def test_what_switch_made_is_undone_where_no_pte_need_be_writable(version: tuple[int, int], result: str) -> None:
    """Seen on 7.3: MADV_COLLAPSE copies the parent off the family's folio that ptes map, and leaves a PMD alone."""
    parent, child = parent_and_child(version)
    assert parent.collapse("switch").name == "SUCCEED" and parent.shared_pages(child) == NR
    assert parent.collapse().name == result
    assert parent.shared_pages(child) == (NR if result == "PAGE_RO" else 0)
    parent, child = parent_and_child(version)
    parent.collapse("switch_pmd")
    assert parent.collapse().name == "PMD_MAPPED" and parent.shared_pages(child) == NR


@pytest.mark.parametrize(("version", "rss_kib"), [((6, 1), 4), ((6, 12), 4), ((6, 13), 2048), ((6, 18), 2048)])
def test_the_first_write_to_the_huge_zero_page(version: tuple[int, int], rss_kib: int) -> None:
    """MADV_COLLAPSE finds a PMD there, and allocates nothing."""
    process = Scenario(regions=2, rules=Rules.of(version)).process()
    process.write([NR])  # its VMA has an anon_vma
    process.read_huge()
    assert process.collapse(regions=[0]).name == "PMD_MAPPED" and process.rss_kib == 4
    child = process.fork()
    process.write([7])
    assert process.rss_kib - 4 == rss_kib and process.is_huge() is (rss_kib == 2048)
    assert child.rss_kib == 4 and child.scene.intact
    child.discard([0])
    child.write([0, 1])
    assert child.rss_kib - 4 == 8 and child.scene.intact  # the rest of it is ptes to the zero page


@pytest.mark.parametrize(("kernel", "collapsed"), [("6.1.0-40-amd64", False), ("6.12", False), ("6.18", True)])
def test_the_kernel_of_a_machine_decides_in_a_run(kernel: str, collapsed: bool) -> None:
    """Nobody writes after the fork: kernels that want a writable pte refuse every region of every process."""
    asked = point("copy", 4, hot_regions=0.0)
    result = simulate({**asked, "machine": {**asked["machine"], "kernel": kernel}})
    assert set(result["outcomes"]) == ({"SUCCEED"} if collapsed else {"PAGE_RO"})
    assert (totals(result)["cost/bytes_copied"] > 0) is collapsed


@pytest.mark.parametrize("kernel", ["custom", "5.15", "", 6.18])
def test_a_machine_of_a_kernel_without_rules_is_refused(kernel: object) -> None:
    asked = point("copy", 4)
    with pytest.raises(OptionError, match=r"machine\.kernel=.*expected a version of Linux from 6\.1 on"):
        simulate({**asked, "machine": {**asked["machine"], "kernel": kernel}})


def test_every_change_has_a_place_and_a_version_that_is_known() -> None:
    for name, change in CHANGES.items():
        assert OLDEST <= change.since <= NEWEST and change.where.count("/") and change.known, name
        assert has(change.since, name) and not has((change.since[0], change.since[1] - 1), name)


@pytest.mark.parametrize(
    ("release", "vendor"),
    [("5.14.0-427.el9.x86_64", True), ("6.1.119-129.201.amzn2023.x86_64", True), ("6.12.117+deb12-cloud-amd64", False),
     ("6.18.44-fc-v669", False), ("6.8.0-1021-azure", True)],
)  # fmt: skip
def test_vendors_take_changes_into_older_versions(release: str, vendor: bool) -> None:
    assert is_vendor(release) is vendor


@pytest.mark.parametrize(
    ("version", "shared"), [((6, 1), 256), ((6, 9), 256), ((6, 10), 512), ((6, 12), 512), ((6, 15), 512)]
)
def test_what_khugepaged_takes_for_shared_where_the_child_gave_back_half_of_a_large_folio(
    version: tuple[int, int], shared: int
) -> None:
    """The child keeps the second half, and its parent all: each page, or the folio, is asked."""
    parent, child = parent_and_child(version, huge=True, split=True)
    child.discard(range(NR // 2))
    parent.write([0, NR - 1])
    assert khugepaged_counts(parent) == pytest.approx(shared, abs=2)


@pytest.mark.parametrize(("version", "shared"), [((6, 1), 0), ((6, 12), 0), ((6, 15), 510)])
def test_what_it_takes_for_shared_where_a_third_mm_is_left_alone(version: tuple[int, int], shared: int) -> None:
    """Three share a folio that ptes map; the two that got MM ids exit, and the survivor has none."""
    parent, child = parent_and_child(version, huge=True, split=True)
    survivor = child.fork()
    parent.exit()
    child.exit()
    survivor.write([0, 1])
    assert khugepaged_counts(survivor) == pytest.approx(shared, abs=2)


def khugepaged_counts(process: Process) -> int:
    """Count the pages of a process that khugepaged takes for shared."""
    boards = shared_slots(process.scene.family, process.scene.family.record_of[process._rows].astype(np.int64))
    return int(bits.count(boards)[0])
