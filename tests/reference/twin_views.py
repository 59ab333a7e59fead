"""What can be asked of the slow twin, and what holds in it between any two events."""

from collections import Counter, defaultdict
from collections.abc import Mapping

from tests.reference.twin_frames import ZEROES, AnonVma, Folio, Frame, Reference, Row
from thpsweep.units import HPAGE_PMD_NR


class Views:
    """Be the part of Twin that shows its state."""

    n_regions: int
    n_sharers: int
    alive: set[int]
    rows: dict[tuple[int, int], Row]
    small_frames: set[Frame]
    folios: set[Folio]
    references: list[Reference]
    trees: dict[int, list[AnonVma]]
    logical: Mapping[tuple[int, int, int], int]

    def partition(self, region: int) -> dict[int, frozenset[frozenset[int]]]:
        """Return, for each slot with a frame, the sets of sharers that share one."""
        sharers_of: defaultdict[Frame, set[int]] = defaultdict(set)
        for sharer in range(self.n_sharers):
            for frame in self.rows[region, sharer].frames.values():
                sharers_of[frame].add(sharer)
        groups: defaultdict[int, set[frozenset[int]]] = defaultdict(set)
        for frame, sharers in sharers_of.items():
            groups[frame.slot].add(frozenset(sharers))
        return {slot: frozenset(sets) for slot, sets in groups.items()}

    def folio_mappings(self, region: int) -> frozenset[frozenset[tuple[int, int]]]:
        """Return, for each living folio of the region, the (sharer, slot) pairs that map it."""
        pairs: defaultdict[Folio, set[tuple[int, int]]] = defaultdict(set)
        for sharer in range(self.n_sharers):
            for slot, frame in self.rows[region, sharer].frames.items():
                if frame.folio is not None:
                    pairs[frame.folio].add((sharer, slot))
        return frozenset(frozenset(mapped) for mapped in pairs.values())

    def mm_slots(self) -> dict[frozenset[tuple[int, int, int]], tuple[object, ...]]:
        """Return who owns the slots of each mapped folio, by its (region, sharer, slot)s, what they say, and its order."""
        triples: defaultdict[Folio, set[tuple[int, int, int]]] = defaultdict(set)
        for (region, sharer), row in self.rows.items():
            for slot, frame in row.frames.items():
                if frame.folio is not None:
                    triples[frame.folio].add((region, sharer, slot))
        return {frozenset(mapped): (*folio.mm_id, folio.maybe_shared, folio.order) for folio, mapped in triples.items()}

    def pmd_rows(self) -> set[tuple[int, int]]:
        """Return the (region, sharer) rows that are mapped by a PMD."""
        return {key for key, row in self.rows.items() if row.pmd}

    def exclusive(self, region: int, sharer: int) -> set[int]:
        """Return the slots that this sharer writes without a fault."""
        return set(self.rows[region, sharer].exclusive)

    def present(self, region: int, sharer: int) -> set[int]:
        """Return the slots in which this sharer maps a frame."""
        return set(self.rows[region, sharer].frames)

    def swapped(self, region: int, sharer: int) -> set[int]:
        """Return the slots that this sharer has in swap."""
        return set(self.rows[region, sharer].swapped)

    def compound(self, region: int, sharer: int) -> set[int]:
        """Return the slots in which this sharer maps a subpage of a large folio."""
        return {slot for slot, frame in self.rows[region, sharer].frames.items() if frame.folio is not None}

    def visits(self, region: int, sharer: int) -> dict[int, int]:
        """Return how many VMAs an rmap walk visits for each small page that this sharer maps, by slot."""
        frames = self.rows[region, sharer].frames
        return {slot: self._vmas(frame) for slot, frame in frames.items() if frame.folio is None}

    def zeroed(self, region: int, sharer: int) -> set[int]:
        """Return the slots in which this sharer maps a page that holds zeroes."""
        return {slot for slot, frame in self.rows[region, sharer].frames.items() if frame.content == ZEROES}

    def mapcount(self, region: int, sharer: int, slot: int) -> int:
        """Return how many rows map the frame that this sharer has in the slot, 0 for no frame."""
        frame = self.rows[region, sharer].frames.get(slot)
        return 0 if frame is None else frame.mapcount

    def lru_entries(self) -> int:
        """Return the folios of any size on the LRU."""
        return len(self.small_frames) + len(self.folios)

    def pages_in_use(self) -> int:
        """Return the base pages that the frames hold; a folio holds all of its own until its last mapping goes."""
        return len(self.small_frames) + sum(folio.size for folio in self.folios)

    def snapshot(self) -> dict[str, object]:
        """Return the whole state as plain comparable data, without the names of frames and without counts."""
        regions = range(self.n_regions)
        return {
            "alive": set(self.alive),
            "partition": {region: self.partition(region) for region in regions},
            "folios": {region: self.folio_mappings(region) for region in regions},
            "mm_slots": self.mm_slots(),
            "pmd": self.pmd_rows(),
            "exclusive": {key: set(row.exclusive) for key, row in self.rows.items()},
            "visits": {key: self.visits(*key) for key in self.rows},
            "swapped": {key: set(row.swapped) for key, row in self.rows.items()},
            "cached": sorted((f.region, f.slot) for f in self.small_frames if f.in_swap is not None),
            "zero": {key: set(row.zero) for key, row in self.rows.items()},
            "zeroed": {key: self.zeroed(*key) for key in self.rows},
            "references": sorted((r.is_pin, r.region, r.sharer, r.slot, r.until) for r in self.references),
            "stuck_pages": sum(self.lost(folio) for folio in self.folios),
            "lru_entries": self.lru_entries(),
            "pages_in_use": self.pages_in_use(),
        }

    def check_invariants(self) -> None:
        """Assert everything that holds between any two events."""
        self._check_mapcounts()
        for (region, sharer), row in self.rows.items():
            assert sharer in self.alive or not (row.frames or row.swapped or row.zero or row.pmd), (
                "the dead map nothing"
            )
            assert not row.frames.keys() & row.swapped.keys(), "a slot is present or swapped, not both"
            assert row.zero <= row.none_slots(), "the zero page stands where nothing else does"
            assert row.exclusive <= row.frames.keys(), "only a mapped page is exclusive"
            for slot in row.exclusive:
                assert row.frames[slot].mapcount == 1, "an exclusive page has one mapping"
            if row.pmd:
                assert len({frame.folio for frame in row.frames.values()} - {None}) == 1, "a PMD maps one folio"
                assert len(row.frames) == HPAGE_PMD_NR, "a PMD maps 512 pages"
                assert all(frame.folio is not None for frame in row.frames.values()), "a PMD maps no small frame"
                assert len(row.exclusive) in (0, HPAGE_PMD_NR), "a PMD is exclusive or not, as a whole"
            self._check_contents(region, sharer, row)

    def _check_mapcounts(self) -> None:
        mapped: Counter[Frame] = Counter()
        for (region, _), row in self.rows.items():
            for slot, frame in row.frames.items():
                assert (frame.region, frame.slot) == (region, slot), "a frame stays at its place"
                assert frame.folio is None or frame.folio.pages[slot] is frame, "a subpage is at its place"
                mapped[frame] += 1
        for frame, mappings in mapped.items():
            assert frame.mapcount == mappings, "mapcount equals the rows that map the frame"
            mappers = set(self._mappers(frame))
            assert all(frame.anon_vma in self.trees[sharer] for sharer in mappers), "a walk finds all mappers"
        held = {r.frame for r in self.references}
        pages = {page for row in self.rows.values() for page in row.swapped.values()}
        cached = {page.frame for page in pages if page.frame is not None}
        assert all(f.in_swap is not None and f.in_swap.frame is f for f in cached), "the swap cache knows its pages"
        small = {f for f in [*mapped, *held, *cached] if f.folio is None}
        assert small == self.small_frames, "a small frame lives while it is mapped or referred to"
        large = {f.folio for f in [*mapped, *held] if f.folio is not None}
        assert large == self.folios, "a folio lives while one page is mapped or referred to"
        for r in self.references:
            mine = self.rows[r.region, r.sharer].frames.get(r.slot)
            assert not r.is_pin or mine is r.frame, "a pinned page never moves, and stays its pinner's"
            assert not r.is_pin or r.slot in self.rows[r.region, r.sharer].exclusive, "a pinned page is exclusive"
        for folio in self.folios:
            assert folio.mappings == sum(page.mapcount for page in folio.pages.values()), "a folio counts its mappings"
            assert len({slot // folio.size for slot in folio.pages}) <= 1, "a folio is an aligned block"

    def _check_contents(self, region: int, sharer: int, row: Row) -> None:
        """Assert that the process finds what it wrote last (or its parent, before the fork), and zeroes elsewhere."""
        for slot in range(HPAGE_PMD_NR):
            page = row.frames.get(slot) or row.swapped.get(slot)
            found = ZEROES if page is None else page.content
            wanted = self.logical.get((region, sharer, slot), ZEROES)
            assert found == wanted, f"region {region} sharer {sharer} slot {slot} reads {found}, wrote {wanted}"
