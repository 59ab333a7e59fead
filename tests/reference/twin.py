"""The slow twin of the model: one Python object a page frame, dicts and sets, written to be read beside the kernel.

Nothing here is fast and nothing is shared with `thpsweep/model`: where the two agree, two readings of the same rules agree.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from tests.reference.twin_frames import ZEROES, AnonVma, Folio, Frame, Reference, Row, Swapped
from tests.reference.twin_mechanisms import Mechanisms
from tests.reference.twin_reclaim import Reclaim
from tests.reference.twin_views import Views
from thpsweep.units import HPAGE_PMD_NR


class Twin(Mechanisms, Reclaim, Views):
    """Run one family of processes frame by frame.

    `cells` are (region, members, slots, folio): each slot has one frame that exactly these members map; folio 0 is small
    frames, any other number names a folio, of 2 MiB unless `orders` says otherwise. `swapped` gives slots by (region,
    sharer), `pmd` the PMD-mapped rows.
    """

    def __init__(
        self,
        n_regions: int,
        n_sharers: int,
        cells: Iterable[tuple[int, tuple[int, ...], Iterable[int], int]] = (),
        swapped: dict[tuple[int, int], set[int]] | None = None,
        pmd: Iterable[tuple[int, int]] = (),
        alive: Iterable[int] | None = None,
        orders: Mapping[int, int] | None = None,
    ) -> None:
        self.orders = orders or {}
        self.version = (7, 3)  # of Linux; 6.18 does the same in all that is done here
        self.n_regions = n_regions
        self.n_sharers = n_sharers
        self.alive = set(range(n_sharers)) if alive is None else set(alive)
        self.rows = {(r, s): Row() for r in range(n_regions) for s in range(n_sharers)}
        self.small_frames: set[Frame] = set()
        self.folios: set[Folio] = set()
        self.references: list[Reference] = []
        root = AnonVma()
        # The anon_vma of each process's VMA, and all whose trees it is in, oldest first: sharer 0 forked the others.
        self.anon_vma = {sharer: AnonVma(root) if sharer else root for sharer in range(n_sharers)}
        self.trees = {sharer: [root, *([anon_vma] if sharer else [])] for sharer, anon_vma in self.anon_vma.items()}
        self.registered = {
            sharer: sharer for sharer in range(n_sharers)
        }  # khugepaged's list of mms: a new one comes last
        self.counts: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        # What each process wrote last, by (region, sharer, slot): the truth that its page table has to lead to.
        self.logical: defaultdict[tuple[int, int, int], int] = defaultdict(lambda: ZEROES)
        self._tokens = itertools.count(1)
        self._place_cells(cells)
        for (region, sharer), slots in (swapped or {}).items():
            for slot in slots:
                token = self.logical[region, sharer, slot] = next(self._tokens)
                self.rows[region, sharer].swapped[slot] = Swapped(token, self.anon_vma[sharer])
        for key in pmd:
            self.rows[key].pmd = True
        for row in self.rows.values():
            alone = {slot for slot, frame in row.frames.items() if frame.mapcount == 1}
            row.exclusive = alone if not row.pmd or len(alone) == HPAGE_PMD_NR else set()
        self.check_invariants()

    def _place_cells(self, cells: Iterable[tuple[int, tuple[int, ...], Iterable[int], int]]) -> None:
        folio_of: dict[int, Folio] = {}
        placed: list[tuple[int, int, int, Frame]] = []
        for region, members, slots, number in cells:
            assert members, "a frame of a cell is mapped"
            for slot in slots:
                content = next(self._tokens)
                if number == 0:
                    frame = self._new_small(region, slot, content)
                else:
                    if number not in folio_of:
                        folio_of[number] = self._new_folio(region, self.orders.get(number, 9))
                    folio = folio_of[number]
                    assert folio.region == region, "a folio belongs to one region"
                    frame = Frame(region, slot, content, folio)
                frame.anon_vma = self.anon_vma[members[0] if len(members) == 1 else 0]  # else made before the forks
                for sharer in members:
                    placed.append((sharer, region, slot, frame))
                    self.logical[region, sharer, slot] = content
        for sharer, region, slot, frame in sorted(placed, key=lambda item: item[:3]):
            self._map(region, sharer, slot, frame)

    # ---- frames and mappings ------------------------------------------------------------------------------------

    def _new_small(self, region: int, slot: int, content: int) -> Frame:
        frame = Frame(region, slot, content)
        self.small_frames.add(frame)
        return frame

    def _new_folio(self, region: int, order: int = 9) -> Folio:
        folio = Folio(region, order)
        self.folios.add(folio)
        return folio

    def _new_subpage(self, folio: Folio, slot: int, content: int) -> Frame:
        return Frame(folio.region, slot, content, folio)

    def _map(self, region: int, sharer: int, slot: int, frame: Frame, exclusive: bool = False) -> None:
        row = self.rows[region, sharer]
        assert slot not in row.frames and slot not in row.swapped
        row.frames[slot] = frame
        if exclusive:
            row.exclusive.add(slot)
        frame.mapcount += 1
        if frame.anon_vma is None:
            frame.anon_vma = self.anon_vma[sharer]
        if frame.folio is not None:
            frame.folio.add_mapping(sharer)

    def _unmap(self, region: int, sharer: int, slot: int) -> Frame:
        row = self.rows[region, sharer]
        frame = row.frames.pop(slot)
        row.exclusive.discard(slot)
        frame.mapcount -= 1
        if frame.folio is not None:
            frame.folio.drop_mapping(sharer)
        self._bury(frame)
        return frame

    def _bury(self, frame: Frame) -> None:
        """Free a frame, or its folio, if nobody maps it and nobody refers to it."""
        if frame.in_swap is not None and not self._holders(frame.region, frame.slot, frame.in_swap):
            frame.in_swap.frame = frame.in_swap = None
        if frame.folio is None and not frame.mapcount and not self._held(frame) and frame.in_swap is None:
            self.small_frames.discard(frame)
        elif frame.folio is not None and not frame.folio.mappings and not self._held(frame):
            self.folios.discard(frame.folio)

    def _holders(self, region: int, slot: int, page: Swapped) -> list[int]:
        """Return the sharers that hold a swap pte of a page."""
        return [s for s in range(self.n_sharers) if self.rows[region, s].swapped.get(slot) is page]

    def _give_up(self, region: int, sharer: int, slot: int) -> None:
        """Drop a swap pte."""
        page = self.rows[region, sharer].swapped.pop(slot)
        if page.frame is not None:
            self._bury(page.frame)

    def read_in(self, region: int, sharer: int, slot: int) -> None:
        """Be do_swap_page() of a read: whoever else holds the page will find it in the swap cache, and share it."""
        row = self.rows[region, sharer]
        page = row.swapped.pop(slot)
        self._count("swap_ins" if page.frame is None else "swap_cache_faults")
        came, frame = page.frame is None, page.frame or self._new_small(region, slot, page.content)
        page.frame, frame.in_swap, frame.anon_vma = frame, page, page.anon_vma
        self._map(region, sharer, slot, frame)
        self._bury(frame)  # it leaves the swap cache with its last holder
        if (came or page.exclusive) and frame.in_swap is None:  # one holder alone, that shared it with none
            row.exclusive.add(slot)

    def _held(self, frame: Frame) -> bool:
        """Tell whether a long reference is on the frame's folio, whichever page of it that is on."""
        folio = frame.folio
        return any(r.frame is frame or (folio is not None and r.frame.folio is folio) for r in self.references)

    def _mappers(self, frame: Frame) -> list[int]:
        """Return the sharers that map a frame: the rmap walk, by looking at every row of the region."""
        region, slot = frame.region, frame.slot
        return [s for s in range(self.n_sharers) if self.rows[region, s].frames.get(slot) is frame]

    def _count(self, name: str, n: int = 1) -> None:
        if n:  # what did not happen has no key
            self.counts[name] += n

    # ---- exit, fork ---------------------------------------------------------------------------------------------

    def _count_by_form(self, verb: str, row: Row) -> None:
        if row.pmd:
            self._count(f"{verb}_pmds")
            return
        self._count(f"{verb}_tables", bool(row.frames or row.swapped or row.zero))
        self._count(f"{verb}_ptes_small", len(row.zero))
        for frame in row.frames.values():
            self._count(f"{verb}_ptes_small" if frame.folio is None else f"{verb}_ptes_compound")

    def exit(self, sharer: int) -> None:
        """End a process: drop all its rows."""
        assert sharer in self.alive, f"sharer {sharer} does not live"
        self.alive.remove(sharer)
        self._count("exits")
        for region in range(self.n_regions):
            row = self.rows[region, sharer]
            self._count_by_form("exit", row)
            for slot in list(row.frames):
                self._unmap(region, sharer, slot)
            for slot in list(row.swapped):
                self._give_up(region, sharer, slot)
            self.rows[region, sharer] = Row()
            for slot in range(HPAGE_PMD_NR):
                self.logical.pop((region, sharer, slot), None)
        self._drop([r for r in self.references if r.is_pin and r.sharer == sharer])

    def fork(self, parent: int, child: int) -> None:
        """Copy every row of the parent to the child; nobody is exclusive afterwards, but for what is pinned."""
        assert parent in self.alive, f"parent {parent} does not live"
        assert child not in self.alive, f"child {child} lives already"
        self.alive.add(child)
        self.registered[child] = max(self.registered.values()) + 1
        self._count("forks")
        self._anon_vma_fork(parent, child)
        for region in range(self.n_regions):
            mine, its = self.rows[region, parent], self.rows[region, child]
            kept = {slot for slot in mine.exclusive if self._maybe_dma_pinned(mine.frames[slot])}
            if mine.pmd and kept:
                self._count("pmd_splits")
                mine.pmd = False
            self._count_by_form("fork", mine)
            for slot, frame in mine.frames.items():
                if slot in kept:
                    self._count("fork_copies")
                    self._map(region, child, slot, self._new_small(region, slot, frame.content), exclusive=True)
                else:
                    self._map(region, child, slot, frame)
            for page in mine.swapped.values():
                page.exclusive = False
            its.swapped, its.zero = dict(mine.swapped), set(mine.zero)
            its.pmd = mine.pmd
            its.table = object() if kept else mine.table
            mine.exclusive = kept
            for slot in mine.frames.keys() | mine.swapped.keys():
                self.logical[region, child, slot] = self.logical[region, parent, slot]

    def _anon_vma_fork(self, parent: int, child: int) -> None:
        """Be anon_vma_fork(): into all of the parent's trees, then take over an idle anon_vma, or get one."""
        trees, living = list(self.trees[parent]), self.alive - {child}
        used = {anon_vma for sharer in living for anon_vma in self.trees[sharer]}
        in_use = {self.anon_vma[sharer] for sharer in living}
        for anon_vma in trees:
            n_children = sum(other.parent is anon_vma for other in used)
            if anon_vma.parent is not None and anon_vma not in in_use and n_children < 2:
                self.anon_vma[child], self.trees[child] = anon_vma, trees
                return
        self.anon_vma[child] = AnonVma(self.anon_vma[parent])
        self.trees[child] = [*trees, self.anon_vma[child]]

    def _maybe_dma_pinned(self, frame: Frame) -> bool:
        """Be folio_maybe_dma_pinned(): a question to the folio."""
        pinned = [r.frame for r in self.references if r.is_pin]
        return any(f is frame or (f.folio is not None and f.folio is frame.folio) for f in pinned)

    # ---- long references ----------------------------------------------------------------------------------------

    def take_references(self, wanted: Iterable[tuple[bool, int, int, int, int]]) -> None:
        """Take (FOLL_PIN?, region, sharer, slot, until) each: a pinner makes the page its own first."""
        for kind in (True, False):
            some = [w for w in wanted if w[0] is kind and w[2] in self.alive]
            keys = [w[1:4] for w in some]
            if kind:
                self.write(keys)
            for region, sharer, slot in () if kind else keys:
                if slot in self.rows[region, sharer].swapped:
                    self.rows[region, sharer].table = object()
                    self.read_in(region, sharer, slot)
            for is_pin, region, sharer, slot, until in some:
                frame = self.rows[region, sharer].frames.get(slot)
                if frame is not None:
                    self.references.append(Reference(frame, is_pin, region, sharer, slot, until))

    def expire(self, tick: int) -> None:
        """Drop the references that end with this tick."""
        self._drop([r for r in self.references if r.until <= tick])

    def _drop(self, ended: list[Reference]) -> None:
        for reference in ended:
            self.references.remove(reference)
            self._bury(reference.frame)

    # ---- writes -------------------------------------------------------------------------------------------------

    def write(self, writes: Iterable[tuple[int, int, int]]) -> None:
        """Let every (region, sharer, slot) be written: decide all on the state as it is, then apply."""
        slots_of: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
        for region, sharer, slot in set(writes):
            if sharer in self.alive:
                slots_of[region, sharer].add(slot)
        decided = {key: self._decide_faults(self.rows[key], slots) for key, slots in slots_of.items()}
        self._count("tables_unshared", sum(self._unshares(key, faults) for key, faults in decided.items()))
        cached: set[Swapped] = set()  # what one has read in this step the next one finds
        for (region, sharer), faults in decided.items():
            self._apply_faults(region, sharer, faults, cached)

    def _decide_faults(self, row: Row, slots: set[int]) -> dict[int, str]:
        faults = {}
        for slot in slots:
            frame = row.frames.get(slot)
            if slot in row.swapped and row.swapped[slot].exclusive and row.swapped[slot].frame is not None:
                faults[slot] = "take back"
            elif slot in row.swapped:
                page = row.swapped[slot]
                region = next(r for (r, _), other in self.rows.items() if other is row)
                sole = len(self._holders(region, slot, page)) == 1 and not (page.frame and page.frame.mapcount)
                faults[slot] = "swap in" if sole else "swap in and copy"
            elif slot in row.zero:
                faults[slot] = "copy zeroes"
            elif frame is None:
                faults[slot] = "first touch"
            elif slot in row.exclusive:
                faults[slot] = "no fault"
            elif row.pmd and frame.folio.mappings == HPAGE_PMD_NR and not self._held(frame):
                faults[slot] = "reuse the PMD"
            elif frame.mapcount > 1 or self._held(frame) or frame.in_swap is not None:
                faults[slot] = "copy"
            elif frame.folio is None or self._reuses(frame.folio):
                faults[slot] = "reuse"
            else:
                faults[slot] = "copy"  # its folio is maybe shared; or this is all that keeps the folio alive
        return faults

    def _reuses(self, folio: Folio) -> bool:
        """Ask a folio whether a write may take a subpage that one process alone maps: mm/memory.c of each version."""
        if self.version >= (6, 15):
            return not folio.maybe_shared and folio.mappings > 1
        return self.version < (6, 2) and folio.mappings == 1

    def _unshares(self, key: tuple[int, int], faults: dict[int, str]) -> bool:
        """Tell whether a row's first write is to a table that others use, if forks shared tables."""
        row = self.rows[key]
        users = [s for s in range(self.n_sharers) if self.rows[key[0], s].table is row.table]
        has_table = bool(row.frames or row.swapped or row.zero) and not row.pmd
        return len(users) > 1 and has_table and set(faults.values()) != {"no fault"}

    def _apply_faults(self, region: int, sharer: int, faults: dict[int, str], cached: set[Swapped]) -> None:
        row = self.rows[region, sharer]
        if set(faults.values()) != {"no fault"}:
            row.table = object()
        if "reuse the PMD" in faults.values():
            self._count("reuse_pmds")
            row.exclusive = set(range(HPAGE_PMD_NR))
        elif row.pmd and "copy" in faults.values():
            self._count("pmd_splits")
            row.pmd = False
        for slot, fault in faults.items():
            token = self.logical[region, sharer, slot] = next(self._tokens)
            if fault == "take back":
                self.read_in(region, sharer, slot)
            elif fault.startswith("swap in"):
                page = row.swapped[slot]
                hit = page.frame is not None or page in cached
                self._count("swap_cache_faults" if hit else "swap_ins")
                self._count("swap_copies", fault == "swap in and copy")
                cached.add(page)
                if not hit:
                    page.frame = self._new_small(region, slot, page.content)
                    page.frame.in_swap, page.frame.anon_vma = page, page.anon_vma
                self._give_up(region, sharer, slot)
                self._map(region, sharer, slot, self._new_small(region, slot, token), exclusive=True)
            elif fault == "copy zeroes":
                self._count("cow_faults")
                row.zero.remove(slot)
                self._map(region, sharer, slot, self._new_small(region, slot, token), exclusive=True)
            elif fault == "first touch":
                self._count("minor_faults")
                self._map(region, sharer, slot, self._new_small(region, slot, token), exclusive=True)
            elif fault == "copy":
                self._count("cow_faults")
                linked = self.n_links()
                self._unmap(region, sharer, slot)
                self._count("links_broken", linked - self.n_links())
                self._map(region, sharer, slot, self._new_small(region, slot, token), exclusive=True)
            elif fault == "reuse":
                self._count("reuse_faults")
                row.exclusive.add(slot)
            row.frames[slot].content = token
