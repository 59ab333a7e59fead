"""Do a case's steps on the live kernel."""

import math
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

from thpsweep.errors import LiveError
from thpsweep.linux.live.actor import Actor, Advice, Memory, Reply
from thpsweep.linux.live.bench import Bench
from thpsweep.linux.live.compaction import compact, low_memory, many_free_pages, punch
from thpsweep.linux.live.family import Family
from thpsweep.linux.live.forms import split_pmd
from thpsweep.linux.live.look import Look, look, page_table_kib, pages_in_use
from thpsweep.linux.live.tracing import Event
from thpsweep.linux.validate.on_model import tally
from thpsweep.linux.validate.state import InexpressibleError, State, Told, View
from thpsweep.linux.validate.steps import Case, Step
from thpsweep.outcomes import ScanResult
from thpsweep.units import HPAGE_PMD_NR

_NAMES = {
    "succeeded": ScanResult.SUCCEED,
    "pte_mapped_hugepage": ScanResult.PTE_MAPPED_HUGEPAGE,
    "pmd_null": ScanResult.NO_PTE_TABLE,
    "pmd_none": ScanResult.NO_PTE_TABLE,
    "no_pte_table": ScanResult.NO_PTE_TABLE,
    "page_pmd_mapped": ScanResult.PMD_MAPPED,
    "exceed_none_pte": ScanResult.EXCEED_NONE_PTE,
    "exceed_swap_pte": ScanResult.EXCEED_SWAP_PTE,
    "exceed_shared_pte": ScanResult.EXCEED_SHARED_PTE,
    "pte_non_present": ScanResult.PTE_NON_PRESENT,
    "lack_referenced_page": ScanResult.LACK_REFERENCED_PAGE,
    "not_suitable_page_count": ScanResult.PAGE_COUNT,
    "alloc_huge_page_failed": ScanResult.ALLOC_HUGE_PAGE_FAIL,
}
"""Names that the kernel's trace events print. Source: include/trace/events/huge_memory.h (v6.18)."""

_SCAN_EVENTS = ("mm_khugepaged_scan_pmd", "mm_khugepaged_scan_file")
_FINE = ("SUCCEED", "PMD_MAPPED")
_SCRATCH_REGIONS = 2
_MOSTLY = 0.9


class _Held(NamedTuple):
    actor: Actor
    number: int
    pages: range


