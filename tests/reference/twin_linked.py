"""The slow twin with links: old pages and their copies both alive, switched bit by bit (`incremental`, `deferred`).

Link(i) is one reference of the pair old_i -> F_i: it keeps the folio, and nobody reuses either side while it lasts.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from tests.reference.twin import Twin
from tests.reference.twin_frames import Folio, Frame, Row
from thpsweep.units import HPAGE_PMD_NR


class LinkedTwin(Twin):
    """Be a twin whose frames may have links. `copy_of` maps an old frame to the subpage that it is linked to."""

    def __init__(self, *family: Any) -> None:
        self.copy_of: dict[Frame, Frame] = {}
        self.isolated: set[Frame] = set()
        self.forwarded: set[Frame] = set()
        self.age_ticks: dict[Frame, int] = {}
        super().__init__(*family)

    def n_links(self) -> int:
        return len(self.copy_of)

    # ---- what links change in the life of pages -----------------------------------------------------------------

    def _unmap(self, region: int, sharer: int, slot: int) -> Frame:
        frame = super()._unmap(region, sharer, slot)
        if frame.mapcount == 0 and frame in self.copy_of:
            subpage = self.copy_of.pop(frame)
            self.isolated.discard(frame)
            self.forwarded.discard(frame)
            folio = subpage.folio
            assert folio is not None
            folio.drop_mapping(None)  # the link's reference
            self._bury(subpage)
        return frame

    def _decide_faults(self, row: Row, slots: set[int]) -> dict[int, str]:  # type: ignore[override]
        faults = super()._decide_faults(row, slots)
        for slot, fault in faults.items():
            if fault == "reuse" and row.frames[slot] in self.copy_of:
                faults[slot] = "copy"  # reuse would leave the copy with the old content
        return faults

    def fork(self, parent: int, child: int) -> None:
        super().fork(parent, child)
        for region in range(self.n_regions):
            row = self.rows[region, child]
            self._move(region, child, [s for s, frame in row.frames.items() if frame in self.forwarded])

    def take_references(  # type: ignore[override]
        self, wanted: list[tuple[bool, int, int, int, int]], redirect: bool = False
    ) -> None:
        """Lead references on old pages to their copies, where they are to be led; that switches the mm on the way."""
        super().take_references([w for w in wanted if w[0]])
        led = []
        for is_pin, region, sharer, slot, _ in wanted if redirect else ():
            frames = self.rows[region, sharer].frames
            if not is_pin and sharer in self.alive and frames.get(slot) in self.copy_of:
                led.append((region, sharer))
        self._count("gup_redirects", len(led))
        for region, sharer in sorted(set(led)):
            frames = self.rows[region, sharer].frames
            self._switch_row(region, sharer, [slot for slot, frame in frames.items() if frame in self.copy_of])
        super().take_references([w for w in wanted if not w[0]])

    def _referred_to(self, frame: Frame) -> bool:
        linked_to = {subpage.folio for subpage in self.copy_of.values()}
        return super()._referred_to(frame) or frame in self.isolated or frame.folio in linked_to - {None}

    def _switch_away(self, frames: list[Frame]) -> None:
        slots_of: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for frame in frames:
            for sharer in self._mappers(frame) if frame in self.copy_of else ():
                slots_of[frame.region, sharer].append(frame.slot)
        for (region, sharer), slots in sorted(slots_of.items()):  # mm by mm, as every switch: the first gets an MM slot
            self._switch_row(region, sharer, sorted(slots))

    def lost(self, folio: Folio) -> int:
        linked = set(self.copy_of.values())
        return sum(page.mapcount == 0 and page not in linked for page in folio.pages.values())

    def lru_entries(self) -> int:
        return super().lru_entries() - len(self.isolated)

    def check_contents(self) -> None:
        """Assert that every process reads what it wrote, and that both sides of a link read the same."""
        for (region, sharer), row in self.rows.items():
            self._check_contents(region, sharer, row)
        for old, subpage in self.copy_of.items():
            assert old.content == subpage.content and old.mapcount > 0, "a link leads to the same content"

    # ---- the two mechanisms -------------------------------------------------------------------------------------

    def visit(
        self,
        mechanism: str,
        region: int,
        sharer: int,
        *,
        limits: dict[str, int],
        khugepaged: bool,
        young: int,
        extra_reference: bool,
    ) -> tuple[str, int, bool]:
        """Scan a row; begin, go on, or refuse."""
        row = self.rows[region, sharer]
        refusal, progress = self._scan_ptes(
            row,
            mechanism,
            limits.get("max_ptes_none", HPAGE_PMD_NR),
            limits.get("max_ptes_swap", HPAGE_PMD_NR),
            HPAGE_PMD_NR,
        )
        linked = [slot for slot, frame in row.frames.items() if frame in self.copy_of]
        if linked:
            progress = HPAGE_PMD_NR
            refusal = None if mechanism == "deferred" else "PAGE_COUNT"
        elif refusal is None:
            refusal = self._refuse_after_walk(row, "switch", khugepaged, young, extra_reference)
        self._count("ptes_scanned", progress)
        self.outcomes[refusal or "SUCCEED"] += 1
        if refusal:
            return refusal, progress, False
        if not linked:
            self._bring_back(region, sharer)
            self._begin(mechanism, region, sharer)
            linked = list(row.frames)
        if mechanism == "deferred":
            self._switch_row(region, sharer, linked)
        return "SUCCEED", progress, True

    def _begin(self, mechanism: str, region: int, sharer: int) -> None:
        row = self.rows[region, sharer]
        self._count("ptes_protected", len(row.exclusive))
        self._count("tlb_flushes", len(row.exclusive) > 0)
        row.exclusive = set()
        folio = self._new_folio(region)
        for slot, old in row.frames.items():
            subpage = Frame(region, slot, old.content, folio)
            subpage.anon_vma = old.anon_vma
            folio.mappings += 1
            self.copy_of[old] = subpage
            self.age_ticks[old] = 0
            (self.isolated if mechanism == "incremental" else self.forwarded).add(old)
        if mechanism == "incremental":
            self._count_walks(1, list(row.frames.values()), "per_page")
        self._count("collapses")
        self._count("pages_copied", len(row.frames))
        self._count("pages_cleared", HPAGE_PMD_NR - len(row.frames))
        self._count("bloat_pages", HPAGE_PMD_NR - len(row.frames))

    def _move(self, region: int, sharer: int, slots: Iterable[int]) -> int:
        """Point ptes from old pages to their copies."""
        moved = 0
        for slot in slots:
            subpage = self.copy_of[self.rows[region, sharer].frames[slot]]
            # A reference of the step's own: the folio must not be freed before the new mapping is there.
            folio = subpage.folio
            assert folio is not None
            folio.mappings += 1
            self._unmap(region, sharer, slot)
            self._map(region, sharer, slot, subpage)
            folio.drop_mapping(None)
            moved += 1
        return moved

    def _switch_row(self, region: int, sharer: int, slots: Iterable[int]) -> None:
        ptes = self._move(region, sharer, list(slots))
        self._count("ptes_switched", ptes)
        self._count("tlb_flushes", ptes > 0)

    def open_rows(self) -> list[tuple[int, int, list[int]]]:
        """List (region, sharer, slots ascending) of the rows that map old pages with a link."""
        found = []
        for region in range(self.n_regions):
            for sharer in sorted(self.alive):
                frames = self.rows[region, sharer].frames
                slots = sorted(slot for slot, frame in frames.items() if frame in self.copy_of)
                found += [(region, sharer, slots)] if slots else []
        return found

    def step(
        self, mechanism: str, options: dict[str, Any], tick: int, tick_s: float, referenced: Callable[[int], bool]
    ) -> None:
        """Go on with what is under way at the end of a tick."""
        if mechanism == "incremental":
            self._work_off(options, tick, tick_s)
        else:
            self._defer(options, tick_s, referenced)
        for old in self.copy_of:
            self.age_ticks[old] += 1

    def _work_off(self, options: dict[str, Any], tick: int, tick_s: float) -> None:
        """Do slice after slice, pte by pte; a slice ends with its region."""
        left = int((tick + 1) * tick_s * options["slices_per_s"]) - int(tick * tick_s * options["slices_per_s"])
        for region in range(self.n_regions):
            ptes = [(sharer, slot) for r, sharer, slots in self.open_rows() if r == region for slot in slots]
            while ptes and left:
                this, ptes = ptes[: options["ptes_per_slice"]], ptes[options["ptes_per_slice"] :]
                left -= 1
                self._count("tlb_flushes", len({sharer for sharer, _ in this}))
                for sharer, slot in this:
                    self._count("ptes_switched", self._move(region, sharer, [slot]))

    def _defer(self, options: dict[str, Any], tick_s: float, referenced: Callable[[int], bool]) -> None:
        deadline = options["deadline_s"]
        led: set[int] = set()
        opened = [(r, s, slots, max(self._age(r, s, slot) for slot in slots)) for r, s, slots in self.open_rows()]
        for region, sharer, slots, age_ticks in opened:
            due = deadline > 0 and age_ticks >= math.ceil(deadline / tick_s)
            if options["redirect"] and region not in led:
                led.add(region)
                if referenced(region):
                    self._count("gup_redirects")
                    due = True
            if due:
                self._switch_row(region, sharer, slots)

    def _age(self, region: int, sharer: int, slot: int) -> int:
        return self.age_ticks[self.rows[region, sharer].frames[slot]]
