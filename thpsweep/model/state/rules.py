"""Rules that differ between kernels: which version of Linux has which.

Seen by running the same programs on Debian's 6.1.187 and 6.12.117 under emulation and on 6.18.44; what no kernel at hand
showed is of sources, and says so. Between two kernels that were looked at the change is taken where the source has it.
"""

import dataclasses
import enum
import re

Version = tuple[int, int]

NEWEST: Version = (7, 3)
"""Newest version whose changes are in the table."""

OLDEST: Version = (6, 1)
"""Oldest version that was looked at."""


@dataclasses.dataclass(frozen=True)
class Change:
    """What a version of Linux changed, where, and how it is known. name: for has()."""

    name: str
    what: str
    where: str
    since: Version
    known: str


_CHANGES = (
    Change(
        "madv_collapse", "MADV_COLLAPSE: a process asks for a collapse at once",
        "mm/khugepaged.c madvise_collapse()", (6, 1), "seen on 6.1",
    ),
    Change(
        "large_folios_stay", "a write reuses no pte-mapped subpage of a large folio, not even the last one",
        "mm/memory.c do_wp_page()", (6, 2), "6.1 was seen to reuse the last one, 6.12 none; the version between is taken",
    ),
    Change(
        "per_size_settings", "hugepages-2048kB/enabled decides for PMDs, not transparent_hugepage/enabled alone",
        "mm/huge_memory.c thpsize_create(), hugepage_pmd_enabled()", (6, 8), "source; seen on 6.12",
    ),
    Change(
        "guessed_sharing", "what is mapped shared is asked of a large folio, by a guess: its first page's mapcount",
        "mm/khugepaged.c hpage_collapse_scan_pmd(), include/linux/mm.h folio_likely_mapped_shared()", (6, 10),
        "source; 6.1 was seen to ask each page, 6.12 to guess",
    ),
    Change(
        "huge_zero_write", "a write to the huge zero page brings a THP, not one page",
        "mm/huge_memory.c do_huge_zero_wp_pmd()", (6, 13), "seen: 4 kB on 6.1 and 6.12, 2,048 kB on 6.18",
    ),
    Change(
        "pt_reclaim", "MADV_DONTNEED of all 512 slots frees the page table",
        "mm/memory.c zap_pte_range(), mm/pt_reclaim.c (x86-64, CONFIG_PT_RECLAIM)", (6, 14), "seen on 6.18, not on 6.12",
    ),
    Change(
        "mm_ids", "a folio's MM ids tell whether one mm maps it: a write reuses pte-mapped subpages, sharing is no guess",
        "mm/memory.c __wp_can_reuse_large_anon_folio(), include/linux/mm.h folio_maybe_mapped_shared()", (6, 15),
        "seen on 6.18, not on 6.12",
    ),
    Change(
        "collapses_read_only", "a collapse needs no writable pte; before, SCAN_PAGE_RO refuses what nobody wrote since a "
        "fork, the product of `switch` that ptes map included, which a collapse now copies its caller off",
        "mm/khugepaged.c hpage_collapse_scan_pmd()", (6, 18), "EINVAL on 6.1 and 6.12, not on 6.18 and 7.3",
    ),
    Change(
        "except_advised", "PR_THP_DISABLE_EXCEPT_ADVISED: THP off but where it is asked for",
        "kernel/sys.c prctl_set_thp_disable()", (6, 18), "seen on 6.18",
    ),
    Change(
        "goes_on_at_empty", "MADV_COLLAPSE goes on behind a region without a page table",
        "mm/khugepaged.c madvise_collapse()", (7, 2), "source (torvalds/linux b2128290c299); 6.18 was seen to stop",
    ),
)  # fmt: skip
CHANGES = {change.name: change for change in _CHANGES}


def has(version: Version, name: str) -> bool:
    """Tell whether a version of Linux has a change of the table."""
    return version >= CHANGES[name].since


class Reuse(enum.Enum):
    """When a write reuses a pte-mapped subpage of a large folio that one process alone maps."""

    LAST = "the last mapping of the folio"
    NEVER = "never"
    MM_IDS = "where the folio's MM ids say that one mm maps it, but for the last mapping"


class Sharing(enum.Enum):
    """What max_ptes_shared and MADV_PAGEOUT take for a page that other processes map too, where its folio is large."""

    PAGE = "a page with more than one mapping"
    FIRST_PAGE = "every page, if the folio's first one has more than one mapping, or the folio more mappings than pages"
    MM_IDS = "every page, unless the folio's MM ids say that one mm maps it"


@dataclasses.dataclass(frozen=True)
class Rules:
    """What the kernel of a version does, by CHANGES; the default is the newest that the model knows."""

    needs_writable_pte: bool = False
    frees_empty_tables: bool = True
    reuse: Reuse = Reuse.MM_IDS
    sharing: Sharing = Sharing.MM_IDS
    goes_on_at_empty: bool = True
    huge_zero_write: bool = True

    @classmethod
    def of(cls, version: Version) -> "Rules":
        """Give the rules of a version of Linux."""
        reuse = Reuse.NEVER if has(version, "large_folios_stay") else Reuse.LAST
        sharing = Sharing.FIRST_PAGE if has(version, "guessed_sharing") else Sharing.PAGE
        return cls(
            needs_writable_pte=not has(version, "collapses_read_only"),
            frees_empty_tables=has(version, "pt_reclaim"),
            reuse=Reuse.MM_IDS if has(version, "mm_ids") else reuse,
            sharing=Sharing.MM_IDS if has(version, "mm_ids") else sharing,
            goes_on_at_empty=has(version, "goes_on_at_empty"),
            huge_zero_write=has(version, "huge_zero_write"),
        )


def version_of(release: str) -> Version:
    """Read the version out of a release, as uname prints it, or of "v6.10". Raises: ValueError for one without a version."""
    match = re.match(r"v?(\d+)\.(\d+)", release)
    if match is None:
        raise ValueError(f"kernel release {release!r}: expected one that begins with a version, as 6.18.44 does")
    return int(match[1]), int(match[2])


def is_vendor(release: str) -> bool:
    """Tell whether a release is of a vendor who takes changes into older versions, so that its number says little."""
    return re.search(r"\.(el|amzn|fc\d|uek)|-(azure|aws|gcp|oracle)|\.sl|-default$", release) is not None
