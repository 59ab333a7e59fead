"""The upper bound: what collapsing a file or shmem range does, applied to a family as if its memory were shmem."""

import dataclasses
from typing import ClassVar

import numpy as np

from thpsweep.model import bits, checks
from thpsweep.model.accounting.locks import ONCE, LockStep
from thpsweep.model.bits import Ints
from thpsweep.model.mechanisms.base import Mechanism, count_folios, ended, raced
from thpsweep.model.mechanisms.visit import Visit
from thpsweep.model.mm.folding import fold
from thpsweep.model.mm.huge_memory import map_shared, takers
from thpsweep.model.mm.rmap import Sources, sources
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family
from thpsweep.units import HPAGE_PMD_NR


@dataclasses.dataclass
class Retract(Mechanism):
    """Unmap the sources in every sharer, copy, free the page tables, and let each sharer's next touch map a PMD.

    No kernel can do this for anon memory, where no page cache holds the folio while nobody maps it: an upper bound.
    Upper bound too in that every sharer that mapped a source touches the range again at once.
    A sharer that maps nothing but sources loses its page table (1 PMD write, 1 flush) and gets a PMD (1 more). One with
    private pages keeps its table, as a VMA with an anon_vma does in retract_page_tables(), and so does one with a hole
    over another sharer's page, which on shmem would read that page and here has to read zero: their ptes are set again.
    Steps: an rmap walk a page, one batched flush; the copy, with every access faulting into a locked folio; then each
    page table under its pmd and pte lock, without any mmap_lock. A late reference is met after its page was unmapped:
    what was unmapped, that page included, is set again by touches. max_ptes_none counts for the scanned mm alone.
    Options: walk, `per_page` (one rmap walk a page) or `per_range` (one in all).
    Source: mm/khugepaged.c collapse_file(), retract_page_tables() (torvalds/linux b2128290c299).
    """

    locks: ClassVar[tuple[LockStep, ...]] = (
        LockStep(
            "unmap",
            {"anon_vma_read": "walks", "folio": ONCE},
            {"rmap_walk": "walks", "idle_visit": "idle", "unmap": "unmapped"},
        ),
        LockStep("flush", {"folio": ONCE}, {"family_flush": "flushes"}),
        LockStep("copy", {"folio": ONCE}, {"copy": "copied", "zero": "zeroed"}),
        LockStep("free tables", {"pmd": "mms", "anon_vma_read": ONCE}, {"pmd_write": "mms", "own_flush": "mms"}),
    )

    walk: str = "per_page"

    def __post_init__(self) -> None:
        checks.one_of("policy.mechanism.walk", self.walk, ("per_page", "per_range"))

    def attempt(self, visit: Visit) -> Ints:
        """Collapse by retracting; where a reference arrives late, the ptes come back one by one."""
        family, counts, rows, race_slots = visit.family, visit.counts, visit.rows, visit.race_slots
        failed = raced(family, rows, race_slots)
        self._refault(family, counts, rows[failed], race_slots[failed])
        rows = rows[~failed]
        replicates, source = family.replicate_of(rows), sources(family, rows)
        self._unmap(counts, replicates, source)
        count_folios(counts, replicates, source.pages)
        self._hold(counts, source, copied=source.pages, zeroed=HPAGE_PMD_NR - source.pages)
        folios = fold(family, source)
        able = takers(family, rows, source.slots, folios)
        sharers = np.count_nonzero(able, axis=1)
        counts.add("pmd_writes", replicates, 2 * sharers)
        counts.add("tlb_flushes", replicates, sharers)
        counts.hold(rows, mms=sharers)
        counts.add("page_tables_freed", replicates, sharers)
        counts.add("pmds_refaulted", replicates, sharers)
        counts.add("filled_ptes", replicates, (HPAGE_PMD_NR - source.pages) * sharers)
        counts.collapse("ptes_refaulted", replicates, source.ptes - source.pages * sharers)
        map_shared(family, rows, source.slots, folios, able)
        return ended(failed)

    def _refault(self, family: Family, counts: Counts, rows: Ints, race_slots: Ints) -> None:
        """Count what was unmapped before the late reference was met; touches map all of it as it was."""
        source = sources(family, rows, bits.below(race_slots + 1))
        replicates = family.replicate_of(rows)
        self._unmap(counts, replicates, source)
        self._hold(counts, source)
        counts.add("aborts", replicates, 1)
        counts.collapse("ptes_refaulted", replicates, source.ptes)
        counts.add("wasted_pte_updates", replicates, 2 * source.ptes)

    def _unmap(self, counts: Counts, replicates: Ints, source: Sources) -> None:
        """Count the pass that unmaps the sources, of which each row has one at least."""
        per_page = self.walk == "per_page"
        counts.collapse("ptes_cleared", replicates, source.ptes)
        counts.add("ptes_unmapped", replicates, source.ptes)
        counts.add("tlb_flushes", replicates, 1)
        counts.add("family_flushes", replicates, 1)
        counts.add("rmap_walks", replicates, source.pages if per_page else 1)
        counts.add("vmas_visited", replicates, source.visits if per_page else source.widest)

    def _hold(self, counts: Counts, source: Sources, **copied: Ints) -> None:
        """Tell what happened under locks: the unmapping walks, and the copy if it came to that."""
        one = np.ones(source.rows.size, np.int64)
        walks, visits = (source.pages, source.visits) if self.walk == "per_page" else (one, source.widest)
        idle = np.maximum(0, visits - source.ptes)
        counts.hold(
            source.rows, walks=walks, idle=idle, unmapped=source.ptes, flushes=one, frozen=source.ptes, **copied
        )
