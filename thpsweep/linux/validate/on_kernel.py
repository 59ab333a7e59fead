"""Do a case's steps on the live kernel."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from thpsweep.errors import DisturbedError
from thpsweep.linux.live.actor import Actor, Advice, LiveMemory, Reply
from thpsweep.linux.live.bench import Bench
from thpsweep.linux.live.cgroup import MemoryCgroup
from thpsweep.linux.live.compaction import compact, fill, many_free_pages, punch
from thpsweep.linux.live.family import LiveFamily
from thpsweep.linux.live.forms import split_pmd
from thpsweep.linux.live.ksm import ksmd, merge
from thpsweep.linux.proc.memory import MemoryState, memory_state, page_table_kib, pages_in_use
from thpsweep.linux.validate.interference import FILL, InterferenceWatch
from thpsweep.linux.validate.on_model import tally
from thpsweep.linux.validate.results import last_failure, mm_of, results
from thpsweep.linux.validate.state import State, StepResult, View
from thpsweep.linux.validate.steps import HEADROOM_BYTES, Case, CaseStep
from thpsweep.outcomes import ScanResult
from thpsweep.units import HPAGE_PMD_NR

_MOSTLY = 0.9
"""Part of the moved pages that has to be ours, for the time of all to be theirs."""

_DRAINING = ("collapse", "scan")
"""Steps that drain the CPUs' LRU batches themselves; the time of that is in them."""

_EVENTS = ("huge_memory", "exceptions/page_fault_user")

_ALIKE = 1 << 20
"""What pages that KSM is to merge hold; other writes count from 1."""

_FLUSHING_PAGES = 64

_DECOYS = 2
"""Results that do not come from the case: the decoy's, in a pass without and one with the case's memory."""


class _Held(NamedTuple):
    actor: Actor
    number: int
    pages: range


