"""Migration of shared pages, by compaction of memory with holes."""

import itertools
import statistics
from collections.abc import Sequence

import numpy as np

from thpsweep.errors import DisturbedError
from thpsweep.linux.calibrate.samples import SHARERS, Raw
from thpsweep.linux.live.bench import Bench
from thpsweep.linux.live.cgroup import memory_cgroup
from thpsweep.linux.live.compaction import Moves, compact, fill, many_free_pages, punch, trace_entries
from thpsweep.linux.live.family import LiveFamily
from thpsweep.linux.live.tracing import Event

_REGIONS = 128
_MIN_PAGES, _TRIES = 2_000, 4
_TRACED_REGIONS, _MIN_WALKS = 20, 200
_NS_PER_S = 1e9


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


def entering(bench: Bench) -> Raw:
    """Trace each migration entry that is set, and each that is restored: the time from one to the next of a page.

    The events cost about as much as what they tell of, but both the same: the difference of the two is right.
    Units: ns a pte, its event included.
    """
    bench.need_trace()
    sharers = SHARERS[-1]
    with many_free_pages(bench.settings), memory_cgroup() as group, LiveFamily() as family:
        actor = family.start()
        group.add(actor.pid)
        memory = actor.map(_TRACED_REGIONS)
        fill(bench, actor, memory)
        punch(group, actor, memory)
        for _ in range(sharers - 1):
            family.fork(actor)
        events = trace_entries(bench)
    return {
        "migration_set_traced": _between(events, "set_migration_pte", sharers),
        "migration_restore_traced": _between(events, "remove_migration_pte", sharers),
    }


def _between(events: Sequence[Event], name: str, sharers: int) -> float:
    """Take the mean time between the events of a walk that met each sharer. Units: ns.

    Raises: DisturbedError where there were few such walks.
    """
    walks = [list(walk) for _, walk in itertools.groupby(events, lambda event: (event.name, event.fields["addr"]))]
    whole = [walk for walk in walks if walk[0].name == name and len(walk) == sharers]
    if len(whole) < _MIN_WALKS:
        raise DisturbedError(f"compaction moved {len(whole)} pages that {sharers} share, fewer than {_MIN_WALKS}")
    gaps = [(walk[-1].time_s - walk[0].time_s) / (sharers - 1) * _NS_PER_S for walk in whole]
    return _trimmed_mean(gaps)


def _trimmed_mean(values: Sequence[float]) -> float:
    """Leave out the largest and the smallest tenth: walks that were interrupted. The trace tells whole microseconds."""
    cut = len(values) // 10
    return statistics.fmean(sorted(values)[cut : len(values) - cut])


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
    with memory_cgroup() as group, LiveFamily() as family:
        actor = family.start()
        group.add(actor.pid)
        memory = actor.map(_REGIONS)
        fill(bench, actor, memory)
        punch(group, actor, memory)
        for _ in range(sharers - 1):
            family.fork(actor)
        return compact(bench, actor, memory)
