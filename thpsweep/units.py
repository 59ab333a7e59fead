"""Sizes and times that every floor shares, the only magic numbers of the project, and how sizes are written."""

PAGE_SIZE_BYTES = 4096
"""Base page of x86-64 and of arm64 with 4 KiB pages."""

HPAGE_PMD_NR = 512
"""Base pages in one PMD-order folio (include/linux/huge_mm.h)."""

HPAGE_PMD_ORDER = 9
"""Order of such a folio: it has 2 ** order base pages."""

HPAGE_PMD_SIZE_BYTES = HPAGE_PMD_NR * PAGE_SIZE_BYTES
"""Bytes that one PMD entry maps: 2 MiB."""

BOARD_WORDS = HPAGE_PMD_NR // 64
"""uint64 words of a bitboard with one bit a slot of a region."""

MAX_SHARERS = 2_000
"""Largest sharing degree a run accepts: databases reach it (kernel mail cover.1682453344)."""

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
US_PER_S = 1_000_000
MS_PER_S = 1_000
S_PER_HOUR = 3_600


def size(value_bytes: float) -> str:
    """Write bytes in the largest binary unit that they fill."""
    for unit, bytes_each in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(value_bytes) >= bytes_each:
            return f"{value_bytes / bytes_each:,.1f} {unit}"
    return f"{value_bytes:,.0f} B"
