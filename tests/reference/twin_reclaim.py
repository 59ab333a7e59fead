"""What memory pressure does to the slow twin: swap-out, splits, and zero-filled pages that are freed."""

from collections.abc import Iterable

from tests.reference.twin_frames import ZEROES, Folio, Frame, Row, Swapped
from thpsweep.units import HPAGE_PMD_NR


class Reclaim:
    """Be the part of Twin that reclaims."""

    rows: dict[tuple[int, int], Row]
    small_frames: set[Frame]
    folios: set[Folio]

    def reclaim(self, wanted: Iterable[tuple[int, int, int, bool]], max_ptes_none: int = HPAGE_PMD_NR - 1) -> None:
        """Come to (region, sharer, slot, somebody used it lately?): decide all, then swap, split and tidy up."""
        regions = {region for region, *_ in wanted}
        for frame in [f for f in self.small_frames if f.in_swap and f.region in regions]:
            if not frame.mapcount and not self._held(frame):  # clean, and nobody maps it
                self.small_frames.discard(frame)
                frame.in_swap.frame = frame.in_swap = None
        frames = {}
        for region, sharer, slot, young in sorted(wanted):
            frame = self.rows[region, sharer].frames.get(slot)
            if frame is not None and frame not in frames:
                frames[frame] = young
        idle = [frame for frame, young in frames.items() if not young and not self._referred_to(frame)]
        self._switch_away(idle)
        idle = [frame for frame in idle if frame.mapcount]
        for folio in {frame.folio for frame in idle if frame.folio is not None}:
            self._split(folio)
        for frame in [frame for frame in idle if frame.mapcount]:  # a page of zeroes is gone by now
            self._count("swap_outs", frame.in_swap is None)
            page = frame.in_swap or Swapped(frame.content, frame.anon_vma)
            page.frame = frame.in_swap = None
            for sharer in self._mappers(frame):
                page.exclusive = frame.slot in self.rows[frame.region, sharer].exclusive
                self._count("swap_out_ptes")
                self._unmap(frame.region, sharer, frame.slot)
                self.rows[frame.region, sharer].swapped[frame.slot] = page
            if self._held(frame):  # by a FOLL_GET: unmapped all the same, it stays in the swap cache
                page.frame, frame.in_swap = frame, page
        for folio in list(self.folios):
            deferred = self.lost(folio) or self._underused(folio, max_ptes_none)
            if deferred and not self._referred_to(next(iter(folio.pages.values()))):
                self._split(folio)

    @staticmethod
    def _underused(folio: Folio, max_ptes_none: int) -> bool:
        """Be thp_underused(): more than max_ptes_none pages hold zeroes; what was never mapped does, too.

        Only folios of PMD order are on the list without a dead page: deferred_split_folio(folio, false) has them alone.
        """
        if folio.order < 9:
            return False
        filled = sum(page.content != ZEROES for page in folio.pages.values())
        return max_ptes_none != HPAGE_PMD_NR - 1 and HPAGE_PMD_NR - filled > max_ptes_none

    def _referred_to(self, frame: Frame) -> bool:
        """Tell whether reclaim leaves a page mapped: a small one if it is pinned, a folio with any reference."""
        return self._held(frame) if frame.folio is not None else self._maybe_dma_pinned(frame)

    def n_links(self) -> int:
        """Count the links of old pages to their copies; there are none here."""
        return 0

    def _switch_away(self, frames: list[Frame]) -> None:
        """Let the mappers of old pages with links go to the copies; there are none here."""

    def lost(self, folio: Folio) -> int:
        """Count the pages that lost their last mapping."""
        return sum(page.mapcount == 0 for page in folio.pages.values())

    def _split(self, folio: Folio) -> None:
        """Make small frames of a folio's mapped pages, with a migration entry over every pte meanwhile."""
        self._count("folio_splits")
        for row in self.rows.values():
            if row.pmd and next(iter(row.frames.values())).folio is folio:
                self._count("pmd_splits")
                row.pmd = False
        for page in folio.pages.values():
            self._count("split_ptes", page.mapcount)
            page.folio = None
            if page.mapcount:
                self.small_frames.add(page)
        self.folios.remove(folio)
        for page in folio.pages.values():
            if page.mapcount and page.content == ZEROES:  # try_to_map_unused_to_zeropage()
                self._count("zeroes_freed")
                for sharer in self._mappers(page):
                    self._unmap(page.region, sharer, page.slot)
                    self.rows[page.region, sharer].zero.add(page.slot)
