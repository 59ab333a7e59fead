"""One process of a scenario: what it can do to its memory."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Ints
from thpsweep.model.mechanisms.visit import ScanLimits
from thpsweep.model.mm import fork, gup, madvise
from thpsweep.model.mm.fault import split_pmds, write
from thpsweep.model.mm.zeroed import mark_mapped, wrote
from thpsweep.model.scenario.ledger import folio_numbers
from thpsweep.model.scenario.process_state import ProcessState
from thpsweep.model.scenario.world import World
from thpsweep.outcomes import ScanResult
from thpsweep.units import HPAGE_PMD_NR

_GOES_ON = {
    ScanResult.SUCCEED,
    ScanResult.PMD_MAPPED,
    ScanResult.NO_PTE_TABLE,
    ScanResult.PTE_NON_PRESENT,
    ScanResult.PTE_UFFD_WP,
    ScanResult.PTE_MAPPED_HUGEPAGE,
    ScanResult.LACK_REFERENCED_PAGE,
    ScanResult.PAGE_NULL,
    ScanResult.PAGE_COUNT,
    ScanResult.PAGE_LOCK,
    ScanResult.PAGE_RO,
}
"""Results behind which MADV_COLLAPSE goes on with the next region. Source: mm/khugepaged.c madvise_collapse()."""


class Process(ProcessState):
    """Be one process of a scenario. Pages are numbered through all regions: page 512 is the first of region 1."""

    def __init__(self, scene: World["Process"]) -> None:
        super().__init__(scene, scene.add(self))

    def write(self, pages: Iterable[int]) -> None:
        """Write pages: first touch, copy-on-write, reuse or swap-in, whatever each needs."""
        chosen = self._fault(pages)
        wrote(self.scene.family, self._keys(chosen))
        self._young[chosen] = True
        self._protect(chosen, False)
        self._written[chosen] = self.scene.ledger.next_token()
        self.scene.ledger.put(self.frames[chosen], self._written[chosen])

    def read(self, pages: Iterable[int]) -> None:
        """Read pages: swapped ones come back, empty ones get the zero page."""
        chosen = np.array(list(pages), np.int64)
        chosen = chosen[~self._huge_zero[chosen // HPAGE_PMD_NR]]
        madvise.read_empty(self.scene.family, self.scene.counts, self._rows, self._boards(chosen))
        self._young[chosen] = True
        back = chosen[self._has("swapped")[chosen]]
        madvise.read_swapped(self.scene.family, self.scene.counts, self._rows, self._boards(back))
        self.scene.ledger.put(self.frames[back], self._in_swap[back])

    def protect(self, pages: Iterable[int]) -> None:
        """Write-protect pages that are mapped by userfaultfd (UFFDIO_WRITEPROTECT); a write, once allowed, ends it."""
        self.armed = True
        chosen = np.array(list(pages), np.int64)
        self._protect(chosen[self._has("present")[chosen]], True)

    def free(self, pages: Iterable[int]) -> None:
        """Give pages up that no other process maps (MADV_FREE): until they are written they are clean, and may go."""
        chosen = np.array(list(pages), np.int64)
        self.scene.ledger.lazyfree.update(self.frames[chosen[self.mapcounts[chosen] == 1]].tolist())

    def merge(self, pages: Iterable[int]) -> None:
        """Let KSM merge pages, of which all that are named together become one; each is shown in a frame of its own still.

        That a write always copies is not shown either.
        """
        chosen = np.array(list(pages), np.int64)
        names = self.frames[chosen[self._has("present")[chosen]]].tolist()
        self.scene.ledger.merged.update(dict.fromkeys(names, self.scene.ledger.next_token()))

    def age(self) -> None:
        """Make all ptes old, and the folios that they map unreferenced (clear_refs).

        A write or a read makes one young, a fork leaves the child's old.
        Source: fs/proc/task_mmu.c clear_refs_pte_range() (v6.18).
        """
        self._young[:] = False
        self.scene.ledger.referenced.difference_update(self.frames.tolist())

    def touched(self, pages: slice) -> None:
        """Make ptes young."""
        self._young[pages] = True

    def huge(self, region: int = 0) -> None:
        """Touch an empty region that gets a THP at the fault, and write all of it."""
        madvise.populate_huge(self.scene.family, self.scene.counts, self._rows[[region]])
        self.write(range(region * HPAGE_PMD_NR, (region + 1) * HPAGE_PMD_NR))

    def read_huge(self, region: int = 0) -> None:
        """Read an empty region first where THP is enabled: a PMD maps the huge zero page, which is nobody's memory."""
        if self.scene.family.record_of[self._rows[region]]:
            raise ValueError("the huge zero page needs an empty page table")
        self._huge_zero[region] = True

    def lone_subpages(self, pages: Iterable[int]) -> None:
        """Bring by mremap(), and write, one page each of as many split THPs of which nothing else is mapped."""
        chosen = list(pages)
        madvise.map_lone_subpages(self.scene.family, self._rows, self._boards(chosen))
        self.write(chosen)

    def discard(self, pages: Iterable[int]) -> None:
        """Give pages back (MADV_DONTNEED)."""
        chosen = list(pages)
        self._drop_huge_zero(np.array(chosen, np.int64))
        madvise.discard(self.scene.family, self.scene.counts, self._rows, self._boards(chosen))
        self._written[chosen] = 0
        self._protect(np.array(chosen, np.int64), False)
        self.scene.ledger.close_generation()

    def page_out(self, pages: Iterable[int]) -> None:
        """Write pages to swap (MADV_PAGEOUT); those that others map too stay."""
        ledger, contents, old = self.scene.ledger, self.reads, self.scene.ledger.places(self._rows)
        gone = madvise.page_out(self.scene.family, self.scene.counts, self._rows, self._boards(pages))
        swapped = bits.expand(gone).reshape(-1) != 0
        self._in_swap[swapped] = contents[swapped]
        new = ledger.places(self._rows)
        split = (new != old) & (new != 0)
        ledger.renamed(old[split], new[split])
        ledger.close_generation()

    def move(self, pages: Iterable[int]) -> None:
        """Move pages elsewhere and back (mremap()): a PMD that goes in part is ptes from then on, else all is as before.

        Source: mm/mremap.c move_page_tables(), mm/huge_memory.c vma_adjust_trans_huge() (v6.18).
        """
        regions, moved = np.unique(np.array(list(pages), np.int64) // HPAGE_PMD_NR, return_counts=True)
        split_pmds(self.scene.family, self.scene.counts, self._rows[regions[moved < HPAGE_PMD_NR]])

    def lock(self, pages: Iterable[int]) -> None:
        """Lock pages into memory (mlock()), and unlock them: each is faulted in for writing, though nothing is written.

        They are faulted in one after the other: of a folio that a sibling has left the last page may be reused.

        Source: mm/gup.c populate_vma_page_range() (v6.18).
        """
        zeroes, contents = self._zeroes(), self.reads
        chosen = np.unique(np.array(list(pages), np.int64))
        for page in chosen.tolist():
            self._fault([page])
        self._young[chosen] = True
        self.scene.ledger.learn(self.frames[chosen], contents[chosen])
        mark_mapped(self.scene.family, self._rows, self._boards(chosen) & zeroes)

    def pin(self, pages: Iterable[int]) -> Ints:
        """Pin pages for long (FOLL_PIN, as registered buffers do), each after a copy of its own; give them for release().

        The fault is one for writing, but nothing is written: what was empty holds zeroes. Pages are pinned one after the
        other, and the reference on one subpage has the fault on the next of that folio copy where it could be reused.
        Source: mm/gup.c __get_user_pages(), mm/memory.c __wp_can_reuse_large_anon_folio() (v6.18).
        """
        chosen = np.unique(np.array(list(pages), np.int64))
        self._write_huge_zero(np.unique(chosen // HPAGE_PMD_NR))
        zeroes = self._zeroes()
        held = [self._refer([page], gup.pin) for page in chosen.tolist()]
        mark_mapped(self.scene.family, self._rows, self._boards(chosen) & zeroes)
        return np.concatenate([np.zeros(0, np.int64), *held])

    def vmsplice(self, pages: Iterable[int]) -> Ints:
        """Take long references on pages as they are, shared or not (FOLL_GET); give them for release()."""
        return self._refer(pages, gup.reference)

    def _refer(self, pages: Iterable[int], take: Callable[..., Ints]) -> Ints:
        chosen = np.unique(np.array(list(pages), np.int64))
        contents, keys = self.reads, self._keys(chosen)
        self.has_anon_vma |= take is gup.pin and bool(chosen.size)
        held = take(self.scene.family, self.scene.counts, keys, np.full(keys.size, gup.UNTIL_RELEASED))
        self._young[chosen] = True
        self.scene.ledger.learn(self.frames[chosen], contents[chosen])
        self._mark_referenced(chosen)
        return held

    def _mark_referenced(self, chosen: Ints) -> None:
        """Mark the folios of pages as referenced: khugepaged takes all of them for young, whoever maps them.

        Source: mm/gup.c gup_fast_pte_range() folio_set_referenced(), mm/khugepaged.c hpage_collapse_scan_pmd() (v6.18).
        """
        ledger, frames = self.scene.ledger, self.frames[chosen]
        ledger.referenced.update(frames[frames != 0].tolist())
        folios = folio_numbers(ledger.places(self._rows)[chosen])
        for process in self.scene.living if folios.any() else ():
            ledger.referenced.update(ledger.in_folios(process._rows, folios).tolist())

    def split(self, region: int = 0) -> None:
        """Map a region by ptes instead of a PMD (MADV_NOHUGEPAGE on a part of it)."""
        split_pmds(self.scene.family, self.scene.counts, self._rows[[region]])

    def fork(self) -> "Process":
        """Give a child that maps what this process maps; of a VMA without an anon_vma no pte is copied.

        Ptes that are copied are old in the child; those of pages that are copied, since they are pinned, are made anew, and
        x86 makes them young.
        Source: mm/memory.c vma_needs_copy(), copy_present_page(), arch/x86/mm/pgprot.c protection_map (v6.18).
        """
        ledger, child, contents = self.scene.ledger, Process(self.scene), self.reads
        old = ledger.places(self._rows)
        if self.has_anon_vma:
            fork.fork(self.scene.family, self.scene.counts, 0, self.number, child.number)
        else:
            self.scene.family.anon_vmas.begin(0, child.number)
            self.scene.family.alive[0, child.number] = True
            self.scene.family.register(0, child.number)
            self.scene.counts.add_one("forks", 0)
        new = ledger.places(self._rows)
        ledger.renamed(old[new != old], new[new != old])
        child.advised, child.has_anon_vma = self.advised, self.has_anon_vma
        child._huge_zero = self._huge_zero & self.has_anon_vma
        child._young = (child.frames != self.frames) & child._has("present")  # what fork copies, it maps young
        child._written, child._in_swap = self._written.copy(), self._in_swap.copy()
        ledger.learn(child.frames, contents)
        ledger.close_generation()
        return child

    def exit(self) -> None:
        """End the process."""
        fork.exit(self.scene.family, self.scene.counts, 0, self.number)
        self.scene.ledger.close_generation()

    def collapse(self, mechanism: str = "copy", regions: Iterable[int] | None = None, **options: Any) -> ScanResult:
        """Advise regions (all, where none are named) in one MADV_COLLAPSE; give the last failure, else the last result.

        It ends at a result that is not only this region's: no block, no charge, a page that no caller may collapse.
        A VMA without an anon_vma is refused before any region is looked at, and nothing is counted.
        Source: mm/khugepaged.c madvise_collapse(), mm/huge_memory.c __thp_vma_allowable_orders() (v6.18).
        """
        if not self.has_anon_vma:
            return ScanResult.VMA_CHECK
        collapser = self.scene.collapser(mechanism, options)
        goes_on = _GOES_ON if self.scene.family.rules.goes_on_at_empty else _GOES_ON - {ScanResult.NO_PTE_TABLE}
        results: list[ScanResult] = []
        for region in range(self._rows.size) if regions is None else regions:
            row = self._rows[region]
            if self._huge_zero[region]:  # a PMD is there already
                results.append(ScanResult.PMD_MAPPED)
                continue
            scanned = collapser.scan(np.array([row]), ScanLimits(), 0, khugepaged=False)
            results += [ScanResult(result) for result in collapser.attempt(scanned, ScanLimits())]
            if results[-1] not in goes_on:
                break
        fine = (ScanResult.SUCCEED, ScanResult.PMD_MAPPED)
        return next((result for result in reversed(results) if result not in fine), results[-1])

    def _protect(self, chosen: Ints, whether: bool) -> None:
        family = self.scene.family
        self.write_protected[chosen] = whether
        if family.no_pmd is None:
            family.no_pmd = np.zeros(family.pmd.size, bool)
        family.no_pmd[self._rows] = self.write_protected.reshape(-1, HPAGE_PMD_NR).any(axis=1)

    def _fault(self, pages: Iterable[int]) -> Ints:
        """Let write faults happen on pages; give them sorted."""
        chosen = np.unique(np.array(list(pages), np.int64))
        self.has_anon_vma |= bool(chosen.size)
        self._write_huge_zero(np.unique(chosen // HPAGE_PMD_NR))
        write(self.scene.family, self.scene.counts, self._keys(chosen))
        return chosen

    def _write_huge_zero(self, regions: Ints) -> None:
        """Let the first write to a huge zero page bring a THP of zeroes, or in kernels before that ptes to the zero page.

        Source: mm/huge_memory.c do_huge_pmd_wp_page(), do_huge_zero_wp_pmd() (v6.18).
        """
        met = regions[self._huge_zero[regions]]
        self._huge_zero[met] = False
        if self.scene.family.rules.huge_zero_write:
            madvise.populate_huge(self.scene.family, self.scene.counts, self._rows[met])
        else:
            self._map_zeroes(met)

    def _drop_huge_zero(self, pages: Ints) -> None:
        """Unmap the huge zero page where all of a region is given back; map the rest of it by ptes where a part is."""
        regions, given = np.unique(pages // HPAGE_PMD_NR, return_counts=True)
        regions, given = regions[self._huge_zero[regions]], given[self._huge_zero[regions]]
        self._huge_zero[regions] = False
        self._map_zeroes(regions[given < HPAGE_PMD_NR])

    def _map_zeroes(self, regions: Ints) -> None:
        """Map the zero page by every pte of regions: a split of the PMD, no fault."""
        pages = (regions[:, None] * HPAGE_PMD_NR + np.arange(HPAGE_PMD_NR)).reshape(-1)
        faults = self.scene.counts.total["minor_faults"].copy()
        madvise.read_empty(self.scene.family, self.scene.counts, self._rows, self._boards(pages))
        self.scene.counts.total["minor_faults"][:] = faults
