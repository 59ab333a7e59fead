"""Rules that differ between kernels: which version of Linux has which.

Seen by running the same programs on Debian's 6.1.187 and 6.12.117 under emulation and on 6.18.44; what no kernel at hand
showed is of sources, and says so. Between two kernels that were looked at the change is taken where the source has it.
"""

import dataclasses
import enum
import re

Version = tuple[int, int]


class Reuse(enum.Enum):
    """When a write reuses a pte-mapped subpage of a large folio that one process alone maps."""

    LAST = "the last mapping of the folio"
    NEVER = "never"
    MM_IDS = "where the folio's MM ids say that one mm maps it, but for the last mapping"


@dataclasses.dataclass(frozen=True)
class Rules:
    """What the kernel of a version does; the default is the newest that the model knows.

    Sources, with the first version of what stands first in each line:
    needs_writable_pte: gone in 6.18. mm/khugepaged.c hpage_collapse_scan_pmd(), SCAN_PAGE_RO; seen on 6.1 and 6.12 (EINVAL
    for a fork-shared region that no process wrote since), not on 6.18.
    frees_empty_tables: 6.14. mm/memory.c zap_pte_range(), mm/pt_reclaim.c (x86-64, CONFIG_PT_RECLAIM).
    reuse: MM_IDS in 6.15. mm/memory.c __wp_can_reuse_large_anon_folio(); 6.12 was seen to reuse none, 6.1 the last; where
    between them that changed is not known, and 6.2 to 6.14 are taken for 6.12.
    goes_on_at_empty: 7.2. mm/khugepaged.c madvise_collapse(); from torvalds/linux b2128290c299, 6.18 was seen to stop.
    """

    needs_writable_pte: bool = False
    frees_empty_tables: bool = True
    reuse: Reuse = Reuse.MM_IDS
    goes_on_at_empty: bool = True

    @classmethod
    def of(cls, version: Version) -> "Rules":
        """Give the rules of a version of Linux."""
        reuse = Reuse.MM_IDS if version >= (6, 15) else Reuse.NEVER if version >= (6, 2) else Reuse.LAST
        return cls(
            needs_writable_pte=version < (6, 18),
            frees_empty_tables=version >= (6, 14),
            reuse=reuse,
            goes_on_at_empty=version >= (7, 2),
        )


def version_of(release: str) -> Version:
    """Read the version out of a release, as uname prints it. Raises: ValueError for one without a version."""
    match = re.match(r"(\d+)\.(\d+)", release)
    if match is None:
        raise ValueError(f"kernel release {release!r}: expected one that begins with a version, as 6.18.44 does")
    return int(match[1]), int(match[2])
