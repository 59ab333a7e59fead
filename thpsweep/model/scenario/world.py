"""What the processes of a scenario have in common: their family, what was counted, and what a collapser asks of each."""

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from thpsweep.model import bits, registry
from thpsweep.model.bits import Bools, Ints
from thpsweep.model.collapse.allocation import Allocator, cgroup_limit_pages
from thpsweep.model.collapse.scan import VisitConditions
from thpsweep.model.mechanisms.base import NOBODY
from thpsweep.model.memories.base import MemoryView
from thpsweep.model.memories.plentiful import Plentiful
from thpsweep.model.scenario.ledger import Bookkeeper, Ledger
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family
from thpsweep.model.state.rules import Rules
from thpsweep.outcomes import ScanResult
from thpsweep.units import HPAGE_PMD_NR


class Mm(Protocol):
    """What a collapser asks of a process. Shapes: arrays have one item per page, (n_pages,)."""

    number: int
    advised: bool
    armed: bool
    has_anon_vma: bool
    write_protected: Bools

    @property
    def frames(self) -> Ints: ...

    @property
    def reads(self) -> Ints: ...

    @property
    def young(self) -> Bools: ...

    def touched(self, pages: slice) -> None: ...


P = TypeVar("P", bound=Mm)


class World(Generic[P]):
    """Hold one family: its processes, what they wrote, and what has been counted.

    rules: what the kernel of a version does (default: the newest that the model knows).
    """

    def __init__(self, regions: int = 1, processes: int = 8, rules: Rules | None = None) -> None:
        self.family, self.counts = Family(1, regions, processes), Counts(1)
        self.family.rules = rules or Rules()
        self.ledger = Ledger(self.family)
        self.processes: list[P] = []
        self._limit_pages: Ints | None = None

    def limit(self, headroom_bytes: int) -> None:
        """Limit the memory cgroup of all processes to so much above what they use now; nothing is reclaimed for it."""
        self._limit_pages = cgroup_limit_pages(Plentiful(cgroup_headroom_bytes=headroom_bytes), self.family)

    def add(self, process: P) -> int:
        """Take a process that does not live yet; give its number. Raises: ValueError where there is no room for another."""
        if len(self.processes) == self.family.n_sharers:
            raise ValueError(f"the scenario was made for {self.family.n_sharers} processes")
        self.processes.append(process)
        return len(self.processes) - 1

    @property
    def living(self) -> list[P]:
        """Processes that have not exited, in the order of their start."""
        return [process for process in self.processes if self.family.alive[0, process.number]]

    def collapser(self, mechanism: str, options: dict[str, Any]) -> Bookkeeper:
        """Make a collapser that keeps the ledger."""
        built = registry.build("mechanism", {"kind": mechanism, **options})
        place = MemoryView(self.family, self.counts, np.zeros(1, np.uint64))
        return Bookkeeper(
            self.family,
            self.counts,
            built,
            lambda rows, tick, khugepaged: self._conditions(rows, khugepaged, built.all_sharers),
            allocator=Allocator(Plentiful(), place, None, self._limit_pages, built.order),
            copied=self._copied,
            passed_over=self._passed_over,
            repeated=self._repeated,
            refusing=lambda rows, khugepaged: self._refusing(rows, khugepaged, built.all_sharers),
        )

    def _copied(self, rows: Ints) -> Callable[[], None]:
        """Note, after an attempt, that new frames hold copies of what the scanned processes found before it."""
        before = []
        for row in rows.tolist():
            region, number = divmod(row, self.family.n_sharers)
            pages = slice(region * HPAGE_PMD_NR, (region + 1) * HPAGE_PMD_NR)
            before.append((row, number, pages, self.processes[number].reads[pages]))

        def after() -> None:
            for process in self.living if before else ():
                frames = process.frames
                for _, _, pages, contents in before:
                    self.ledger.learn(frames[pages], contents)
            for row, number, pages, _ in before:
                if self.family.pmd[row]:
                    self.processes[number].touched(pages)  # mm/khugepaged.c sets a young PMD: folio_mk_pmd()
            self.ledger.close_generation()

        return after

    def _passed_over(self, rows: Ints) -> Bools:
        """Tell which rows lie in a VMA that khugepaged does not look into: not advised, or without an anon_vma."""
        mms = [self.processes[number] for number in rows % self.family.n_sharers]
        return np.array([not (mm.advised and mm.has_anon_vma) for mm in mms], bool)

    def _refusing(self, rows: Ints, khugepaged: bool, all_sharers: bool) -> list[tuple[ScanResult, bits.Boards]]:
        """Find what refuses a scan although no state of the model holds it; the kernel takes pages of KSM as they are.

        Source: mm/khugepaged.c collapse_scan_pmd() (torvalds/linux b2128290c299).
        """
        names, protected = self.ledger.names(rows), np.zeros((rows.size, HPAGE_PMD_NR), bool)
        for index, (region, number) in enumerate(zip(*divmod(rows, self.family.n_sharers), strict=True)):
            protected[index] = self.processes[number].write_protected[region * HPAGE_PMD_NR :][:HPAGE_PMD_NR]
        armed = np.array([self.processes[number].armed for number in rows % self.family.n_sharers], bool)
        records = self.family.records
        empty = ~(records.present[self.family.record_of[rows]] | records.swapped[self.family.record_of[rows]])
        refusing = [
            (ScanResult.PTE_UFFD_WP, bits.pack(protected)),
            (ScanResult.EXCEED_NONE_PTE, np.where(armed[:, None], empty, np.uint64(0))),
        ]
        for result, marked, met in (
            (ScanResult.PAGE_LAZYFREE, self.ledger.lazyfree, khugepaged),
            (ScanResult.PAGE_ANON, self.ledger.merged, all_sharers),
        ):
            if marked and met:
                refusing.append((result, bits.pack(np.isin(names, list(marked)).reshape(rows.size, HPAGE_PMD_NR))))
        return refusing

    def _repeated(self, rows: Ints) -> Ints:
        """Find the first slot of each row with a page that KSM put into an earlier slot, too; 512 for none.

        Source: mm/khugepaged.c __collapse_huge_page_isolate(), folio_trylock() (v6.18).
        """
        slots = np.full(rows.size, NOBODY)
        for index, names in enumerate(
            self.ledger.names(rows).reshape(rows.size, HPAGE_PMD_NR) if self.ledger.merged else ()
        ):
            seen: set[int] = set()
            for slot, name in enumerate(names.tolist()):
                page = self.ledger.merged.get(name)
                if page in seen:
                    slots[index] = slot
                    break
                seen |= {page} if page is not None else set()
        return slots

    def _conditions(self, rows: Ints, khugepaged: bool, all_sharers: bool) -> VisitConditions:
        """Look up young ptes, of any sharer for a mechanism that changes all, and folios that are marked as referenced; no
        short reference is held or comes late."""
        young, referenced = np.full(rows.size, HPAGE_PMD_NR), list(self.ledger.referenced)
        for index, row in enumerate(rows.tolist() if khugepaged else ()):
            region, number = divmod(row, self.family.n_sharers)
            pages, mine = slice(region * HPAGE_PMD_NR, (region + 1) * HPAGE_PMD_NR), self.processes[number]
            others = [mm for mm in self.living if mm is not mine] if all_sharers else []
            shared = [mm.young[pages] & (mm.frames[pages] == mine.frames[pages]) for mm in others]
            marked = np.isin(mine.frames[pages], referenced)
            young[index] = np.count_nonzero(np.logical_or.reduce([mine.young[pages], marked, *shared]))
        return VisitConditions(young, np.zeros(rows.size, bool), np.full(rows.size, NOBODY))
