"""What the slow twin looks at before it collapses a region: the scan, and the choice of blocks below PMD order."""

from collections.abc import Callable

from tests.reference.twin_frames import Frame, Row
from thpsweep.units import HPAGE_PMD_NR

ONE_MM = ("copy", "unshare")
"""Mechanisms that collapse for the scanned mm alone: max_ptes_shared applies."""

ALL_SHARERS = ("inplace", "inplace_pmd", "switch", "switch_pmd", "retract", "shared_table")
"""Mechanisms that move every mapping of the sources; `none` never looks."""


class Scan:
    """Be the part of Twin that scans."""

    version: tuple[int, int]
    _held: Callable[[Frame], bool]

    def _scan_ptes(
        self, row: Row, mechanism: str, max_ptes_none: int, max_ptes_swap: int, max_ptes_shared: int
    ) -> tuple[str | None, int]:
        """Walk the slots in order as collapse_scan_pmd() does; the first limit that is exceeded ends the walk."""
        if row.pmd:
            return "PMD_MAPPED", 1
        if not row.frames and not row.swapped and not row.zero:
            return "NO_PTE_TABLE", 1
        none = swapped = shared = 0
        for slot in range(HPAGE_PMD_NR):
            progress = slot + 1
            frame = row.frames.get(slot)
            # An all-sharers mechanism asks who else has the page in swap; then it lies in the swap cache.
            swapped += slot in row.swapped or (mechanism not in ONE_MM and frame is not None and bool(frame.in_swap))
            if swapped > max_ptes_swap:
                return "EXCEED_SWAP_PTE", progress
            if slot in row.swapped:
                cached = row.swapped[slot].frame
                if mechanism != "copy" and cached is not None and self._held(cached):  # `copy` meets it later
                    return "PAGE_COUNT", progress
            elif frame is None:
                none += 1
                if none > max_ptes_none:
                    return "EXCEED_NONE_PTE", progress
            else:
                if mechanism in ONE_MM:
                    shared += self._is_shared(frame)
                    if shared > max_ptes_shared:
                        return "EXCEED_SHARED_PTE", progress
                if self._held(frame):
                    return "PAGE_COUNT", progress
        return None, HPAGE_PMD_NR

    def _is_shared(self, frame: Frame) -> bool:
        """Ask what the scan asks of a present page: itself (to 6.9), its folio by a guess (to 6.14), its folio's MM ids."""
        if frame.folio is None or self.version < (6, 10):
            return frame.mapcount > 1
        if self.version >= (6, 15):
            return frame.folio.maybe_mapped_shared()
        folio, first = frame.folio, frame.folio.pages.get(frame.slot // frame.folio.size * frame.folio.size)
        return folio.mappings > folio.size or (first is not None and first.mapcount > 1)

    def _blocks(
        self, row: Row, mechanism: str, order: int, max_ptes_none: int, max_ptes_swap: int, max_ptes_shared: int
    ) -> tuple[list[range], str | None]:
        """Choose the blocks of a region that may be collapsed, by the limits of mTHP collapse in 7.2."""
        size = 1 << order
        none = {HPAGE_PMD_NR: size, HPAGE_PMD_NR - 1: size - 1}.get(max_ptes_none, 0)
        swap = HPAGE_PMD_NR if max_ptes_swap == HPAGE_PMD_NR else 0
        shared = HPAGE_PMD_NR if max_ptes_shared == HPAGE_PMD_NR else 0
        chosen, refusals = [], []
        for first in range(0, HPAGE_PMD_NR, size):
            block = range(first, first + size)
            frames = [row.frames[slot] for slot in block if slot in row.frames]
            pages = [row.swapped[slot] for slot in block if slot in row.swapped]
            if not frames and not pages:
                continue
            away = len(pages) + (mechanism not in ONE_MM and sum(bool(frame.in_swap) for frame in frames))
            large = [f.folio for f in frames if f.folio is not None]
            if size - len(frames) - len(pages) > none:
                refusals.append("EXCEED_NONE_PTE")
            elif away > swap:
                refusals.append("EXCEED_SWAP_PTE")
            elif any(mechanism not in ONE_MM or folio.order >= order for folio in large):
                refusals.append("PTE_MAPPED_HUGEPAGE")  # its own product
            elif any(map(self._held, [*frames, *(page.frame for page in pages if page.frame is not None)])):
                refusals.append("PAGE_COUNT")
            elif mechanism in ONE_MM and shared < sum(map(self._is_shared, frames)):
                refusals.append("EXCEED_SHARED_PTE")
            else:
                chosen.append(block)
        return chosen, None if chosen else (refusals or ["PAGE_NULL"])[0]

    def _refuse_after_walk(
        self, row: Row, mechanism: str, khugepaged: bool, young: int, extra_reference: bool, order: int = 9
    ) -> str | None:
        if mechanism in ALL_SHARERS and order == 9:
            if any(frame.folio is not None for frame in row.frames.values()):
                return "PTE_MAPPED_HUGEPAGE"
            if not row.frames and not row.swapped:
                return "PAGE_NULL"
        if self.version < (6, 18) and mechanism in ONE_MM and not extra_reference and not row.exclusive:
            return "PAGE_RO"  # no pte is writable; before it asks for young ones
        # One young pte is enough, but half must be where a page has to be swapped in.
        if khugepaged and (young == 0 or (row.swapped and young < HPAGE_PMD_NR // 2)):
            return "LACK_REFERENCED_PAGE"
        if extra_reference:
            return "PAGE_COUNT"
        return None
