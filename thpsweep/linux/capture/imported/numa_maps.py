"""Sum up numa_maps: anonymous pages of each mapping, and the most mappings that one of them has."""

from thpsweep.linux.capture.imported.pasted import NUMA_MAPS, PastedMapping, PastedProcess
from thpsweep.linux.capture.imported.sums import PAGE_KIB, Summed, Sums
from thpsweep.units import HPAGE_PMD_NR, HPAGE_PMD_SIZE_BYTES, PAGE_SIZE_BYTES


def of_numa_maps(process: PastedProcess) -> Summed:
    """Take pages and the largest number of mappings of one; where a mapping ends is only known to be before the next.

    One with less than 512 pages is taken to be smaller than a region. Raises: CaptureError naming the line.
    """
    result, numa = Summed(process, NUMA_MAPS, [], set()), process.of(NUMA_MAPS)
    stops = [*(each.first_byte for each in numa[1:]), None]
    for mapping, stop in zip(numa, stops, strict=True):
        words = mapping.head.split()
        anon = token(mapping, "anon", 0)
        if not anon or "stack" in words or "huge" in words or any(word.startswith("file=") for word in words):
            continue
        _check(mapping, anon, stop)
        begin = -(-mapping.first_byte // HPAGE_PMD_SIZE_BYTES) * HPAGE_PMD_SIZE_BYTES
        end = begin + -(-anon // HPAGE_PMD_NR) * HPAGE_PMD_SIZE_BYTES
        end = end if stop is None else min(end, stop)
        if anon < HPAGE_PMD_NR or end - begin < HPAGE_PMD_SIZE_BYTES:
            result.small_kib += anon * PAGE_KIB
            small = _sums(mapping, anon, mapping.first_byte + anon * PAGE_SIZE_BYTES)
            result.beside += [small] if small.shared else []
        else:
            result.sums.append(_sums(mapping, anon, end))
    return result


def _check(mapping: PastedMapping, anon: int, stop: int | None) -> None:
    if token(mapping, "kernelpagesize_kB", PAGE_KIB) != PAGE_KIB:
        raise mapping.line.fault(f"kernelpagesize_kB={PAGE_KIB}: the model has no other pages")
    words = [word.partition("=")[0] for word in mapping.head.split()]
    n_pages = sum(token(mapping, word, 0) for word in words if word[:1] == "N" and word[1:].isdecimal())
    if n_pages != anon and "mapped" not in words:
        raise mapping.line.fault(f"anon={n_pages}, the sum of its nodes N0=, N1=, ...")
    if stop is not None and mapping.first_byte + anon * PAGE_SIZE_BYTES > stop:
        most = (stop - mapping.first_byte) // PAGE_SIZE_BYTES
        raise mapping.line.fault(f"anon={most} at most: the next begins there")


def _sums(mapping: PastedMapping, anon: int, end: int) -> Sums:
    mapmax = max(1, token(mapping, "mapmax", 1))
    shared = anon if mapmax > 1 else 0
    part, private = shared * PAGE_KIB / mapmax, anon - shared
    return Sums(
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
