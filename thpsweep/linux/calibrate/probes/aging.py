"""LRU aging of shared pages, under reclaim in a memory cgroup."""

import itertools
import statistics

from thpsweep.errors import LiveError
from thpsweep.linux.calibrate.samples import SHARERS, Raw, line
from thpsweep.linux.live.bench import Bench
from thpsweep.linux.live.cgroup import memory_cgroup
from thpsweep.linux.live.family import LiveFamily
from thpsweep.linux.live.forms import FORMS
from thpsweep.linux.live.tracing import Event
from thpsweep.linux.proc import lru_gen
from thpsweep.units import HPAGE_PMD_NR

_REGIONS = 16
_LESS_BYTES = 8 << 20
_MIN_BATCHES = 10
_NS_PER_S = 1e9


BY_MGLRU = (
    "this kernel ages by MGLRU: age_* are of classic reclaim, and mglru_* are ratios to them, as no tracepoint times its "
    "walk over page tables"
)


def aging(bench: Bench) -> Raw:
    """Reclaim where all pages are young, so that they are looked at and kept.

    Units: ns a small page, ns for each pte that maps one, that maps a subpage of a folio, and for each PMD.
    """
    if lru_gen.is_enabled():
        raise LiveError(BY_MGLRU)
    bench.need_swap()
    bench.need_trace()
    raw: Raw = {}
    for form, (_, entries) in FORMS.items():
        fixed, per_sharer = line({float(sharers): _folio_ns(bench, form, sharers) for sharers in SHARERS})
        if form == "pte_small":
            raw |= {"age_folio": fixed, "age_small_pte": per_sharer}
        else:
            raw[f"age_{form}"] = per_sharer / entries
    return raw


def _folio_ns(bench: Bench, form: str, sharers: int) -> float:
    """Time the look at one folio (a small page is one too) that so many share."""
    make, _ = FORMS[form]
    with memory_cgroup() as group, LiveFamily() as family:
        parent = family.start()
        group.add(parent.pid)
        memory = parent.map(_REGIONS)
        bench.warm(_REGIONS)
        make(parent, memory)
        children = [family.fork(parent)[0] for _ in range(sharers - 1)]
        for actor in (parent, *children):
            actor.read(memory, range(memory.n_pages))
        with bench.recording("vmscan/mm_vmscan_lru_shrink_inactive") as events:
            group.limit(group.used_bytes - _LESS_BYTES)
    return _page_ns(events) * (1 if form == "pte_small" else HPAGE_PMD_NR)


def _page_ns(events: list[Event]) -> float:
    """Take the typical time from one batch to the next where all pages of it were kept, for a page. Units: ns."""
    times = []
    for before, event in itertools.pairwise(events):
        n = int(event.fields["nr_scanned"])
        if n and before.pid == event.pid and event.fields["nr_reclaimed"] == "0":
            times.append((event.time_s - before.time_s) * _NS_PER_S / n)
    if len(times) < _MIN_BATCHES:
        raise LiveError(f"reclaim looked at {len(times)} batches of young pages, fewer than {_MIN_BATCHES}")
    return statistics.median(times)
