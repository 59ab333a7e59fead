"""What the slow twin does to collapse a region: each mechanism step by step.

Written from the table of the design and the kernel's sources, one page at a time; twin_frames.py has what it acts on.
"""

from collections import Counter
from collections.abc import Container

from tests.reference.twin_frames import ZEROES, AnonVma, Folio, Frame, Row
from tests.reference.twin_scan import ALL_SHARERS, Scan
from thpsweep.units import HPAGE_PMD_NR

NOBODY = HPAGE_PMD_NR
"""A race_slot that stands for: no reference arrives while the attempt runs."""


class Mechanisms(Scan):
    """Be the part of Twin that collapses."""

    n_sharers: int
    alive: set[int]
    trees: dict[int, list[AnonVma]]
    rows: dict[tuple[int, int], Row]
    outcomes: Counter[str]

    def collapse(
        self,
        mechanism: str,
        region: int,
        sharer: int,
        *,
        max_ptes_none: int = HPAGE_PMD_NR,
        max_ptes_swap: int = HPAGE_PMD_NR,
        max_ptes_shared: int = HPAGE_PMD_NR,
        khugepaged: bool = False,
        young: int = HPAGE_PMD_NR,
        extra_reference: bool = False,
        race_slot: int = NOBODY,
        walk: str | None = None,
        check: str = "per_page",
        deposit: str = "old_table",
        slots_per_slice: int = HPAGE_PMD_NR,
        order: int = 9,
    ) -> tuple[str | None, int, bool]:
        """Scan one row and, if it passes, collapse its region: (outcome, progress, was an attempt made).

        `none` never scans: (None, 0, False).
        """
        if mechanism == "none":
            return None, 0, False
        walk = walk or ("per_range" if mechanism in ("switch", "switch_pmd") else "per_page")
        assert sharer in self.alive, f"sharer {sharer} does not live"
        row = self.rows[region, sharer]
        none_in_region = max_ptes_none if order == 9 else HPAGE_PMD_NR
        refusal, progress = self._scan_ptes(row, mechanism, none_in_region, max_ptes_swap, max_ptes_shared)
        self._count("ptes_scanned", progress)
        if refusal is None:
            refusal = self._refuse_after_walk(row, mechanism, khugepaged, young, extra_reference, order)
        blocks = [range(HPAGE_PMD_NR)]
        if order < 9 and refusal is None:
            blocks, refusal = self._blocks(row, mechanism, order, max_ptes_none, max_ptes_swap, max_ptes_shared)
        if refusal is not None:
            self.outcomes[refusal] += 1
            return refusal, progress, False
        if mechanism in ALL_SHARERS:
            self._bring_back(region, sharer, {slot for block in blocks for slot in block})
        if order < 9:
            outcomes = []
            for block in blocks:
                if mechanism == "copy":
                    outcomes.append(self._copy(region, sharer, race_slot, block))
                elif mechanism == "switch":
                    outcomes.append(self._switch(region, sharer, race_slot, walk, slots_per_slice, block))
                else:
                    outcomes.append(self._inplace(region, sharer, race_slot, walk, check, block=block))
            outcome = "SUCCEED" if "SUCCEED" in outcomes else outcomes[-1]
        elif mechanism == "copy":
            outcome = self._copy(region, sharer, race_slot)
        elif mechanism == "unshare":
            outcome = self._unshare(region, sharer, race_slot)
        elif mechanism == "retract":
            outcome = self._retract(region, sharer, race_slot, walk)
        elif mechanism in ("switch", "switch_pmd"):
            outcome = self._switch(region, sharer, race_slot, walk, slots_per_slice)
            if mechanism == "switch_pmd":
                self._install_pmds(region, self.rows[region, sharer], max_ptes_none, deposit)
        elif mechanism == "inplace":
            outcome = self._inplace(region, sharer, race_slot, walk, check)
        elif mechanism == "shared_table":
            outcome = self._inplace(region, sharer, race_slot, walk, check, shared_tables=True)
        elif mechanism == "inplace_pmd":
            outcome = self._inplace(region, sharer, race_slot, walk, check)
            if outcome == "SUCCEED":
                self._install_pmds(region, self.rows[region, sharer], max_ptes_none, deposit)
        else:
            raise ValueError(f"unknown mechanism {mechanism}")
        self.outcomes[outcome] += 1
        return outcome, progress, True

    def _bring_back(self, region: int, sharer: int, slots: Container[int] = range(HPAGE_PMD_NR)) -> None:
        """Let every sharer read what it has in swap, in the slots, of the pages that one maps or has in swap."""
        row = self.rows[region, sharer]
        wanted = {*row.swapped.values(), *(frame.in_swap for frame in row.frames.values())}
        for other in range(self.n_sharers):
            for slot, page in sorted(self.rows[region, other].swapped.items(), key=lambda item: item[0]):
                if page in wanted and slot in slots:
                    self.read_in(region, other, slot)

    def _copy(self, region: int, sharer: int, race_slot: int, block: range = range(HPAGE_PMD_NR)) -> str:
        """Give one mm a private copy of a block in one folio, as collapse_huge_page() does."""
        row = self.rows[region, sharer]
        for slot in sorted(row.swapped.keys() & set(block)):
            row.table = object()
            self.read_in(region, sharer, slot)
        frames = {slot: frame for slot, frame in row.frames.items() if slot in block}
        zero = row.zero & set(block)
        met = race_slot in frames or any(map(self._held, frames.values()))
        self._count("pmd_writes", 2)  # clear it; then set the huge one, or on failure the old table again
        self._count("tlb_flushes")
        self._count("global_syncs")
        if met:
            self._count("aborts")
            return "PAGE_COUNT"
        moved = len(frames)
        self._count("ptes_cleared", moved + len(zero))
        in_folios = sum(frame.folio is not None for frame in frames.values())
        self._count("ptes_cleared_compound", in_folios + len(zero))
        alone = [f for f in frames.values() if f.folio is None and f.mapcount == 1 and f.in_swap is None]
        self._count("pages_freed", len(alone))
        self._count("pages_copied", moved)
        self._count("pages_cleared", len(block) - moved)
        self._count("bloat_pages", len(block) - moved)
        self._count("collapses")
        self._make_private(region, sharer, block)
        return "SUCCEED"

    def _make_private(self, region: int, sharer: int, block: range = range(HPAGE_PMD_NR)) -> None:
        """Let one mm leave its pages in a block for a copy of them in one folio."""
        row = self.rows[region, sharer]
        row.table = object()
        contents = {}
        row.zero -= set(block)
        for slot in [slot for slot in row.frames if slot in block]:
            old = self._unmap(region, sharer, slot)
            contents[slot] = old.content
            self._count("sharing_lost_pages", old.mapcount > 0)
        folio = self._new_folio(region, len(block).bit_length() - 1)
        for slot in block:
            page = self._new_subpage(folio, slot, contents.get(slot, ZEROES))
            self._map(region, sharer, slot, page, exclusive=True)
        row.pmd = len(block) == HPAGE_PMD_NR

    def _unshare(self, region: int, sharer: int, race_slot: int) -> str:
        """Fault in, freeze, copy and install, as the engine of 2026 does for one mm."""
        row = self.rows[region, sharer]
        row.table = object()
        for slot in sorted(row.swapped):
            self.read_in(region, sharer, slot)
        met = race_slot in row.frames
        copied = 0
        for slot, frame in sorted(row.frames.items()):
            if slot in row.exclusive:
                continue
            # The last mapped subpage of a folio is copied, as by a write: mm/memory.c asks the same function.
            if (
                frame.mapcount == 1
                and frame.in_swap is None
                and (frame.folio is None or (not frame.folio.maybe_shared and frame.folio.mappings > 1))
            ):
                row.exclusive.add(slot)  # its other mappers are gone: no pte is written
                continue
            copied += 1
            self._unmap(region, sharer, slot)
            self._count("sharing_lost_pages", frame.mapcount > 0)
            self._map(region, sharer, slot, self._new_small(region, slot, frame.content), exclusive=True)
        for name in ("ptes_unshared", "pages_copied", "tlb_flushes"):
            self._count(name, copied)
        if met:
            frozen = sum(slot <= race_slot for slot in row.frames)
            self._count("migration_entries_set", frozen)
            self._count("ptes_restored", frozen)
            self._count("wasted_pte_updates", copied + 2 * frozen)
            self._count("aborts")
            return "PAGE_COUNT"
        pages = len(row.frames)
        self._count("migration_entries_set", pages)
        self._count("tlb_flushes", 2)  # after the freeze; after the PMD was cleared
        self._count("pmd_writes", 2)
        self._count("pages_copied", pages)
        self._count("pages_cleared", HPAGE_PMD_NR - pages)
        self._count("bloat_pages", HPAGE_PMD_NR - pages)
        self._count("collapses")
        self._make_private(region, sharer)
        return "SUCCEED"

    def _retract(self, region: int, sharer: int, race_slot: int, walk: str) -> str:
        """Unmap the sources everywhere, as collapse_file() does, and let everybody touch the range again."""
        sources = self.rows[region, sharer].frames
        met = race_slot in sources
        unmapped = [frame for slot, frame in sources.items() if not met or slot <= race_slot]
        ptes = sum(len(self._mappers(frame)) for frame in unmapped)
        self._count_walks(1, unmapped, walk)
        self._count("ptes_cleared", ptes)
        self._count("ptes_unmapped", ptes)
        self._count("tlb_flushes")
        if met:
            self._count("ptes_refaulted", ptes)
            self._count("wasted_pte_updates", 2 * ptes)
            self._count("aborts")
            return "PAGE_COUNT"
        self._replace_sources(region, unmapped)
        folio = next(iter(self.rows[region, sharer].frames.values())).folio
        touchers = [s for s in sorted(self.alive) if folio in {f.folio for f in self.rows[region, s].frames.values()}]
        plain = [s for s in touchers if self._maps_only(self.rows[region, s], folio)]
        for slot in set(range(HPAGE_PMD_NR)) - folio.pages.keys() if plain else ():
            self._new_subpage(folio, slot, ZEROES).anon_vma = self.trees[plain[0]][0]  # a folio for all is the root's
        for toucher in touchers:
            row = self.rows[region, toucher]
            if toucher not in plain:
                self._count("ptes_refaulted", sum(frame.folio is folio for frame in row.frames.values()))
                continue
            self._count("pmd_writes", 2)  # the table is taken away, and the PMD set
            self._count("tlb_flushes")
            self._count("page_tables_freed")
            self._count("pmds_refaulted")
            self._count("filled_ptes", HPAGE_PMD_NR - len(row.frames))
            exclusive = len(row.exclusive) == len(row.frames)
            for slot in row.none_slots():
                self._map(region, toucher, slot, folio.pages[slot])
            row.zero.clear()
            row.exclusive = set(range(HPAGE_PMD_NR)) if exclusive else set()
            row.pmd = True
        return "SUCCEED"

    @staticmethod
    def _maps_only(row: Row, folio: Folio) -> bool:
        """Tell whether a row maps each source and nothing else: a PMD would show it no page of anybody else's."""
        return (
            row.frames.keys() == folio.pages.keys()
            and not row.swapped
            and all(f.folio is folio for f in row.frames.values())
        )

    def _vmas(self, frame: Frame) -> int:
        """Return how many VMAs an rmap walk of the frame visits: those in the tree of its anon_vma, whatever they map."""
        return sum(frame.anon_vma in self.trees[sharer] for sharer in self.alive)

    def _count_walks(self, rounds: int, frames: list[Frame], walk: str) -> None:
        """Count `rounds` rmap rounds over these frames: one walk a page, or one walk over the whole range."""
        if not frames:
            return
        if walk == "per_page":
            self._count("rmap_walks", rounds * len(frames))
            self._count("vmas_visited", rounds * sum(self._vmas(frame) for frame in frames))
        else:
            self._count("rmap_walks", rounds)
            self._count("vmas_visited", rounds * max(self._vmas(frame) for frame in frames))

    def _table_entries(self, region: int, frames: list[Frame]) -> int:
        """Count the entries of distinct tables that lead to these frames."""
        table_of = {id(row.table): row for (r, _), row in self.rows.items() if r == region and row.frames}
        return sum(row.frames.get(frame.slot) is frame for row in table_of.values() for frame in frames)

    def _inplace(
        self,
        region: int,
        sharer: int,
        race_slot: int,
        walk: str,
        check: str,
        shared_tables: bool = False,
        block: range = range(HPAGE_PMD_NR),
    ) -> str:
        """Put migration entries over every mapping of the sources, copy, and restore them to the new folio."""
        sources = {slot: frame for slot, frame in self.rows[region, sharer].frames.items() if slot in block}
        aborted = race_slot in sources
        if aborted and check == "per_page":
            frozen = [frame for slot, frame in sources.items() if slot <= race_slot]  # its own entries, too
        else:
            frozen = list(sources.values())
        entries = self._table_entries(region, frozen) if shared_tables else sum(frame.mapcount for frame in frozen)
        self._count_walks(2, frozen, walk)  # set, and restore
        self._count("migration_entries_set", entries)
        self._count("ptes_restored", entries)
        self._count("tlb_flushes", entries > 0)
        if aborted:
            self._count("wasted_pte_updates", 2 * entries)
            self._count("aborts")
            return "PAGE_COUNT"
        self._replace_sources(region, frozen, len(block))
        return "SUCCEED"

    def _switch(
        self,
        region: int,
        sharer: int,
        race_slot: int,
        walk: str,
        slots_per_slice: int,
        block: range = range(HPAGE_PMD_NR),
    ) -> str:
        """Copy first, then point every mapping straight at the new folio, as replace_page() of mm/ksm.c does."""
        row = self.rows[region, sharer]
        sources = [frame for slot, frame in row.frames.items() if slot in block]
        rows = [self.rows[region, s] for s in range(self.n_sharers)]
        mapping = [r for r in rows if any(r.frames.get(f.slot) is f for f in sources)]
        writable = [len(r.exclusive & {f.slot for f in sources if r.frames.get(f.slot) is f}) for r in mapping]
        # An exclusive pte may be writable: write_protect_page() before the copy, one flush a row.
        self._count("ptes_protected", sum(writable))
        self._count("tlb_flushes", sum(ptes > 0 for ptes in writable))
        self._count("ptes_switched", sum(frame.mapcount for frame in sources))
        for r in mapping:
            switched = [f.slot for f in sources if r.frames.get(f.slot) is f]
            if walk == "per_page":  # each pte is flushed while its lock is held
                self._count("tlb_flushes", len(switched))
            elif walk == "per_range":  # so is each slice that has anything to switch
                self._count("tlb_flushes", len({slot // slots_per_slice for slot in switched}))
            else:  # overwrite: nothing is cleared, and the whole range is flushed in the end
                self._count("tlb_flushes")
        self._count_walks(1, sources, walk)
        self._count("orphan_pages", race_slot in row.frames and race_slot in block)
        for r in mapping:
            r.exclusive -= {f.slot for f in sources if r.frames.get(f.slot) is f}
        self._replace_sources(region, sources, len(block))
        return "SUCCEED"

    def _replace_sources(self, region: int, sources: list[Frame], size: int = HPAGE_PMD_NR) -> None:
        """Let a subpage of a new folio of so many pages take the place of each source in every row that maps it."""
        folio = self._new_folio(region, size.bit_length() - 1)
        mappers = {source: self._mappers(source) for source in sources}
        for source in sources:
            self._new_subpage(folio, source.slot, source.content).anon_vma = source.anon_vma
        for sharer in range(self.n_sharers):  # an rmap walk goes VMA by VMA: the first two get the MM slots
            for source in sources:
                if sharer in mappers[source]:
                    exclusive = source.slot in self.rows[region, sharer].exclusive
                    self._unmap(region, sharer, source.slot)
                    self._map(region, sharer, source.slot, folio.pages[source.slot], exclusive)
        self._count("collapses")
        self._count("pages_copied", len(sources))
        self._count("pages_cleared", size - len(sources))
        self._count("bloat_pages", size - len(sources))

    def _install_pmds(self, region: int, scanned: Row, max_ptes_none: int, deposit: str) -> None:
        """Map the new folio by a PMD wherever a row has nothing else in the region."""
        folio = next(iter(scanned.frames.values())).folio
        assert folio is not None
        sources = set(folio.pages)
        eligible = [s for s in sorted(self.alive) if self._takes_pmd(region, s, folio, max_ptes_none)]
        for slot in set(range(HPAGE_PMD_NR)) - sources if eligible else ():
            self._new_subpage(folio, slot, ZEROES).anon_vma = self.trees[eligible[0]][0]
        for sharer in eligible:
            row = self.rows[region, sharer]
            self._count("ptes_cleared", len(row.frames))
            self._count("ptes_cleared_compound", len(row.frames))
            self._count("filled_ptes", HPAGE_PMD_NR - len(row.frames))
            self._count("pmd_writes", 2)
            self._count("tlb_flushes")
            self._count("global_syncs", deposit == "old_table")
            exclusive = bool(row.exclusive)  # all or none: an eligible row has no third way
            for slot in row.none_slots():
                self._map(region, sharer, slot, folio.pages[slot], exclusive)
            row.zero.clear()
            row.pmd = True

    def _takes_pmd(self, region: int, sharer: int, folio: Folio, max_ptes_none: int) -> bool:
        row = self.rows[region, sharer]
        return (
            not row.pmd
            and len(row.frames) >= 1
            and all(frame.folio is folio for frame in row.frames.values())
            and not row.none_slots() & folio.pages.keys()  # a hole over somebody's page has to go on reading zero
            and HPAGE_PMD_NR - len(row.frames) <= max_ptes_none
            and not row.swapped
            and len(row.exclusive) in (0, len(row.frames))
        )
