"""One process of a scenario: what it can do to its memory, and what can be asked of it."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Boards, Bools, Ints
from thpsweep.model.mechanisms.visit import ScanLimits
from thpsweep.model.mm import fork, gup, madvise
from thpsweep.model.mm.fault import split_pmds, write
from thpsweep.model.mm.zeroed import mark_mapped, wrote, zeroes_of_copy
from thpsweep.model.scenario.ledger import folio_numbers
from thpsweep.model.scenario.world import World
from thpsweep.outcomes import ScanResult
from thpsweep.units import HPAGE_PMD_NR, PAGE_SIZE_BYTES

PAGE_KIB = PAGE_SIZE_BYTES // 1024

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


class Process:
    """Be one process of a scenario. Pages are numbered through all regions: page 512 is the first of region 1.

    advised: the range is MADV_HUGEPAGE; khugepaged passes over a process that is not, MADV_COLLAPSE does not ask.
    armed: userfaultfd is registered, and no empty pte may be filled; a child is not.
    has_anon_vma: the first write, or an ancestor's, prepared one; without, both refuse. Pages of zeroes need none.
    """

    def __init__(self, scene: World["Process"]) -> None:
        self.scene, self.number, self.advised = scene, scene.add(self), True
        self.has_anon_vma = self.armed = False
        n_pages = scene.family.n_regions * HPAGE_PMD_NR
        self._written, self._in_swap = np.zeros(n_pages, np.int64), np.zeros(n_pages, np.int64)
        self._young = np.zeros(n_pages, bool)
        self._huge_zero = np.zeros(scene.family.n_regions, bool)
        self.write_protected = np.zeros(n_pages, bool)
        """Pages over whose ptes userfaultfd has a write protection, this process's alone."""

    # ---- acting ----------------------------------------------------------------------------------------------------
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

        Source: mm/gup.c populate_vma_page_range() (v6.18).
        """
        zeroes, contents = self._zeroes(), self.reads
        chosen = self._fault(pages)
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

    # ---- asking ----------------------------------------------------------------------------------------------------
    @property
    def frames(self) -> Ints:
        """Name the frame of each page: equal names are the same frame, at any time; 0 is none. Shapes: (n_pages,)."""
        return self.scene.ledger.names(self._rows)

    @property
    def mapcounts(self) -> Ints:
        """Count who maps the frame of each page. Shapes: (n_pages,)."""
        layers = self.scene.ledger.places(self._rows) >> 32
        counted = self.scene.family.mapcounts(layers, np.arange(layers.size) % HPAGE_PMD_NR)
        return np.where(layers != 0, counted, 0)

    @property
    def reads(self) -> Ints:
        """Give what the process finds in each page: the number of the write that made it, 0 for zeroes."""
        return np.where(self._has("swapped"), self._in_swap, self.scene.ledger.contents(self.frames))

    @property
    def intact(self) -> bool:
        """Whether it finds what it (or an ancestor before the fork) wrote last, and zeroes elsewhere."""
        return np.array_equal(self.reads, self._written)

    @property
    def young(self) -> Bools:
        """Tell which pages have a young pte. Shapes: (n_pages,)."""
        return np.asarray(self._young & self._has("present"))

    def is_huge(self, region: int = 0) -> bool:
        """Tell whether a PMD maps the region."""
        return bool(self.scene.family.pmd[self._rows[region]])

    def shared_pages(self, other: "Process") -> int:
        """Count the pages whose frame the other process maps too."""
        mine, its = self.frames, other.frames
        return int(np.count_nonzero((mine == its) & (mine != 0)))

    @property
    def anon_huge_kib(self) -> int:
        """AnonHugePages of smaps."""
        return int(np.count_nonzero(self.scene.family.pmd[self._rows])) * HPAGE_PMD_NR * PAGE_KIB

    @property
    def thpmaps_kib(self) -> dict[str, int]:
        """Give what the kernel's thpmaps says of the process's folios, by its labels; nothing for a label that has none.

        A folio counts under its size where all of its pages are mapped, else these are partial.
        Source: tools/mm/thpmaps thp_parse() (v6.18).
        """
        folios = folio_numbers(self.scene.ledger.places(self._rows))
        by_pmd = np.repeat(self.scene.family.pmd[self._rows], HPAGE_PMD_NR)
        counted: Counter[str] = Counter()
        for folio, pages in zip(*np.unique(folios[folios != 0], return_counts=True), strict=True):
            order = int(self.scene.family.folios.order[folio])
            mapped = "pmd" if by_pmd[folios == folio].all() else "pte"
            whole = f"aligned-{PAGE_KIB << order}kB" if pages == 1 << order else "partial"
            counted[f"anon-thp-{mapped}-{whole}"] += int(pages) * PAGE_KIB
        return dict(counted)

    @property
    def rss_kib(self) -> int:
        """Rss of smaps."""
        return int(np.count_nonzero(self._has("present"))) * PAGE_KIB

    @property
    def pss_kib(self) -> float:
        """Pss of smaps: each page divided by its mappings."""
        mapcounts = self.mapcounts
        return float((PAGE_KIB / mapcounts[mapcounts > 0]).sum())

    @property
    def swap_kib(self) -> int:
        """Swap of smaps."""
        return int(np.count_nonzero(self._has("swapped"))) * PAGE_KIB

    # ---- the state underneath --------------------------------------------------------------------------------------
    @property
    def _rows(self) -> Ints:
        if not self.scene.family.alive[0, self.number]:
            raise ValueError(f"process {self.number} does not live")
        return self.scene.family.rows_of(0, self.number)

    def _has(self, board: str) -> Bools:
        """Tell which pages are on a board of the rows' records. Shapes: (n_pages,)."""
        boards: Boards = getattr(self.scene.family.records, board)
        return np.asarray(bits.expand(boards[self.scene.family.record_of[self._rows]]).reshape(-1) != 0)

    def _zeroes(self) -> Boards:
        """Give the slots in which a page that is faulted in now, or copied, holds zeroes."""
        return zeroes_of_copy(self.scene.family, self.scene.family.record_of[self._rows].astype(np.int64))

    def _boards(self, pages: Iterable[int]) -> Boards:
        chosen = np.array(list(pages), np.int64)
        return bits.from_pairs(self.scene.family.n_regions, chosen // HPAGE_PMD_NR, chosen % HPAGE_PMD_NR)

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

    def _keys(self, pages: Ints) -> Ints:
        return np.asarray(self._rows[pages // HPAGE_PMD_NR] * HPAGE_PMD_NR + pages % HPAGE_PMD_NR)
