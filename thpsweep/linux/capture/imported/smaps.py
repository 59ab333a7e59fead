"""Sum up smaps, mapping by mapping, each checked: its fields have to fit each other."""

import math

from thpsweep.linux.capture.imported.numa_maps import token
from thpsweep.linux.capture.imported.pasted import NUMA_MAPS, PRIVATE, SMAPS, THPMAPS, PastedMapping, PastedProcess
from thpsweep.linux.capture.imported.sums import HPAGE_KIB, PAGE_KIB, Summed, Sums, check_pages, check_sum
from thpsweep.linux.proc.maps import HUGEPAGE, NO_HUGEPAGE, anonymous_bytes, whole_regions

_PTE_FOLIOS = f"anon-thp-pte-aligned-{HPAGE_KIB}kB"
"""Label of thpmaps for folios of 2 MiB that ptes map."""


def of_smaps(process: PastedProcess, smaps: list[PastedMapping]) -> Summed:
    """Sum up a process; numa_maps and thpmaps of it add what they know. Raises: CaptureError naming the line."""
    result = Summed(process, SMAPS, [], set())
    mapmax = {each.first_byte: token(each, "mapmax", 1) for each in process.of(NUMA_MAPS)}
    labels = {each.first_byte: each.labels for each in process.of(THPMAPS)}
    end = 0
    for mapping in smaps:
        if mapping.first_byte < end:
            raise mapping.line.fault(f"an address from {end:x} on: mappings of a process do not overlap")
        end = mapping.end_byte or end
        if anonymous_bytes(mapping.head) is None:
            continue
        sums = _checked(mapping, {**labels.get(mapping.first_byte, {}), **mapping.labels})
        if mapping.first_byte in mapmax and sums.shared:
            _cap(sums, mapmax[mapping.first_byte], mapping)
        first, stop = sums.span
        is_forbidden = mapping.flags is not None and NO_HUGEPAGE in mapping.flags
        if sums.shared and (is_forbidden or first >= stop):
            result.beside.append(sums)
        if is_forbidden:
            result.forbidden |= set(range(first, stop)) if sums.pages or sums.swapped else set()
        elif first >= stop:
            result.small_kib += sums.pages * PAGE_KIB
        elif sums.pages or sums.swapped:
            result.sums.append(sums)
    return result


def _cap(sums: Sums, mapmax: int, mapping: PastedMapping) -> None:
    """No page has more mappings than numa_maps says."""
    if mapmax < math.ceil(sums.low - 1e-9):
        raise mapping.line.fault(
            f"at most {mapmax} mappings of a page, as numa_maps says (mapmax); Pss says {sums.low:.3g}"
        )
    sums.high, sums.mapmax = min(sums.high, mapmax), mapmax
    sums.pss_low = max(sums.pss_low, sums.shared * PAGE_KIB / mapmax)


def _checked(mapping: PastedMapping, labels: dict[str, int]) -> Sums:
    """Hold the fields of a mapping against each other. Raises: CaptureError naming the line that does not fit."""
    assert mapping.end_byte is not None
    check_pages(mapping)
    size_kib = (mapping.end_byte - mapping.first_byte) // 1024
    rss, pss, huge = mapping.kib("Rss"), mapping.kib("Pss"), mapping.kib("AnonHugePages")
    private = sum(mapping.kib(name) for name in PRIVATE)
    first, stop = whole_regions(mapping.first_byte, mapping.end_byte)
    if "Size" in mapping.fields and mapping.kib("Size") != size_kib:
        raise mapping.fields["Size"].line.fault(f"Size: {size_kib} kB, which is what lies between the addresses")
    check_sum(mapping, size_kib)
    if not private <= pss <= rss:
        raise mapping.fields["Pss"].line.fault(f"Pss from {private} (what is private) to {rss} kB (Rss)")
    if huge % HPAGE_KIB or not huge <= min(rss, max(0, stop - first) * HPAGE_KIB):
        most = min(rss // HPAGE_KIB, max(0, stop - first))
        raise mapping.fields["AnonHugePages"].line.fault(f"AnonHugePages: n x {HPAGE_KIB} kB, n from 0 to {most}")
    folios = (huge + min(labels.get(_PTE_FOLIOS, 0), rss - huge)) // HPAGE_KIB
    return _sums(mapping, private, pss, huge // HPAGE_KIB, min(folios, max(0, stop - first)))


def _sums(mapping: PastedMapping, private_kib: int, pss: int, huge: int, folios: int) -> Sums:
    assert mapping.end_byte is not None
    shared_kib = mapping.kib("Rss") - private_kib
    pss_low, pss_high = float(pss - private_kib), float(min(shared_kib, pss - private_kib + 1))
    return Sums(
        first_byte=mapping.first_byte,
        end_byte=mapping.end_byte,
        private=private_kib // PAGE_KIB,
        shared=shared_kib // PAGE_KIB,
        pss_low=pss_low if shared_kib else 0.0,
        pss_high=pss_high if shared_kib else 0.0,
        low=shared_kib / pss_high if shared_kib else 1.0,
        high=(shared_kib / pss_low if pss_low else math.inf) if shared_kib else 1.0,
        huge=huge,
        folios=folios,
        swapped=mapping.kib("Swap") // PAGE_KIB,
        pss_kib=pss,
        wants_huge=mapping.flags is not None and HUGEPAGE in mapping.flags,
    )
