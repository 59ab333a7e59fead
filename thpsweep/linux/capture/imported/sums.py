"""What the text says of each private anonymous mapping, checked: pages, how many are shared, and their part of Pss."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from thpsweep.errors import CaptureError
from thpsweep.linux.capture.imported.pasted import (
    MAPS,
    NUMA_MAPS,
    PRIVATE,
    ROLLUP,
    SHARED,
    SMAPS,
    THPMAPS,
    Pasted,
    PastedMapping,
    PastedProcess,
)
from thpsweep.linux.proc.maps import HUGEPAGE, NO_HUGEPAGE, anonymous_bytes, whole_regions
from thpsweep.units import HPAGE_PMD_NR, HPAGE_PMD_SIZE_BYTES, PAGE_SIZE_BYTES

PAGE_KIB = PAGE_SIZE_BYTES // 1024
HPAGE_KIB = HPAGE_PMD_NR * PAGE_KIB
_PTE_FOLIOS = f"anon-thp-pte-aligned-{HPAGE_KIB}kB"


@dataclass
class Sums:
    """Sum up one mapping. Units: pages, of one process; Pss in KiB; regions for huge and folios.

    pss_low, pss_high: what the shared pages add to Pss, which is told in whole KiB, cut off, or not told; low, high: their
    mean sharers (harmonic, as Pss counts) that follow. folios: regions that map a folio of 2 MiB whole, huge ones included.
    """

    first_byte: int
    end_byte: int
    private: int
    shared: int
    pss_low: float
    pss_high: float
    low: float
    high: float
    huge: int = 0
    folios: int = 0
    swapped: int = 0
    pss_kib: int = 0
    wants_huge: bool = False

    @property
    def span(self) -> tuple[int, int]:
        """Give the whole regions in it."""
        return whole_regions(self.first_byte, self.end_byte)

    @property
    def pages(self) -> int:
        """Count what is present."""
        return self.private + self.shared


@dataclass
class Summed:
    """Hold the mappings of a process that can have huge pages, and what was left out of it. Units: kB, regions."""

    process: PastedProcess
    form: str
    sums: list[Sums]
    forbidden: set[int]
    small_kib: int = 0


def summed(pasted: Pasted) -> list[Summed]:
    """Sum up every process. Raises: CaptureError."""
    found = [_of(process, pasted) for process in _joined(pasted)]
    if not found:
        if pasted.stray is not None:
            raise pasted.stray.fault("the line with the mapping's addresses before its fields")
        raise CaptureError(
            pasted.notes[0] if pasted.notes else "nothing here is smaps, smaps_rollup, numa_maps or thpmaps of a process"
        )
    return found


def _joined(pasted: Pasted) -> list[PastedProcess]:
    """Give numa_maps and thpmaps that came without a pid to the only process that they can be of."""
    full = [each for each in pasted.processes if each.of(SMAPS) or each.of(ROLLUP)]
    if len(full) == 1:
        for other in [each for each in pasted.processes if each is not full[0] and None in (each.pid, full[0].pid)]:
            full[0].mappings += other.mappings
            full[0].pid = full[0].pid if full[0].pid is not None else other.pid
            pasted.processes.remove(other)
    return pasted.processes


def _of(process: PastedProcess, pasted: Pasted) -> Summed:
    smaps = process.of(SMAPS)
    if smaps:
        _note_bare(process, pasted)
        return _of_smaps(process, smaps)
    if process.of(ROLLUP):
        return Summed(process, ROLLUP, [_rolled_up(process.of(ROLLUP)[-1])], set())
    if numa := process.of(NUMA_MAPS):
        return Summed(process, NUMA_MAPS, list(_of_numa_maps(numa)), set())
    if thpmaps := process.of(THPMAPS):
        raise thpmaps[0].line.fault(f"smaps of {process.who} too (thpmaps --inc-smaps): thpmaps does not count small pages")
    if maps := process.of(MAPS):
        raise maps[0].line.fault("/proc/PID/smaps: fields like 'Rss: 4 kB' below; maps has addresses only")
    raise CaptureError(f"{process.who}: thpmaps --rollup has no mappings: expected its smaps too")


def _note_bare(process: PastedProcess, pasted: Pasted) -> None:
    known = {mapping.first_byte for mapping in process.of(SMAPS)}
    for mapping in process.of(MAPS):
        if mapping.first_byte not in known and anonymous_bytes(mapping.head):
            where = f"{mapping.line.source}:{mapping.line.number}"
            pasted.notes.append(f"{where}: {mapping.head.split(' ')[0]!r}: has no fields below: left out")


def _of_smaps(process: PastedProcess, smaps: list[PastedMapping]) -> Summed:
    result = Summed(process, SMAPS, [], set())
    mapmax = {each.first_byte: _token(each, "mapmax", 1) for each in process.of(NUMA_MAPS)}
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
        if mapping.flags is not None and NO_HUGEPAGE in mapping.flags:
            result.forbidden |= set(range(first, stop)) if sums.pages or sums.swapped else set()
        elif first >= stop:
            result.small_kib += sums.pages * PAGE_KIB
        elif sums.pages or sums.swapped:
            result.sums.append(sums)
    return result


def _cap(sums: Sums, mapmax: int, mapping: PastedMapping) -> None:
    """No page has more mappings than numa_maps says."""
    if mapmax < math.ceil(sums.low - 1e-9):
        raise mapping.line.fault(f"at most {mapmax} mappings of a page, as numa_maps says (mapmax); Pss says {sums.low:.3g}")
    sums.high = min(sums.high, mapmax)
    sums.pss_low = max(sums.pss_low, sums.shared * PAGE_KIB / mapmax)


def _checked(mapping: PastedMapping, labels: dict[str, int]) -> Sums:
    """Hold the fields of a mapping against each other. Raises: CaptureError naming the line that does not fit."""
    assert mapping.end_byte is not None
    _check_pages(mapping)
    size_kib = (mapping.end_byte - mapping.first_byte) // 1024
    rss, pss, huge = mapping.kib("Rss"), mapping.kib("Pss"), mapping.kib("AnonHugePages")
    private = sum(mapping.kib(name) for name in PRIVATE)
    first, stop = whole_regions(mapping.first_byte, mapping.end_byte)
    if "Size" in mapping.fields and mapping.kib("Size") != size_kib:
        raise mapping.fields["Size"].line.fault(f"Size: {size_kib} kB, which is what lies between the addresses")
    _check_sum(mapping, size_kib)
    if not private <= pss <= rss:
        raise mapping.fields["Pss"].line.fault(f"Pss from {private} (what is private) to {rss} kB (Rss)")
    if huge % HPAGE_KIB or not huge <= min(rss, max(0, stop - first) * HPAGE_KIB):
        most = min(rss // HPAGE_KIB, max(0, stop - first))
        raise mapping.fields["AnonHugePages"].line.fault(f"AnonHugePages: n x {HPAGE_KIB} kB, n from 0 to {most}")
    folios = (huge + min(labels.get(_PTE_FOLIOS, 0), rss - huge)) // HPAGE_KIB
    return _sums(mapping, private, pss, huge // HPAGE_KIB, min(folios, max(0, stop - first)))


def _check_pages(mapping: PastedMapping) -> None:
    """Refuse other base pages, and numbers that no pages make."""
    for name in ("KernelPageSize", "MMUPageSize"):
        if name in mapping.fields and mapping.kib(name) != PAGE_KIB:
            raise mapping.fields[name].line.fault(f"{name}: {PAGE_KIB} kB: the model has no other pages")
    for name in ("Rss", *SHARED, *PRIVATE, "Swap", "AnonHugePages"):
        if mapping.kib(name) % PAGE_KIB:
            raise mapping.fields[name].line.fault(f"{name}: whole pages of {PAGE_KIB} kB")


def _check_sum(mapping: PastedMapping, size_kib: int | None) -> None:
    parts = sum(mapping.kib(name) for name in (*SHARED, *PRIVATE))
    if mapping.kib("Rss") != parts:
        raise mapping.fields["Rss"].line.fault(f"Rss: {parts} kB, the sum of Shared_* and Private_* below it")
    if size_kib is not None and parts + mapping.kib("Swap") > size_kib:
        raise mapping.fields["Rss"].line.fault(f"Rss and Swap of {size_kib} kB together at most, the size of the mapping")


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


def _rolled_up(mapping: PastedMapping) -> Sums:
    """Take the anonymous part out of smaps_rollup, in which files are, too: how much of it is private lies in between.

    Shared_* and Private_* are those of all memory; Pss_Anon (Linux 5.1) is of the anonymous pages alone.
    """
    _check_pages(mapping)
    _check_sum(mapping, None)
    rss, pss = mapping.kib("Rss"), mapping.kib("Pss")
    if "Anonymous" not in mapping.fields:
        raise mapping.line.fault("Anonymous below it: how much of the memory is of no file")
    anon, private, shared = mapping.kib("Anonymous"), *(sum(mapping.kib(n) for n in each) for each in (PRIVATE, SHARED))
    if anon > rss:
        raise mapping.fields["Anonymous"].line.fault(f"Anonymous: at most {rss} kB, which is Rss")
    if not private <= pss <= rss:
        raise mapping.fields["Pss"].line.fault(f"Pss from {private} (what is private) to {rss} kB (Rss)")
    if "Pss_Anon" in mapping.fields:
        pss_low, pss_high = float(mapping.kib("Pss_Anon")), min(float(anon), mapping.kib("Pss_Anon") + 1.0)
    else:
        pss_low, pss_high = max(0.0, pss - (rss - anon)), min(float(anon), pss + 1.0)
    least = max(0.0, anon - shared, 2 * pss_low - anon)
    most = min(private, anon, pss_high)
    if pss_low > anon or least > most + PAGE_KIB:
        named = mapping.fields.get("Pss_Anon", mapping.fields["Pss"])
        raise named.line.fault(f"what {anon} kB of anonymous memory can have beside {private} kB private")
    chosen = int(min(max(mapping.kib("Private_Dirty"), least), max(least, most))) // PAGE_KIB
    return _between(mapping, anon, chosen, (least, max(least, most)), (pss_low, pss_high))


def _between(
    mapping: PastedMapping, anon: int, private: int, range_kib: tuple[float, float], pss: tuple[float, float]
) -> Sums:
    """Choose one of what is possible, and keep the sharers that the extremes give."""
    shared = anon // PAGE_KIB - private
    mine = [max(0.0, each - private * PAGE_KIB) for each in pss]
    every = [
        (anon - own) / (each - own) if each > own else math.inf
        for own in range_kib for each in pss if anon > own
    ]  # fmt: skip
    huge = mapping.kib("AnonHugePages")
    if huge % HPAGE_KIB or huge > anon:
        raise mapping.fields["AnonHugePages"].line.fault(f"AnonHugePages: n x {HPAGE_KIB} kB, at most {anon} kB (Anonymous)")
    swapped = mapping.kib("Swap") // PAGE_KIB
    n_regions = -(-(anon // PAGE_KIB + swapped) // HPAGE_PMD_NR)
    return Sums(
        first_byte=0,
        end_byte=max(1, n_regions) * HPAGE_PMD_SIZE_BYTES,
        private=private,
        shared=shared,
        pss_low=mine[0],
        pss_high=min(mine[1], shared * PAGE_KIB),
        low=max(1.0, min(every, default=1.0)),
        high=max(every, default=1.0),
        huge=huge // HPAGE_KIB,
        folios=huge // HPAGE_KIB,
        swapped=swapped,
        pss_kib=int(pss[0]),
    )


def _of_numa_maps(numa: list[PastedMapping]) -> Iterator[Sums]:
    """Take pages and the largest number of mappings of one; where a mapping ends is only known to be before the next."""
    stops = [*(each.first_byte for each in numa[1:]), None]
    for mapping, stop in zip(numa, stops, strict=True):
        words = mapping.head.split()
        anon, mapmax = _token(mapping, "anon", 0), _token(mapping, "mapmax", 1)
        if not anon or "stack" in words or "huge" in words or any(word.startswith("file=") for word in words):
            continue
        if _token(mapping, "kernelpagesize_kB", PAGE_KIB) != PAGE_KIB:
            raise mapping.line.fault(f"kernelpagesize_kB={PAGE_KIB}: the model has no other pages")
        n_pages = sum(int(word.partition("=")[2]) for word in words if word[:1] == "N" and word[1:2].isdigit())
        if n_pages != anon and not any(word.startswith("mapped=") for word in words):
            raise mapping.line.fault(f"anon={n_pages}, the sum of its nodes N0=, N1=, ...")
        begin = -(-mapping.first_byte // HPAGE_PMD_SIZE_BYTES) * HPAGE_PMD_SIZE_BYTES
        end = begin + -(-anon // HPAGE_PMD_NR) * HPAGE_PMD_SIZE_BYTES
        if stop is not None and mapping.first_byte + anon * PAGE_SIZE_BYTES > stop:
            raise mapping.line.fault(f"anon={(stop - mapping.first_byte) // PAGE_SIZE_BYTES} at most: the next begins there")
        end = end if stop is None else min(end, stop)
        if end - begin < HPAGE_PMD_SIZE_BYTES:
            continue
        shared = anon if mapmax > 1 else 0
        part = shared * PAGE_KIB / mapmax
        private = anon - shared
        kept = Sums(
            mapping.first_byte, end, private, shared, part, part, 1.0, float(mapmax), pss_kib=round(part + private * PAGE_KIB)
        )
        yield kept


def _token(mapping: PastedMapping, name: str, default: int) -> int:
    found = [word.partition("=")[2] for word in mapping.head.split() if word.startswith(f"{name}=")]
    if not found:
        return default
    if not found[0].isdecimal():
        raise mapping.line.fault(f"{name}= and a whole number")
    return int(found[0])