class OnKernel:
    """Hold one case's family of live processes; it ends with the case."""

    def __init__(self, case: Case, bench: Bench, family: Family) -> None:
        self._case, self._bench, self._family = case, bench, family
        self._actors: dict[str, Actor] = {}
        self._memory = Memory(0, 0)
        self._held: dict[str, list[_Held]] = {}
        self._advised: set[str] = set()
        self._idler = family.start()

    def do(self, step: Step) -> Told:
        """Do a step. Raises: InexpressibleError where this machine cannot; LiveError."""
        method: Callable[[Step], Told] = getattr(self, f"_{step.verb}")
        return method(step)

    def look(self) -> State:
        """Look at all living processes."""
        looks = {name: look(actor.pid, self._memory) for name, actor in self._actors.items()}
        return State({name: _view(seen) for name, seen in looks.items()}, pages_in_use(looks.values()))

    def warm(self) -> None:
        """Make memory ready that the host has backed, so that no step waits for it; it would undo a layout of frames."""
        if not self._case.low:
            self._bench.warm((len(self._actors) + 2) * self._case.n_regions)

    def _tables_kib(self) -> int:
        return sum(page_table_kib(actor.pid) for actor in self._actors.values())

    # ---- one method a verb ------------------------------------------------------------------------------------------
    def _start(self, step: Step) -> Told:
        self._actors[step.who] = actor = self._family.start()
        self._memory = actor.map(self._case.n_regions, self._case.shmem)
        return Told()

    def _fork(self, step: Step) -> Told:
        parent = self._actors[step.who]
        empty_ns = self._idler.do("fork", 0, 2).cpu_ns[
            1
        ]  # of a process without memory; the first warms the kernel's code
        child, reply = self._family.fork(parent)
        self._actors[step.other] = child
        if step.who in self._advised:
            self._advised.add(step.other)
        if self._case.shmem:  # a fork copies no ptes of shmem: what the parent maps, the child's touches map
            child.read(self._memory, range(self._memory.n_pages))
        return Told(ns=_cpu_ns(reply) - empty_ns)

    def _end(self, step: Step) -> Told:
        self._family.end(self._actors.pop(step.who))
        return Told()

    def _write(self, step: Step) -> Told:
        with low_memory(self._family) if self._case.low else nullcontext():
            reply = self._actors[step.who].write(self._memory, step.pages)
        return Told(ns=_cpu_ns(reply))

    def _read(self, step: Step) -> Told:
        reply = self._actors[step.who].read(self._memory, step.pages)
        return Told(ns=_cpu_ns(reply))

    def _huge(self, step: Step) -> Told:
        actor, region = self._actors[step.who], step.pages
        actor.advise(self._memory, Advice.HUGEPAGE)
        self._advised.add(step.who)
        return Told(ns=_cpu_ns(actor.write(self._memory, region)))

    def _split(self, step: Step) -> Told:
        split_pmd(self._actors[step.who], self._memory, step.pages.start // HPAGE_PMD_NR)
        return Told()

    def _discard(self, step: Step) -> Told:
        self._advise(step, Advice.DONTNEED)
        return Told()

    def _page_out(self, step: Step) -> Told:
        self._bench.need_swap()
        self._advise(step, Advice.PAGEOUT)
        return Told()

    def _age(self, step: Step) -> Told:
        Path(f"/proc/{self._actors[step.who].pid}/clear_refs").write_text("1")
        return Told()

    def _hold(self, step: Step) -> Told:
        return self._keep(step, self._actors[step.who].splice)

    def _pin(self, step: Step) -> Told:
        return self._keep(step, self._actors[step.who].pin)

    def _keep(self, step: Step, take: Callable[[Memory, range], int]) -> Told:
        number = take(self._memory, step.pages)
        self._held.setdefault(step.who, []).append(_Held(self._actors[step.who], number, step.pages))
        return Told()

    def _release(self, step: Step) -> Told:
        for held in self._held.pop(step.who):
            held.actor.release(held.number)
        return Told()

    def _collapse(self, step: Step) -> Told:
        actor, tables_kib = self._actors[step.who], self._tables_kib()
        with self._bench.recording() as events:
            reply = self._advise(step, Advice.COLLAPSE)
            spurious = reply.error == "EAGAIN" and not self._held
            if spurious:  # a page in another CPU's LRU batch; the kernel's selftest tries again, too
                reply = self._advise(step, Advice.COLLAPSE)
        ns = _cpu_ns(reply) - self._bench.empty_call_ns
        if self._case.shmem:
            ns += self._touch_all()
        names = [_name(event) for event in events if event.name in _SCAN_EVENTS and event.pid == actor.pid]
        if spurious:
            names = names[-len(step.pages) // HPAGE_PMD_NR :]
        result = next((name for name in reversed(names) if name not in _FINE), names[-1] if names else "")
        if self._case.shmem and result == "PTE_MAPPED_HUGEPAGE" and not reply.errno:
            result = "SUCCEED"  # what MADV_COLLAPSE says of shmem that it has collapsed
        return Told(result, reply.error, ns, self._tables_kib() - tables_kib)

    def _touch_all(self) -> float:
        """Let every process touch what it mapped before; the model's `retract` has them do so at once."""
        touches = [actor.read(self._memory, range(self._memory.n_pages)) for actor in self._actors.values()]
        return sum(map(_cpu_ns, touches))

    def _scan(self, step: Step) -> Told:
        daemon = self._bench.need_khugepaged()
        self._bench.need_trace()
        scanned, limits = step.who.split(), dict(step.limits)
        for name in self._advised:
            if name in self._actors:
                self._actors[name].advise(self._memory, Advice.NOHUGEPAGE)
        with self._bench.recording() as idle_events:
            without_ns = daemon.scan(limits)
        for name in scanned:
            self._actors[name].advise(self._memory, Advice.HUGEPAGE)
        mms = {self._mm_of(self._actors[name]) for name in scanned}
        tables_kib = self._tables_kib()
        with self._bench.recording() as events:
            ns = daemon.scan(limits)
        self._advised.update(scanned)
        theirs = [e for e in (*idle_events, *events) if e.name in _SCAN_EVENTS and e.fields.get("mm") not in mms]
        alone = (
            len(theirs) <= 2
        )  # the decoy, in each pass; else another program's memory took time that is not told apart
        found = Counter(_name(e) for e in events if e.name in _SCAN_EVENTS and e.fields.get("mm") in mms)
        return Told(tally(found), "", ns - without_ns if alone else math.nan, self._tables_kib() - tables_kib)

    def _punch(self, step: Step) -> Told:
        """Leave holes."""
        with many_free_pages(self._bench.settings):
            gone = punch(self._actors[step.who], self._memory)
        return Told(chosen=tuple(gone.tolist()))

    def _migrate(self, step: Step) -> Told:
        """Compact all memory; tell which pages of the process moved."""
        self._bench.need_trace()
        with many_free_pages(self._bench.settings):
            moves = compact(self._bench, self._actors[step.who], self._memory)
        if moves is None or not moves.pages.size:
            raise LiveError("compaction moved none of the pages: memory is not fragmented enough")
        held = {page for kept in self._held.values() for some in kept for page in some.pages}
        stays = "held pages stay" if held.isdisjoint(moves.pages.tolist()) else "A HELD PAGE MOVED"
        # Of a few foreign pages among ours the time is not told apart.
        ours = moves.pages.size / (moves.pages.size + moves.foreign_pages)
        ns = moves.ns * ours if ours > _MOSTLY else math.nan
        return Told(f"MOVED, {stays}", ns=ns, chosen=tuple(moves.pages.tolist()))

    def _mm_of(self, actor: Actor) -> str:
        """Learn how trace events print an mm: of a scratch range only the second region is touched, the first collapsed."""
        scratch = actor.map(_SCRATCH_REGIONS)
        actor.write(scratch, range(HPAGE_PMD_NR, HPAGE_PMD_NR + 1))
        with self._bench.recording() as events:
            actor.advise(scratch.region(0), Advice.COLLAPSE)
        actor.unmap(scratch)
        found = [e.fields["mm"] for e in events if e.name == "mm_khugepaged_scan_pmd" and e.pid == actor.pid]
        if len(found) != 1:
            raise InexpressibleError(f"the trace does not tell the mm of process {actor.pid}")
        return found[0]

    def _advise(self, step: Step, advice: Advice) -> Reply:
        return self._actors[step.who].advise(self._memory, advice, step.pages)


def _view(seen: Look) -> View:
    return View(
        frames=seen.frames,
        swapped=seen.swapped,
        huge=seen.huge,
        rss_kib=seen.kib["Rss"],
        pss_kib=float(seen.kib["Pss"]),
        huge_kib=seen.kib["AnonHugePages"] + seen.kib["ShmemPmdMapped"],
        swap_kib=seen.kib["Swap"],
        slack_kib=float(max(1, seen.n_vmas)),
    )


def _cpu_ns(reply: Reply) -> float:
    return float(sum(reply.cpu_ns))


def _name(event: Event) -> str:
    """Give the model's name of a result, or the kernel's own where the model has none."""
    status = event.fields.get("status") or event.fields["result"]  # of anon and of file memory
    return _NAMES[status].name if status in _NAMES else status.upper()
