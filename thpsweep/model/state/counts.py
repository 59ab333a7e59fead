"""The operations that a run counts; prices.py turns them into time and bytes."""

import contextlib
import copy
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from thpsweep.model import checks
from thpsweep.model.bits import Ints
from thpsweep.units import HPAGE_PMD_NR

OPERATIONS = {
    "ptes_scanned": "ptes that khugepaged or MADV_COLLAPSE looked at",
    "collapses": "folios made",
    "aborts": "attempts that failed after they had begun",
    "migration_entries_set": "ptes replaced by a migration entry",
    "ptes_restored": "migration entries replaced by a pte",
    "ptes_switched": "ptes changed directly from the old page to the new one",
    "ptes_protected": "writable ptes made read-only before a switch",
    "ptes_cleared": "ptes cleared",
    "ptes_cleared_compound": "those of them that map subpages of a folio, or the zero page: cleared in batches",
    "ptes_unmapped": "ptes among those cleared that an rmap walk cleared",
    "ptes_unshared": "ptes pointed at a private copy before a freeze: clear and set",
    "ptes_refaulted": "ptes that touches set again after all sharers were unmapped",
    "pmds_refaulted": "PMDs that touches set after all sharers were unmapped",
    "wasted_pte_updates": "pte updates of attempts that failed",
    "pmd_writes": "PMD entries written by a collapse",
    "tlb_flushes": "flushes of one mm, or of one batch over several mms",
    "family_flushes": "those of them that reach every mm of the family",
    "global_syncs": "tlb_remove_table_sync_one() calls",
    "page_tables_freed": "page tables that went back to the allocator",
    "rmap_walks": "walks over an anon_vma's interval tree",
    "vmas_visited": "VMAs that those walks visited",
    "pages_copied": "pages copied into new folios",
    "pages_freed": "small pages that a private copy left without a mapper",
    "pages_cleared": "pages of new folios that were zeroed",
    "gup_redirects": "references on an old page that were led to its copy",
    "links_broken": "links of old pages to their copies that a write ended, by leaving the old page without a mapper",
    "orphan_pages": "old pages kept alive by a late reference",
    "filled_ptes": "empty slots that a PMD now maps",
    "bloat_pages": "pages of new folios without a source",
    "zeroes_freed": "pages of zeroes that splits of folios gave back",
    "sharing_lost_pages": "source pages that others still map after a private copy was made",
    "thp_collapse_alloc": "folios allocated for a collapse",
    "thp_collapse_alloc_failed": "allocations for a collapse that failed",
    "compact_stall": "direct compactions, one block each: the allocating task stalls",
    "compact_success": "those of them that made a block",
    "compact_fail": "those of them that made none",
    "pages_migrated": "pages that compaction moved",
    "ptes_migrated": "mappings of the pages that compaction moved",
    "kcompactd_pages_migrated": "pages that kcompactd moved of them",
    "kcompactd_ptes_migrated": "mappings of the pages that kcompactd moved",
    "trylocks_failed": "mms that khugepaged passed over, as their mmap_lock was held",
    "full_scans": "rounds of khugepaged over all mms",
    "forks": "forks",
    "fork_ptes_small": "ptes of order-0 pages that forks copied",
    "fork_ptes_compound": "ptes of subpages that forks copied",
    "fork_pmds": "PMD entries that forks copied",
    "fork_copies": "pinned pages that forks copied for the child",
    "fork_tables": "pte tables that forks would share instead",
    "exits": "exits",
    "exit_ptes_small": "ptes of order-0 pages that exits and MADV_DONTNEED cleared",
    "exit_ptes_compound": "ptes of subpages that exits and MADV_DONTNEED cleared",
    "exit_pmds": "PMD entries that exits and MADV_DONTNEED cleared",
    "exit_tables": "pte tables that exits would leave instead, shared or not",
    "tables_unshared": "first writes of a row whose pte table others would share",
    "minor_faults": "first touches",
    "huge_faults": "first touches that got a PMD-mapped folio",
    "swap_ins": "pages read back from swap, for faults and collapses",
    "swap_cache_faults": "pages that these found in the swap cache",
    "swap_copies": "those of either that a write copied, as others hold the page too",
    "swap_outs": "pages written to swap",
    "swap_out_ptes": "mappings of the pages that reclaim wrote to swap",
    "folio_splits": "large folios split into order-0 pages",
    "split_ptes": "ptes of them that were replaced by a migration entry and restored",
    "cow_faults": "writes that copied a page",
    "reuse_faults": "writes that only made a pte writable",
    "reuse_pmds": "writes that only made a PMD writable",
    "pmd_splits": "PMDs split by a write or by advice: 512 ptes set, 2 PMD writes, 1 flush",
}
"""Name of each operation -> what is counted. All are additive over regions, sharers and time."""

