"""One process of a scenario: what can be asked of it."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Boards, Bools, Ints
from thpsweep.model.mm.zeroed import zeroes_of_copy
from thpsweep.model.scenario.ledger import folio_numbers
from thpsweep.model.scenario.world import World
from thpsweep.units import HPAGE_PMD_NR, PAGE_SIZE_BYTES

PAGE_KIB = PAGE_SIZE_BYTES // 1024


class ProcessState:
    """Hold what a process wrote and touched, beside the family's state, and show both as /proc would.

    advised: the range is MADV_HUGEPAGE; khugepaged passes over a process that is not, MADV_COLLAPSE does not ask.
    armed: userfaultfd is registered, and no empty pte may be filled; a child is not.
    has_anon_vma: the first write, or an ancestor's, prepared one; without, both refuse. Pages of zeroes need none.
    """

    def __init__(self, scene: World[Any], number: int) -> None:
        self.scene, self.number, self.advised = scene, number, True
        self.has_anon_vma = self.armed = False
        n_pages = scene.family.n_regions * HPAGE_PMD_NR
        self._written, self._in_swap = np.zeros(n_pages, np.int64), np.zeros(n_pages, np.int64)
        self._young = np.zeros(n_pages, bool)
        self._huge_zero = np.zeros(scene.family.n_regions, bool)
        self.write_protected = np.zeros(n_pages, bool)
        """Pages over whose ptes userfaultfd has a write protection, this process's alone."""

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

    def shared_pages(self, other: "ProcessState") -> int:
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

    def _keys(self, pages: Ints) -> Ints:
        return np.asarray(self._rows[pages // HPAGE_PMD_NR] * HPAGE_PMD_NR + pages % HPAGE_PMD_NR)
