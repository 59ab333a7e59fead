"""The seed of 2016, literally: migration entries in all sharers, one copy, ptes to the subpages."""

import dataclasses
from typing import ClassVar

import numpy as np

from thpsweep.model import bits, checks
from thpsweep.model.accounting.locks import ONCE, LockStep
from thpsweep.model.bits import Ints
from thpsweep.model.mechanisms.base import ByOrder, count_folios, ended, raced
from thpsweep.model.mechanisms.visit import Visit
from thpsweep.model.mm.folding import fold
from thpsweep.model.mm.rmap import Sources, sources
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family

_WALK = {"anon_vma_read": "walks", "folio": ONCE}
_WALKED = {"rmap_walk": "walks", "idle_visit": "idle"}


@dataclasses.dataclass
class Inplace(ByOrder):
    """Freeze every pte of every sharer with a migration entry, copy, and point all of them at the new folio.

    Options: walk, `per_page` as kernels do (two rmap walks a page) or `per_range` (two in all; no kernel has it);
    check, whether a reference that arrives late is found `per_page` (what came before it, and its own page, is undone: a
    count can be trusted once all entries of the page are set) or `after_batch` (all is).
    Steps: folio locks, anon_vma root read lock a walk; one batched flush that reaches the CPUs of every sharer; then the
    copy, with every access to the region waiting on a migration entry; then the restoring walk.
    Source: Kirill A. Shutemov, 20160226103253.GA22450@node.shutemov.name; mm/rmap.c try_to_migrate_one(),
    mm/migrate.c remove_migration_pte() (torvalds/linux 334fbe734e68).
    """

    locks: ClassVar[tuple[LockStep, ...]] = (
        LockStep("set migration entries", _WALK, {**_WALKED, "set_entry": "entries"}),
        LockStep("flush", {"folio": ONCE}, {"family_flush": "flushes"}),
        LockStep("copy", {"folio": ONCE}, {"copy": "copied", "zero": "zeroed"}),
        LockStep("restore", _WALK, {**_WALKED, "restore": "entries"}),
    )

    walk: str = "per_page"
    check: str = "per_page"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of("policy.mechanism.walk", self.walk, ("per_page", "per_range"))
        checks.one_of("policy.mechanism.check", self.check, ("per_page", "after_batch"))

    def attempt(self, visit: Visit) -> Ints:
        """Collapse in place; where a reference arrives late, put back what was written."""
        failed = raced(visit.family, visit.rows, visit.race_slots)
        self._undo(visit.where(failed))
        self._freeze_and_restore(visit.where(~failed))
        return ended(failed)

    def _freeze_and_restore(self, visit: Visit) -> Ints:
        family, counts, source = visit.family, visit.counts, sources(visit.family, visit.rows, visit.within)
        replicates = visit.replicates
        entries = self._entries(family, source)
        self._count_walks(counts, replicates, source, entries)
        self._hold(counts, source, entries, visit.block_pages)
        count_folios(counts, replicates, source.pages, visit.order)
        return fold(family, source, visit.order, visit.block)

    def _entries(self, family: Family, source: Sources) -> Ints:
        """Count the ptes that are set, and restored, for the sources: all their mappings. Shapes: -> (n,)."""
        del family
        return source.ptes

    def _undo(self, visit: Visit) -> None:
        family, counts, rows = visit.family, visit.counts, visit.rows
        reached = bits.below(visit.race_slots + 1) if self.check == "per_page" else bits.full(rows.size)
        source = sources(family, rows, reached if visit.within is None else reached & visit.within)
        replicates = visit.replicates
        entries = self._entries(family, source)
        self._count_walks(counts, replicates, source, entries)
        self._hold(counts, source, entries)
        counts.add("aborts", replicates, 1)
        counts.add("wasted_pte_updates", replicates, 2 * entries)

    def _count_walks(self, counts: Counts, replicates: Ints, source: Sources, entries: Ints) -> None:
        """Count both passes over the given sources: setting the migration entries and replacing them."""
        some = source.pages > 0
        per_page = self.walk == "per_page"
        counts.collapse("migration_entries_set", replicates, entries)
        counts.collapse("ptes_restored", replicates, entries)
        counts.add("tlb_flushes", replicates, some.astype(np.int64))
        counts.add("family_flushes", replicates, some.astype(np.int64))
        counts.add("rmap_walks", replicates, 2 * (source.pages if per_page else some.astype(np.int64)))
        counts.add("vmas_visited", replicates, 2 * (source.visits if per_page else source.widest))

    def _hold(self, counts: Counts, source: Sources, entries: Ints, copied_into: int = 0) -> None:
        """Tell what happened under locks: `entries` set and restored, each in a walk, and the copy if it came to that, into
        a folio of so many pages."""
        some = (source.pages > 0).astype(np.int64)
        per_page = self.walk == "per_page"
        idle = np.maximum(0, (source.visits if per_page else source.widest) - entries)
        done = {"copied": source.pages, "zeroed": copied_into - source.pages} if copied_into else {}
        walks = source.pages if per_page else some
        counts.hold(source.rows, entries=entries, flushes=some, walks=walks, idle=idle, frozen=source.ptes, **done)
