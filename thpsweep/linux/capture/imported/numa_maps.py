"""Sum up numa_maps: anonymous pages of each mapping, and the most mappings that one of them has."""

from collections.abc import Iterator

from thpsweep.linux.capture.imported.pasted import PastedMapping
from thpsweep.linux.capture.imported.sums import PAGE_KIB, Sums
from thpsweep.units import HPAGE_PMD_NR, HPAGE_PMD_SIZE_BYTES, PAGE_SIZE_BYTES


def of_numa_maps(numa: list[PastedMapping]) -> Iterator[Sums]:
    """Take pages and the largest number of mappings of one; where a mapping ends is only known to be before the next.

    Raises: CaptureError naming the line.
    """
    stops = [*(each.first_byte for each in numa[1:]), None]
    for mapping, stop in zip(numa, stops, strict=True):
        words = mapping.head.split()
        anon, mapmax = token(mapping, "anon", 0), token(mapping, "mapmax", 1)
        if not anon or "stack" in words or "huge" in words or any(word.startswith("file=") for word in words):
            continue
        if token(mapping, "kernelpagesize_kB", PAGE_KIB) != PAGE_KIB:
            raise mapping.line.fault(f"kernelpagesize_kB={PAGE_KIB}: the model has no other pages")
        n_pages = sum(int(word.partition("=")[2]) for word in words if word[:1] == "N" and word[1:2].isdigit())
        if n_pages != anon and not any(word.startswith("mapped=") for word in words):
            raise mapping.line.fault(f"anon={n_pages}, the sum of its nodes N0=, N1=, ...")
        begin = -(-mapping.first_byte // HPAGE_PMD_SIZE_BYTES) * HPAGE_PMD_SIZE_BYTES
        end = begin + -(-anon // HPAGE_PMD_NR) * HPAGE_PMD_SIZE_BYTES
        if stop is not None and mapping.first_byte + anon * PAGE_SIZE_BYTES > stop:
            raise mapping.line.fault(
                f"anon={(stop - mapping.first_byte) // PAGE_SIZE_BYTES} at most: the next begins there"
            )
        end = end if stop is None else min(end, stop)
        if end - begin < HPAGE_PMD_SIZE_BYTES:
            continue
        shared = anon if mapmax > 1 else 0
        part = shared * PAGE_KIB / mapmax
        private = anon - shared
        yield Sums(
            mapping.first_byte, end, private, shared, part, part, 1.0, float(mapmax),
            pss_kib=round(part + private * PAGE_KIB), mapmax=mapmax,
        )  # fmt: skip


def token(mapping: PastedMapping, name: str, default: int) -> int:
    """Give a number of a line of numa_maps. Raises: CaptureError."""
    found = [word.partition("=")[2] for word in mapping.head.split() if word.startswith(f"{name}=")]
    if not found:
        return default
    if not found[0].isdecimal():
        raise mapping.line.fault(f"{name}= and a whole number")
    return int(found[0])
