"""The split of a folio of PMD order that so many share, when memory is reclaimed."""

import time

from thpsweep.errors import LiveError
from thpsweep.linux.calibrate.samples import SHARERS, Raw, line
from thpsweep.linux.live.actor import Advice
from thpsweep.linux.live.bench import Bench
from thpsweep.linux.live.cgroup import memory_cgroup
from thpsweep.linux.live.family import LiveFamily
from thpsweep.linux.proc.memory import memory_state, pages_in_use
from thpsweep.units import HPAGE_PMD_NR

_REGIONS = 8


def splitting(bench: Bench) -> Raw:
    """Unmap a page of each folio everywhere, which puts it on the list of those to be split, and reclaim.

    Units: ns a folio, and ns for each pte of each sharer.
    """
    fixed, per_sharer = line({float(sharers): _folio_ns(bench, sharers) for sharers in SHARERS})
    return {"folio_split": fixed, "folio_split_pte": per_sharer / HPAGE_PMD_NR}


def _folio_ns(bench: Bench, sharers: int) -> float:
    with memory_cgroup() as group, LiveFamily() as family:
        parent = family.start()
        group.add(parent.pid)
        memory = parent.map(_REGIONS)
        parent.advise(memory, Advice.HUGEPAGE)
        bench.warm(_REGIONS)
        parent.write(memory, range(memory.n_pages))
        actors = [parent, *(family.fork(parent)[0] for _ in range(sharers - 1))]
        for actor in actors:
            for page in range(0, memory.n_pages, HPAGE_PMD_NR):
                actor.advise(memory, Advice.DONTNEED, range(page, page + 1))
        begun = time.thread_time_ns()
        group.shrink()
        ns = (time.thread_time_ns() - begun) / _REGIONS
        if (used := pages_in_use([memory_state(parent.pid, memory)])) != _REGIONS * (HPAGE_PMD_NR - 1):
            raise LiveError(
                "frames are hidden, which show a split" if used is None else "reclaim did not split the folios"
            )
    return ns