class OnKernel:
    """Hold one case's family of live processes; it ends with the case."""

    def __init__(
        self, case: Case, bench: Bench, family: LiveFamily, group: MemoryCgroup | None, counts_faults: bool
    ) -> None:
        self._case, self._bench, self._family, self._group = case, bench, family, group
        self._actors: dict[str, Actor] = {}
        self._memory = LiveMemory(0, 0)
        self._held: dict[str, list[_Held]] = {}
        self._advised: set[str] = set()
        self._dense: list[int] = []
        self._idler = family.start()
        self._counts_faults = counts_faults and not (case.low or case.shmem)
        self.interference = InterferenceWatch()
        self.retries = 0

    def do(self, step: CaseStep) -> StepResult:
        """Do a step. Raises: LiveError where this machine cannot."""
        method: Callable[[CaseStep], StepResult] = getattr(self, f"_{step.verb}")
        if step.verb not in _DRAINING:
            self._bench.drain_lru()
        result = method(step)
        self.interference.after(FILL if self._case.low and step.verb == "write" else step.verb)
        return result

    def look(self) -> State:
        """Look at all living processes."""
        states = {name: memory_state(actor.pid, self._memory) for name, actor in self._actors.items()}
        views = {name: _view(seen) for name, seen in states.items()}
        pages = None if self._held else pages_in_use(states.values())  # a page that is only held is not seen
        self.interference.after("", any(seen.idle for seen in states.values()))
        return State(views, pages)

    def warm(self) -> None:
        """Make memory ready that the host has backed, so that no step waits for it; it would undo a layout of frames."""
        if not self._counts_faults:
            with self._bench.recording():
                pass  # no event of faults is left on: it would be timed, too
        if not self._case.low:
            self._bench.warm((len(self._actors) + 2) * self._case.n_regions)
            self._collapse_elsewhere()

    def _collapse_elsewhere(self) -> None:
        """Collapse a region of another process: prices are of many in a row, and the first takes a tenth more."""
        scratch = self._idler.map(1)
        self._idler.write(scratch, range(scratch.n_pages))
        self._idler.advise(scratch, Advice.COLLAPSE)
        self._idler.unmap(scratch)

    def _tables_kib(self) -> int:
        return sum(page_table_kib(actor.pid) for actor in self._actors.values())

    # ---- one method a verb ------------------------------------------------------------------------------------------
    def _start(self, step: CaseStep) -> StepResult:
        self._actors[step.who] = actor = self._family.start()
        if self._group is not None:
            self._group.add(actor.pid)
        self._memory = actor.map(self._case.n_regions, self._case.shmem)
        return StepResult()

    def _fork(self, step: CaseStep) -> StepResult:
        parent = self._actors[step.who]
        _, empty_ns = self._idler.do("fork", 0, 2).cpu_ns  # without memory; the first one warms the kernel's code
        child, reply = self._family.fork(parent)
        self._actors[step.other] = child
        if step.who in self._advised:
            self._advised.add(step.other)
        if self._case.shmem:  # a fork copies no ptes of shmem: what the parent maps, the child's touches map
            child.read(self._memory, range(self._memory.n_pages))
        return StepResult(ns=_cpu_ns(reply) - empty_ns)

    def _end(self, step: CaseStep) -> StepResult:
        self._family.end(self._actors.pop(step.who))
        return StepResult()

    def _write(self, step: CaseStep) -> StepResult:
        if self._case.low:
            fill(self._bench, self._actors[step.who], self._memory)
            return StepResult()
        actor = self._actors[step.who]
        return self._touch(actor, lambda: actor.write(self._memory, step.pages))

    def _read(self, step: CaseStep) -> StepResult:
        actor = self._actors[step.who]
        return self._touch(actor, lambda: actor.read(self._memory, step.pages))

    def _touch(self, actor: Actor, act: Callable[[], Reply]) -> StepResult:
        """Let a process touch pages, and count the faults that it takes there."""
        if not self._counts_faults or "tracefs" in self._bench.missing:
            return StepResult(ns=_cpu_ns(act()))
        with self._bench.recording(*_EVENTS, pid=actor.pid) as events:  # of all processes they would be too many
            reply = act()
        mine = [event for event in events if event.name == "page_fault_user" and event.pid == actor.pid]
        places = [int(event.fields["address"], 16) - self._memory.address for event in mine]
        return StepResult(ns=_cpu_ns(reply), faults=sum(0 <= place < self._memory.n_bytes for place in places))

    def _huge(self, step: CaseStep) -> StepResult:
        actor, region = self._actors[step.who], step.pages
        actor.advise(self._memory, Advice.HUGEPAGE)
        self._advised.add(step.who)
        return self._touch(actor, lambda: actor.write(self._memory, region))

    def _split(self, step: CaseStep) -> StepResult:
        split_pmd(self._actors[step.who], self._memory, step.pages.start // HPAGE_PMD_NR)
        return StepResult()

    def _discard(self, step: CaseStep) -> StepResult:
        self._advise(step, Advice.DONTNEED)
        return StepResult()

    def _page_out(self, step: CaseStep) -> StepResult:
        self._bench.need_swap()
        self._advise(step, Advice.PAGEOUT)
        return StepResult()

    def _merge(self, step: CaseStep) -> StepResult:
        actor = self._actors[step.who]
        for page in step.pages:
            actor.write(self._memory, range(page, page + 1), value=_ALIKE)
        with ksmd(self._bench.settings, self._memory.n_pages) as daemon:
            actor.advise(self._memory, Advice.MERGEABLE)
            merge(daemon, len(step.pages) - 1)
        return StepResult()

    def _age(self, step: CaseStep) -> StepResult:
        """Make ptes old, and drop the TLB entries through which a read would make none young.

        clear_refs leaves these where it is told 1; told 4 it flushes, but write-protects ptes in kernels with soft-dirty
        bits. An unmap of more pages than are flushed one by one flushes all.
        Source: arch/x86/mm/tlb.c tlb_single_page_flush_ceiling (v6.18).
        """
        actor = self._actors[step.who]
        Path(f"/proc/{actor.pid}/clear_refs").write_text("1")
        scratch = actor.map(1)
        actor.write(scratch, range(_FLUSHING_PAGES))
        actor.unmap(scratch)
        return StepResult()

    def _lock(self, step: CaseStep) -> StepResult:
        self._actors[step.who].lock(self._memory, step.pages)
        return StepResult()

    def _move(self, step: CaseStep) -> StepResult:
        self._actors[step.who].move(self._memory, step.pages)
        return StepResult()

    def _hold(self, step: CaseStep) -> StepResult:
        if not self._dense:
            return self._keep(step, self._actors[step.who].splice)
        first = int(self._dense[0])  # pages that are there, and that compaction would move
        result = self._keep(replace(step, pages=range(first, first + len(step.pages))), self._actors[step.who].splice)
        return replace(result, chosen=tuple(self._held[step.who][-1].pages))

    def _pin(self, step: CaseStep) -> StepResult:
        return self._keep(step, self._actors[step.who].pin)

    def _keep(self, step: CaseStep, take: Callable[[LiveMemory, range], int]) -> StepResult:
        number = take(self._memory, step.pages)
        self._held.setdefault(step.who, []).append(_Held(self._actors[step.who], number, step.pages))
        return StepResult()

    def _release(self, step: CaseStep) -> StepResult:
        for held in self._held.pop(step.who):
            held.actor.release(held.number)
        return StepResult()

    def _limit(self, step: CaseStep) -> StepResult:
        """Leave the cgroup less than a huge page, and nothing to reclaim."""
        assert self._group is not None, "a case with a limit is one with limited=True"
        self._group.forbid_swap()
        self._group.limit(self._group.used_bytes + HEADROOM_BYTES)
        return StepResult()

    def _collapse(self, step: CaseStep) -> StepResult:
        actor, tables_kib = self._actors[step.who], self._tables_kib()
        counted = {"pid": actor.pid} if self._counts_faults else {}
        with self._bench.recording(*_EVENTS * self._counts_faults, **counted) as events:
            reply = self._advise(step, Advice.COLLAPSE)
            if reply.error == "EAGAIN" and not self._held:
                self.retries += 1  # another's short reference; the kernel's selftest tries again, too
                reply = self._advise(step, Advice.COLLAPSE)
        ns = _cpu_ns(reply) - self._bench.empty_call_ns
        if self._case.shmem:
            ns += self._touch_all()
        names = results(events, lambda event: event.pid == actor.pid)
        result = last_failure(names[-len(step.pages) // HPAGE_PMD_NR :])  # of the second try, where there was one
        if self._case.shmem and result == ScanResult.PTE_MAPPED_HUGEPAGE.name and not reply.errno:
            result = ScanResult.SUCCEED.name  # what MADV_COLLAPSE says of shmem that it has collapsed
        return StepResult(result, reply.error, ns, self._tables_kib() - tables_kib)

    def _touch_all(self) -> float:
        """Let every process touch what it mapped before; the model's `retract` has them do so at once."""
        touches = [actor.read(self._memory, range(self._memory.n_pages)) for actor in self._actors.values()]
        return sum(map(_cpu_ns, touches))

    def _scan(self, step: CaseStep) -> StepResult:
        daemon = self._bench.need_khugepaged()
        self._bench.need_trace()
        scanned, limits = step.who.split(), dict(step.limits)
        passed_over = [self._actors[name] for name in self._advised if name in self._actors]
        for actor in passed_over:
            actor.advise(self._memory, Advice.NOHUGEPAGE)
        with self._bench.recording() as idle_events:
            without_ns = daemon.scan(limits)
        for name in scanned:
            self._actors[name].advise(self._memory, Advice.HUGEPAGE)
        mms = {mm_of(self._actors[name], self._bench) for name in scanned}
        tables_kib = self._tables_kib()
        with self._bench.recording() as events:
            ns = daemon.scan(limits) - without_ns
        for actor in passed_over:  # MADV_COLLAPSE would refuse them now
            actor.advise(self._memory, Advice.HUGEPAGE)
        self._advised.update(scanned)
        others = results([*idle_events, *events], lambda event: event.fields["mm"] not in mms)
        if len(others) > _DECOYS:
            ns = math.nan  # another program's memory took time, which cannot be separated
        tallied = Counter(results(events, lambda event: event.fields["mm"] in mms))
        return StepResult(tally(tallied), "", ns, self._tables_kib() - tables_kib)

    def _punch(self, step: CaseStep) -> StepResult:
        """Leave holes."""
        assert self._group is not None, "a case with a punch is one with low=True"
        with many_free_pages(self._bench.settings):
            gone, dense = punch(self._group, self._actors[step.who], self._memory)
        self._dense = dense.tolist()
        return StepResult(chosen=tuple(gone.tolist()))

    def _migrate(self, step: CaseStep) -> StepResult:
        """Compact all memory; tell which pages of the process moved."""
        self._bench.need_trace()
        with many_free_pages(self._bench.settings):
            moves = compact(self._bench, self._actors[step.who], self._memory)
        if not moves.pages.size:
            raise DisturbedError(f"compaction moved none of the pages, and {moves.foreign_pages} of other programs")
        held = {page for kept in self._held.values() for some in kept for page in some.pages}
        stays = "held pages stay" if held.isdisjoint(moves.pages.tolist()) else "A HELD PAGE MOVED"
        # Of a few foreign pages among ours the time cannot be separated.
        ours = moves.pages.size / (moves.pages.size + moves.foreign_pages)
        ns = moves.ns * ours if ours > _MOSTLY else math.nan
        return StepResult(f"MOVED, {stays}", ns=ns, chosen=tuple(moves.pages.tolist()))

    def _advise(self, step: CaseStep, advice: Advice) -> Reply:
        return self._actors[step.who].advise(self._memory, advice, step.pages)


def _view(seen: MemoryState) -> View:
    return View(
        frames=seen.frames,
        swapped=seen.swapped,
        alone=seen.alone,
        huge=seen.huge,
        rss_kib=seen.kib["Rss"],
        pss_kib=float(seen.kib["Pss"]),
        huge_kib=seen.kib["AnonHugePages"] + seen.kib["ShmemPmdMapped"],
        swap_kib=seen.kib["Swap"],
        slack_kib=float(max(1, seen.n_vmas)),
    )


def _cpu_ns(reply: Reply) -> float:
    return float(sum(reply.cpu_ns))
