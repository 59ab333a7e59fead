"""KSM's merge of pages that so many processes have: the nearest thing in a kernel to switching a pte to another page."""

from thpsweep.linux.calibrate.samples import Raw
from thpsweep.linux.live.actor import Advice
from thpsweep.linux.live.bench import Bench
from thpsweep.linux.live.family import LiveFamily
from thpsweep.linux.live.ksm import ksmd, merge
from thpsweep.units import HPAGE_PMD_NR

_SHARERS = (2, 8)


def merging(bench: Bench) -> Raw:
    """Merge a region that so many processes wrote alike. Units: ns of ksmd for each pte, its page comparisons included."""
    low, high = (_merged_ns(bench, sharers) for sharers in _SHARERS)
    return {"ksm_merge_pte": (high - low) / ((_SHARERS[1] - _SHARERS[0]) * HPAGE_PMD_NR)}


def _merged_ns(bench: Bench, sharers: int) -> float:
    with LiveFamily() as family:
        actor = family.start()
        memory = actor.map(1)
        actors = [actor, *(family.fork(actor)[0] for _ in range(sharers - 1))]
        for each in actors:
            each.write(memory, range(HPAGE_PMD_NR), value=1)  # page i holds 1 + i everywhere, in frames of their own
        with ksmd(bench.settings, sharers * HPAGE_PMD_NR) as daemon:
            for each in actors:
                each.advise(memory, Advice.MERGEABLE)
            before_ns = daemon.cpu_ns
            merge(daemon, (sharers - 1) * HPAGE_PMD_NR)
            return daemon.cpu_ns - before_ns
