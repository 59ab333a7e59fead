"""Sum up smaps_rollup, which adds up all memory of a process: what of it is private anonymous memory lies in between."""

import math

from thpsweep.linux.capture.imported.pasted import PRIVATE, SHARED, PastedMapping
from thpsweep.linux.capture.imported.sums import HPAGE_KIB, PAGE_KIB, Sums, check_pages, check_sum
from thpsweep.units import HPAGE_PMD_NR, HPAGE_PMD_SIZE_BYTES


def rolled_up(mapping: PastedMapping) -> Sums:
    """Take the anonymous part out: one mapping of it. Raises: CaptureError naming the line that does not fit.

    Shared_* and Private_* are those of all memory, files too; Pss_Anon (Linux 5.1) is of the anonymous pages alone.
    """
    check_pages(mapping)
    check_sum(mapping, None)
    _check(mapping)
    anon, private, shared = mapping.kib("Anonymous"), _total(mapping, PRIVATE), _total(mapping, SHARED)
    pss_low, pss_high = _pss(mapping)
    least = max(0.0, anon - shared, 2 * pss_low - anon)
    most = min(private, anon, pss_high)
    if pss_low > anon or least > most + PAGE_KIB:
        named = mapping.fields.get("Pss_Anon", mapping.fields["Pss"])
        raise named.line.fault(f"what {anon} kB of anonymous memory can have beside {private} kB private")
    most = max(least, most)
    chosen = int(min(max(mapping.kib("Private_Dirty"), least), most)) // PAGE_KIB
    return _between(mapping, chosen, (least, most), (pss_low, pss_high))


def _total(mapping: PastedMapping, names: tuple[str, ...]) -> int:
    return sum(mapping.kib(name) for name in names)


def _check(mapping: PastedMapping) -> None:
    rss, pss, private = mapping.kib("Rss"), mapping.kib("Pss"), _total(mapping, PRIVATE)
    if "Anonymous" not in mapping.fields:
        raise mapping.line.fault("Anonymous below it: how much of the memory is of no file")
    anon, huge = mapping.kib("Anonymous"), mapping.kib("AnonHugePages")
    if anon > rss:
        raise mapping.fields["Anonymous"].line.fault(f"Anonymous: at most {rss} kB, which is Rss")
    if not private <= pss <= rss:
        raise mapping.fields["Pss"].line.fault(f"Pss from {private} (what is private) to {rss} kB (Rss)")
    if huge % HPAGE_KIB or huge > anon:
        line = mapping.fields["AnonHugePages"].line
        raise line.fault(f"AnonHugePages: n x {HPAGE_KIB} kB, at most {anon} kB (Anonymous)")


def _pss(mapping: PastedMapping) -> tuple[float, float]:
    """Give the least and the most that anonymous pages can have of Pss, in KiB."""
    anon, pss = mapping.kib("Anonymous"), mapping.kib("Pss")
    if "Pss_Anon" in mapping.fields:
        return float(mapping.kib("Pss_Anon")), min(float(anon), mapping.kib("Pss_Anon") + 1.0)
    return float(max(0, pss - (mapping.kib("Rss") - anon))), min(float(anon), pss + 1.0)


def _chosen_pss(mapping: PastedMapping, private: int, pss: tuple[float, float]) -> tuple[float, float]:
    """Choose where Pss is only told of all memory: anonymous pages that are shared have as many sharers as the others."""
    if "Pss_Anon" in mapping.fields:
        return pss
    shared = _total(mapping, SHARED)
    each = (mapping.kib("Pss") - _total(mapping, PRIVATE)) / shared if shared else 1.0
    chosen = private * PAGE_KIB + (mapping.kib("Anonymous") - private * PAGE_KIB) * each
    return (min(max(chosen, pss[0]), pss[1]),) * 2


def _between(mapping: PastedMapping, private: int, range_kib: tuple[float, float], pss: tuple[float, float]) -> Sums:
    """Choose one of what is possible, and keep the sharers that the extremes give."""
    anon, huge, swapped = mapping.kib("Anonymous"), mapping.kib("AnonHugePages"), mapping.kib("Swap") // PAGE_KIB
    shared = anon // PAGE_KIB - private
    chosen = _chosen_pss(mapping, private, pss)
    mine = [max(0.0, each - private * PAGE_KIB) for each in chosen]
    every = [
        (anon - own) / (each - own) if each > own else math.inf
        for own in range_kib for each in pss if anon > own
    ]  # fmt: skip
    n_regions = max(1, -(-(anon // PAGE_KIB + swapped) // HPAGE_PMD_NR))
    return Sums(
        first_byte=0,
        end_byte=n_regions * HPAGE_PMD_SIZE_BYTES,
        private=private,
        shared=shared,
        pss_low=mine[0],
        pss_high=min(mine[1], shared * PAGE_KIB),
        low=max(1.0, min(every, default=1.0)),
        high=max(every, default=1.0),
        huge=huge // HPAGE_KIB,
        folios=huge // HPAGE_KIB,
        swapped=swapped,
        pss_kib=int(chosen[0]),
    )
