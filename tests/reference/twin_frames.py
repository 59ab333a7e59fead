"""What the slow twin is made of: folios, frames, pages in swap, references, and rows of ptes."""

from collections import Counter
from typing import NamedTuple

from thpsweep.units import HPAGE_PMD_NR

ZEROES = 0
"""Content of a page that nobody has written."""


class Folio:
    """Hold the subpages of one large folio by slot; a subpage that never had a mapping is not listed."""

    def __init__(self, region: int, order: int = 9) -> None:
        self.region = region
        self.order = order
        self.size = 1 << order
        self.pages: dict[int, Frame] = {}
        self.mappings = 0  # the kernel's folio_mapcount(): the sum of the mapcounts of all subpages
        self.mm_id: list[int | None] = [None, None]  # the sharers that own the two MM slots
        self.mappings_of: Counter[int] = Counter()  # by sharer; the kernel knows only those of the slots' owners
        self.maybe_shared = False

    def add_mapping(self, sharer: int) -> None:
        """Be folio_add_large_mapcount() of one more pte."""
        self.mappings += 1
        self.mappings_of[sharer] += 1
        if sharer not in self.mm_id and None in self.mm_id:
            self.mm_id[self.mm_id.index(None)] = sharer
            self.maybe_shared = self.maybe_shared or self.mappings > 1

    def drop_mapping(self, sharer: int | None) -> None:
        """Be folio_sub_large_mapcount() of one pte; None stands for the reference of a link, which no mm holds."""
        self.mappings -= 1
        if sharer is not None:
            self.mappings_of[sharer] -= 1
            if not self.mappings_of[sharer] and sharer in self.mm_id:
                self.mm_id[self.mm_id.index(sharer)] = None
        # One slot owns all mappings; where none are left, both are free, and the folio counts as exclusive too.
        if self.mappings in [0, *(self.mappings_of[mm] for mm in self.mm_id if mm is not None)]:
            self.maybe_shared = False

    def maybe_mapped_shared(self) -> bool:
        """Be folio_maybe_mapped_shared(): a single mapping is exclusive, whatever the slots say."""
        return self.mappings > 1 and self.maybe_shared


class Frame:
    """Be one anon page of one (region, slot): a small folio of its own, or a subpage of a large folio."""

    def __init__(self, region: int, slot: int, content: int, folio: Folio | None = None) -> None:
        self.region = region
        self.slot = slot
        self.content = content
        self.folio = folio
        self.mapcount = 0
        self.in_swap: Swapped | None = None  # it lies in the swap cache
        self.anon_vma: AnonVma | None = None  # the one of the process whose fault made it; it has none before
        if folio is not None:
            assert slot not in folio.pages, "a folio has one subpage a slot"
            folio.pages[slot] = self


class AnonVma:
    """Be the anon_vma that a process uses for its pages."""

    def __init__(self, parent: "AnonVma | None" = None) -> None:
        self.parent = parent


class Swapped:
    """Be one page in swap, for all who hold a swap pte of it; it has a frame too while it is in the swap cache."""

    def __init__(self, content: int, anon_vma: AnonVma | None) -> None:
        self.content = content
        self.anon_vma = anon_vma
        self.exclusive = False  # its one swap pte says so: no fork came since
        self.frame: Frame | None = None


class Reference(NamedTuple):
    """Be one long reference on a frame: FOLL_PIN or FOLL_GET, who took it where, and the tick that it ends with."""

    frame: Frame
    is_pin: bool
    region: int
    sharer: int
    slot: int
    until: int


class Row:
    """Be what one sharer maps in one region: frames and swapped content by slot; any other slot is none or the zero page."""

    def __init__(self) -> None:
        self.frames: dict[int, Frame] = {}
        self.swapped: dict[int, Swapped] = {}
        self.zero: set[int] = set()  # ptes that lead to the zero page
        self.exclusive: set[int] = set()
        self.pmd = False
        self.table = object()  # the pte table, if forks shared tables

    def none_slots(self) -> set[int]:
        """Return the slots that are neither present nor swapped: the zero page counts as none."""
        return set(range(HPAGE_PMD_NR)) - self.frames.keys() - self.swapped.keys()
