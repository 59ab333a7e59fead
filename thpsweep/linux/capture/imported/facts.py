"""What an imported layout says of itself: where it comes from, what is assumed, and between which bounds the truth is."""

import math
from collections.abc import Iterator, Sequence

from thpsweep.linux.capture.imported import settings
from thpsweep.linux.capture.imported.assemble import Assembled
from thpsweep.linux.capture.imported.pasted import NUMA_MAPS, ROLLUP, Pasted
from thpsweep.linux.capture.imported.sums import PAGE_KIB, Summed, Sums
from thpsweep.units import PAGE_SIZE_BYTES

ASSUMPTION = (
    "assumed: text does not say who shares a page. Mappings at one address are taken to be of one fork family, all of whom "
    "share what is not private, as far as Pss allows"
)
PLACING = (
    "assumed: the pages of a mapping lie side by side from its first region on, shared ones first, then private ones; "
    "copies that forks have made lie apart from each other's where Pss says so"
)
RATES = "unknown: text of one moment does not say what is written, read, forked or swapped; all are assumed"
_OF_FORM = {
    ROLLUP: "smaps_rollup has no mappings: all anonymous memory is taken to be one; how much of it is private is assumed",
    NUMA_MAPS: "numa_maps tells the most mappings of a page, not its own: all pages of a mapping are taken to have as many",
}

Facts = dict[str, str | int]


def facts(pasted: Pasted, found: Sequence[Summed], made: Assembled) -> Facts:
    """Put it in words and whole numbers, in the terms of a captured layout where it has them."""
    shared = [sums for each in found for sums in each.sums if sums.shared]
    n_shared = sum(sums.shared for sums in shared)
    forms = list(dict.fromkeys(each.form for each in found))
    known: Facts = {
        "program": next((each.process.name for each in found if each.process.name), "unknown"),
        "kernel_release": pasted.kernel_release or "unknown",
        "imported": _imported(found),
        "page_size": PAGE_SIZE_BYTES,
        "processes": made.n_pasted + made.n_added,
        "processes_imported": made.n_pasted,
        "processes_assumed": made.n_added,
        "sharing": ASSUMPTION + _added(made),
        "frames_hidden": f"imported from text, {_imported(found)}: it has no frame numbers",
        "placing": PLACING,
        "rates": RATES,
        **{f"assumed_of_{form}": _OF_FORM[form] for form in forms if form in _OF_FORM},
        **_bounds(shared, made, n_shared),
        "ptes_shared": n_shared,
        "ptes_grouped_wrongly_at_most": n_shared,
        "pss_kib": sum(sums.pss_kib for each in found for sums in each.sums),
        "pss_assumed_kib": round(made.pss_assumed * PAGE_KIB),
        **_left_out(found, made),
        **_asked(found),
        **_reclaim(pasted, found),
        **settings.provenance(pasted.settings),
        **_labels(found),
    }
    return known


def strangers(found: Sequence[Summed]) -> Iterator[str]:
    """Name the processes of a text none of whose mappings lies where another has one: they are no forks of each other."""
    met, together, end_byte = set[int](), set[int](), -1
    places = sorted((sums.first_byte, sums.end_byte, number) for number, each in enumerate(found) for sums in each.sums)
    for first_byte, last_byte, number in places:
        together = {*together, number} if first_byte < end_byte else {number}
        end_byte = max(end_byte, last_byte)
        met |= together if len(together) > 1 else set()
    for number, each in enumerate(found):
        if len(found) > 1 and number not in met and each.sums:
            line = each.process.line
            yield f"{line.source}:{line.number}: {each.process.who} has no mapping where another has one: no fork of theirs"


def _imported(found: Sequence[Summed]) -> str:
    counted = [(form, sum(each.form == form for each in found)) for form in dict.fromkeys(each.form for each in found)]
    return ", ".join(f"{form} of {n} process{'es' * (n > 1)}" for form, n in counted)


def _added(made: Assembled) -> str:
    if not made.n_added:
        return ""
    return f"; Pss tells of {made.n_added} more than are in the text, which are taken to be like one that is"


def _bounds(shared: Sequence[Sums], made: Assembled, n_shared: int) -> Facts:
    """Give the lowest and the highest sharing degree that the text allows."""
    if not n_shared:
        return {"mean_sharers": "nothing is shared"}
    low = n_shared / sum(sums.shared / sums.low for sums in shared)
    parts = sum(sums.shared / sums.high for sums in shared)
    high = n_shared / parts if parts else math.inf
    return {
        "mean_sharers": f"{low:.4g} to {_number(high)} by Pss, {made.mean_sharers:.4g} as assumed",
        "mean_sharers_low": f"{low:.6g}",
        "mean_sharers_high": _number(high, 6),
        "most_sharers_at_least": max(math.ceil(sums.low - 1e-9) for sums in shared),
        **({"most_sharers": max(sums.mapmax for sums in shared)} if all(sums.mapmax for sums in shared) else {}),
        "fewest_sharers_at_most": _number(min(math.floor(s.high) if s.high < math.inf else s.high for s in shared)),
    }


def _number(value: float, digits: int = 4) -> str:
    return "any number" if value == math.inf else f"{value:.{digits}g}"


def _left_out(found: Sequence[Summed], made: Assembled) -> Facts:
    edges = made.edges
    return {
        "small_mappings_left_out_kib": sum(each.small_kib for each in found),
        "edges_left_out_kib": (edges.private + edges.shared) * PAGE_KIB,
        "edges_swap_left_out_kib": edges.swapped * PAGE_KIB,
    }


def _asked(found: Sequence[Summed]) -> Facts:
    """Say where huge pages are forbidden or asked for, if VmFlags and /proc/PID/status were in the text."""
    said: Facts = {}
    if any(mapping.flags is not None for each in found for mapping in each.process.mappings):
        said["nohugepage_regions_left_out"] = len({region for each in found for region in each.forbidden})
        said["regions_hugepage"] = len({n for s in found[0].sums if s.wants_huge for n in range(*s.span)})
    if any(each.process.thp_off is not None for each in found):
        said["thp_disabled_processes"] = sum(bool(each.process.thp_off) for each in found)
    return said


def _reclaim(pasted: Pasted, found: Sequence[Summed]) -> Facts:
    """Say how the machine reclaims anonymous memory, as far as the text tells: by SwapTotal, pages in swap, lru_gen."""
    has_swap = any(sums.swapped for each in found for sums in each.sums) or bool(pasted.swap_total_kib)
    if not has_swap:
        return {} if pasted.swap_total_kib is None else {"reclaim": "none"}
    if pasted.lru_gen is None:
        return {
            "reclaim": "classic",
            "reclaim_from": "assumed: there is swap, and no line of lru_gen/enabled says 0x0007",
        }
    return {"reclaim": "mglru" if pasted.lru_gen else "classic"}


def _labels(found: Sequence[Summed]) -> Facts:
    """Add up what thpmaps says of anonymous memory, if it was in the text."""
    total: dict[str, int] = {}
    for each in found:
        of_mappings = [mapping.labels for mapping in each.process.mappings if mapping.labels]
        for labels in of_mappings or [each.process.labels]:
            for label, kib in labels.items():
                if label.startswith("anon-thp-"):
                    total[label] = total.get(label, 0) + kib
    return dict(sorted(total.items()))
