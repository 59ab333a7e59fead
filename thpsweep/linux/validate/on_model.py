"""Do a case's steps in the model, through its scenario API."""

import dataclasses
import math
import platform
from typing import Any

import numpy as np

from thpsweep.linux.validate.state import InexpressibleError, State, StepResult, View
from thpsweep.linux.validate.steps import HEADROOM_BYTES, Case, CaseStep
from thpsweep.model.accounting import prices
from thpsweep.model.bits import Ints
from thpsweep.model.machines.profile import Profile
from thpsweep.model.scenario.process import Process
from thpsweep.model.scenario.scenario import Scenario
from thpsweep.model.state.counts import OPERATIONS, Counts
from thpsweep.model.state.rules import Rules, version_of
from thpsweep.outcomes import ScanResult
from thpsweep.units import HPAGE_PMD_NR, PAGE_SIZE_BYTES

_ERRNO = {
    ScanResult.SUCCEED: "",
    ScanResult.PMD_MAPPED: "",
    ScanResult.PAGE_COUNT: "EAGAIN",
    ScanResult.PAGE_LOCK: "EAGAIN",
    ScanResult.EXCEED_NONE_PTE: "EBUSY",
    ScanResult.CGROUP_CHARGE_FAIL: "EBUSY",
    ScanResult.ALLOC_HUGE_PAGE_FAIL: "ENOMEM",
}
"""What madvise_collapse_errno() makes of a result; EINVAL of the rest. Source: mm/khugepaged.c (v6.18)."""

_FAULTS = ("minor_faults", "huge_faults", "cow_faults", "reuse_faults", "reuse_pmds", "swap_ins", "swap_cache_faults")


