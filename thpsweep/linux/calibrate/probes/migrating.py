"""Migration of shared pages, by compaction of memory with holes."""

import numpy as np

from thpsweep.errors import DisturbedError
from thpsweep.linux.calibrate.samples import SHARERS, Raw
from thpsweep.linux.live.bench import Bench
from thpsweep.linux.live.cgroup import memory_cgroup
from thpsweep.linux.live.compaction import Moves, compact, fill, many_free_pages, punch
from thpsweep.linux.live.family import Family

_REGIONS = 128
_MIN_PAGES, _TRIES = 2_000, 4


def migrating(bench: Bench) -> Raw:
    """Compact memory that so many share; solve time = a x pages + b x ptes, where other programs' pages have one each."""
    bench.need_trace()
    design, times = [], []
    with many_free_pages(bench.settings):
        for sharers in SHARERS:
            moved = _moves(bench, sharers)
            design.append((moved.pages.size + moved.foreign_pages, moved.pages.size * sharers + moved.foreign_pages))
            times.append(moved.ns)
    relative = np.array(design, float) / np.array(times)[:, None]
    (page_ns, pte_ns), *_ = np.linalg.lstsq(relative, np.ones(len(times)), rcond=None)
    return {"migration_page": float(page_ns), "migration_pte": float(pte_ns)}


def _moves(bench: Bench, sharers: int) -> Moves:
    """Move pages that so many share, more of ours than of others. Raises: DisturbedError where that did not come about."""
    tries = []
    for _ in range(_TRIES):
        moved = _once(bench, sharers)
        if moved.pages.size >= max(_MIN_PAGES, moved.foreign_pages):
            return moved
        tries.append(f"{moved.pages.size} and {moved.foreign_pages}")
    raise DisturbedError(f"compaction moved too few pages of ours, or too many of others: {', '.join(tries)}")


def _once(bench: Bench, sharers: int) -> Moves:
    with memory_cgroup() as group, Family() as family:
        actor = family.start()
        group.add(actor.pid)
        memory = actor.map(_REGIONS)
        fill(bench, actor, memory)
        punch(group, actor, memory)
        for _ in range(sharers - 1):
            family.fork(actor)
        return compact(bench, actor, memory)