LARGEST = {
    "migration_entries_set": "migration_entries_set_worst_region",
    "ptes_restored": "ptes_restored_worst_region",
    "ptes_switched": "ptes_switched_worst_region",
    "ptes_cleared": "ptes_cleared_worst_region",
    "ptes_unshared": "ptes_unshared_worst_region",
    "ptes_refaulted": "ptes_refaulted_worst_region",
    "split_ptes": "split_ptes_worst_region",
}
"""Operations whose largest count in a single collapse is kept too: the debate's "hundred thousand ptes"."""

PTE_UPDATES = (
    "migration_entries_set",
    "ptes_restored",
    "ptes_switched",
    "ptes_protected",
    "ptes_cleared",
    "ptes_unshared",
    "ptes_refaulted",
)
"""Kinds of pte transitions that add up to pte_updates."""


Holds = Callable[[Ints, dict[str, Ints]], None]
"""Records what attempts on rows did while they held locks, by measure (accounting/locks.py)."""


@dataclasses.dataclass(frozen=True)
class Counter:
    """A counter of a mechanism's own. `price` is a price of the machine (`pte_scan_ns`), a number of ns, or none at all."""

    what: str
    unit: str
    price: str | float | None = None


class Totals(dict[str, Ints]):
    """Counters by name; names those most like one that there is not."""

    def __missing__(self, name: str) -> Ints:
        raise ValueError(f"no counter {name!r}; there are {checks.nearest(name, self)}")


class Counts:
    """Counters of a run. Shapes: total[name] (n_replicates,) int64, largest[name] likewise.

    own: those of the mechanism's own, which are in `total`, too. total's arrays are rows of `table`.
    """

    def __init__(
        self, n_replicates: int, record_holds: Holds | None = None, own: Mapping[str, Counter] | None = None
    ) -> None:
        self.own = dict(own or {})
        names = (*OPERATIONS, *self.own)
        self.table = np.zeros((len(names), n_replicates), np.int64)
        self.total: dict[str, Ints] = Totals(zip(names, self.table, strict=True))
        self.largest = {name: np.zeros(n_replicates, np.int64) for name in LARGEST.values()}
        self.needed_pages = np.full(n_replicates, HPAGE_PMD_NR)
        """Most pages that an attempt so far took on top of what was there."""
        self._record_holds = record_holds

    def at(self, moments: Ints) -> "Counts":
        """Give the counters as they were at several moments, to be priced. Shapes: (n, counters, n_replicates) of table
        -> total[name] (n, n_replicates)."""
        then = copy.copy(self)
        then.table = moments.swapaxes(0, 1)
        then.total = Totals(zip(self.total, then.table, strict=True))
        return then

    @property
    def pte_updates(self) -> Ints:
        """All pte transitions of collapses so far. Shapes: -> (n_replicates,)."""
        return functools.reduce(np.add, (self.total[kind] for kind in PTE_UPDATES))

    def add(self, name: str, replicates: Ints, amounts: Ints | int) -> None:
        """Add amounts to a counter, one a replicate index; indices may repeat."""
        np.add.at(self.total[name], replicates, amounts)

    def tally(self, name: str, replicates: Ints) -> None:
        """Add one for each replicate index."""
        self.total[name] += np.bincount(replicates, minlength=self.total[name].size)

    def hold(self, rows: Ints, **measures: Ints) -> None:
        """Add up the lock holds of attempts on these rows, if they are recorded. Shapes: each (n,)."""
        if self._record_holds is not None:
            self._record_holds(rows, measures)

    @contextlib.contextmanager
    def without_holds(self) -> Iterator[None]:
        """Record no lock holds meanwhile."""
        kept, self._record_holds = self._record_holds, None
        yield
        self._record_holds = kept

    def need(self, replicates: Ints, pages: Ints) -> None:
        """Note how many pages attempts took at once, one a replicate index; indices may repeat."""
        np.maximum.at(self.needed_pages, replicates, pages)

    def add_one(self, name: str, replicate: int, amount: int = 1) -> None:
        """Add to one replicate's counter."""
        self.total[name][replicate] += amount

    def collapse(self, name: str, replicates: Ints, amounts: Ints) -> None:
        """Add amounts, one a collapse, and keep the largest where it is asked for."""
        self.add(name, replicates, amounts)
        if name in LARGEST:
            np.maximum.at(self.largest[LARGEST[name]], replicates, amounts)