class OnModel:
    """Hold one scenario of the model; each step is reported with its predicted time."""

    def __init__(self, case: Case, machine: Profile) -> None:
        n_processes = sum(step.verb in ("start", "fork") for step in (*case.ready, *case.question))
        self._scene, self._machine = (
            Scenario(case.n_regions, n_processes, Rules.of(version_of(platform.release()))),
            machine,
        )
        self._mechanism = "retract" if case.shmem else "copy"
        self._processes: dict[str, Process] = {}
        self._held: dict[str, list[Ints]] = {}
        self._chosen: tuple[int, ...] = ()

    def do(self, step: CaseStep, live: StepResult) -> StepResult:
        """Do a step after the kernel has. Raises: InexpressibleError where the scenario API does not have it.

        A charge that a memory cgroup refuses has the kernel reclaim first, again and again: that has no price.
        """
        self._chosen = live.chosen
        before = {name: self._scene.counts.total[name].copy() for name in OPERATIONS}
        self._had_holes = False
        method = getattr(self, f"_{step.verb}", None)
        if method is None:
            raise InexpressibleError(f"the scenario API has no {step.verb!r}")
        result, errno = method(step) or ("", "")
        done = Counts(1)
        done.total = {name: self._scene.counts.total[name] - before[name] for name in OPERATIONS}
        freed_kib = int(done.total["page_tables_freed"][0]) * PAGE_SIZE_BYTES // 1024
        ns = math.nan if ScanResult.CGROUP_CHARGE_FAIL.name in result else self._price(done)
        return StepResult(result, errno, ns, -freed_kib, self._faults(step, done), _spurious(step, done))

    def look(self) -> State:
        """Look at all living processes."""
        living = set(self._scene.living)
        views = {name: self._view(process) for name, process in self._processes.items() if process in living}
        # What only the swap cache keeps is not mapped, and not seen in the kernel either.
        return State(views, self._scene.pages_in_use - self._scene.cached_pages)

    def _view(self, process: Process) -> View:
        return View(
            frames=process.frames,
            swapped=process._has("swapped"),
            alone=process.mapcounts == 1,
            huge=np.array([process.is_huge(region) for region in range(self._scene.family.n_regions)]),
            rss_kib=process.rss_kib,
            pss_kib=process.pss_kib,
            huge_kib=process.anon_huge_kib,
            swap_kib=process.swap_kib,
        )

    def _faults(self, step: CaseStep, done: Counts) -> int | None:
        """Count the faults of a step; a read of holes maps zero pages, which the model does not have."""
        if step.verb not in ("write", "huge", "read") or self._had_holes:
            return None
        return int(sum(done.total[kind][0] for kind in _FAULTS))

    def _price(self, done: Counts) -> float:
        """Add up what the operations of a step cost. Units: ns of CPU time."""
        faults, forks = (fn(done, self._machine, False) for fn in (prices.faults_ns, prices.forks_ns))
        exits = prices.exits_ns(done, self._machine, False)
        # One process acts at a time and the others sleep: flushes find no sharer on another CPU. A global sync interrupts
        # every online CPU, idle or not.
        alone = dataclasses.replace(self._machine, ipi_ns=0.0)
        collapses = prices.collapse_ns(done, alone, max(1, len(self._scene.living)))
        syncs = done.total["global_syncs"] * (self._machine.cpus - 1) * self._machine.ipi_ns
        return float((faults + forks + exits + collapses + syncs)[0])

    # ---- one method a verb ------------------------------------------------------------------------------------------
    def _start(self, step: CaseStep) -> None:
        self._processes[step.who] = self._scene.process()

    def _fork(self, step: CaseStep) -> None:
        self._processes[step.other] = self._processes[step.who].fork()

    def _end(self, step: CaseStep) -> None:
        self._processes[step.who].exit()

    def _write(self, step: CaseStep) -> None:
        self._processes[step.who].write(step.pages)

    def _read(self, step: CaseStep) -> None:
        process = self._processes[step.who]
        self._had_holes = bool(np.any((process.frames == 0) & ~process._has("swapped")))
        self._processes[step.who].read(step.pages)

    def _huge(self, step: CaseStep) -> None:
        self._processes[step.who].huge(step.pages.start // HPAGE_PMD_NR)

    def _split(self, step: CaseStep) -> None:
        self._processes[step.who].split(step.pages.start // HPAGE_PMD_NR)

    def _discard(self, step: CaseStep) -> None:
        self._processes[step.who].discard(step.pages)

    def _punch(self, step: CaseStep) -> None:
        self._processes[step.who].discard(self._chosen)

    def _migrate(self, step: CaseStep) -> tuple[str, str]:
        """Count what the kernel moved: a migration changes nothing of who shares what."""
        mapcounts = self._processes[step.who].mapcounts[list(self._chosen)]
        self._scene.counts.total["pages_migrated"] += mapcounts.size
        self._scene.counts.total["ptes_migrated"] += mapcounts.sum()
        return "MOVED, held pages stay", ""

    def _page_out(self, step: CaseStep) -> None:
        self._processes[step.who].page_out(step.pages)

    def _merge(self, step: CaseStep) -> None:
        self._processes[step.who].write(step.pages)
        self._processes[step.who].merge(step.pages)

    def _age(self, step: CaseStep) -> None:
        self._processes[step.who].age()

    def _lock(self, step: CaseStep) -> None:
        self._processes[step.who].lock(step.pages)

    def _move(self, step: CaseStep) -> None:
        self._processes[step.who].move(step.pages)

    def _hold(self, step: CaseStep) -> None:
        pages = self._chosen or step.pages
        self._held.setdefault(step.who, []).append(self._processes[step.who].vmsplice(pages))

    def _pin(self, step: CaseStep) -> None:
        self._held.setdefault(step.who, []).append(self._processes[step.who].pin(step.pages))

    def _release(self, step: CaseStep) -> None:
        for references in self._held.pop(step.who):
            self._scene.release(references)

    def _limit(self, step: CaseStep) -> None:
        self._scene.limit(HEADROOM_BYTES)

    def _collapse(self, step: CaseStep) -> tuple[str, str]:
        regions = range(step.pages.start // HPAGE_PMD_NR, step.pages.stop // HPAGE_PMD_NR)
        result = self._processes[step.who].collapse(self._mechanism, regions)
        return result.name, _ERRNO.get(result, "EINVAL")

    def _scan(self, step: CaseStep) -> tuple[str, str]:
        scanned = {self._processes[who] for who in step.who.split()}
        for process in self._scene.living:
            process.advised = process in scanned
        limits: dict[str, Any] = dict(step.limits)
        results = self._scene.khugepaged(full_scans=1, **limits)
        results.pop(ScanResult.VMA_CHECK, None)  # of VMAs that khugepaged passes over the trace shows nothing
        return tally({result.name: n for result, n in results.items()}), ""


def _spurious(step: CaseStep, done: Counts) -> int:
    """Give how many faults stale TLB entries may add: one for each written page but the one whose fault permits all."""
    permitted = int(done.total["reuse_pmds"][0])
    return max(0, min(len(step.pages), permitted * HPAGE_PMD_NR) - permitted)


def tally(results: dict[str, int]) -> str:
    """Write results and how often each came, in one order."""
    return ", ".join(f"{name} x{n}" if n > 1 else name for name, n in sorted(results.items()) if n > 0)
