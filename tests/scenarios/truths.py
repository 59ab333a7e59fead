"""Families that the scenarios begin with: parent and child, in small pages or a THP, and one pass of khugepaged."""

from collections.abc import Callable

from thpsweep.model.scenario.process import Process
from thpsweep.model.scenario.scenario import Scenario
from thpsweep.outcomes import ScanResult

NR = 512
Family = Callable[[], tuple[Scenario, Process, Process]]


def pair() -> tuple[Scenario, Process, Process]:
    """Let a parent write small pages (a full region) and fork; both have read all of it since."""
    scene = Scenario(processes=16)
    parent = scene.process()
    parent.write(range(NR))
    child = parent.fork()
    child.read(range(NR))
    return scene, parent, child


def huge_pair() -> tuple[Scenario, Process, Process]:
    """Let a parent get a THP at fault and fork; both have read all of it since."""
    scene = Scenario(processes=16)
    parent = scene.process()
    parent.huge()
    child = parent.fork()
    child.read(range(NR))
    return scene, parent, child


def scanned(process: Process, **limits: int) -> ScanResult:
    """Let khugepaged go over one process once; give its result."""
    for other in process.scene.living:
        other.advised = other is process
    results = process.scene.khugepaged(full_scans=1, **limits)
    result = next(result for result in results if result != ScanResult.VMA_CHECK)
    assert process.is_huge() == (result == ScanResult.SUCCEED)
    return result
