"""Migration of shared pages, by compaction of memory with holes."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np

from thpsweep.errors import LiveError
from thpsweep.linux.calibrate.samples import Raw
from thpsweep.linux.live.bench import Bench
from thpsweep.linux.live.compaction import Moves, compact, low_memory, many_free_pages, punch
from thpsweep.linux.live.family import Family

_REGIONS = 192
_SHARERS = (1, 4, 16)
_MIN_PAGES = 500


def migrating(bench: Bench) -> Raw:
    """Compact memory that so many share; solve time = a x pages + b x ptes, where other programs' pages have one each."""
    bench.need_trace()
    design, times = [], []
    with many_free_pages(bench.settings):
        for sharers in _SHARERS:
            moved = _moves(bench, sharers)
            design.append((moved.pages.size + moved.foreign_pages, moved.pages.size * sharers + moved.foreign_pages))
            times.append(moved.ns)
    relative = np.array(design, float) / np.array(times)[:, None]
    (page_ns, pte_ns), *_ = np.linalg.lstsq(relative, np.ones(len(times)), rcond=None)
    return {"migration_page": float(page_ns), "migration_pte": float(pte_ns)}


def _moves(bench: Bench, sharers: int) -> Moves:
    """Move pages that so many share. Raises: LiveError where too few were ours."""
    moved = _once(bench, sharers, _anywhere)
    if moved is None or moved.pages.size < max(_MIN_PAGES, moved.foreign_pages):
        moved = _once(bench, sharers, low_memory)
    if moved is None or moved.pages.size < _MIN_PAGES:
        raise LiveError(f"compaction moved {moved.pages.size if moved else 0} pages of ours, fewer than {_MIN_PAGES}")
    return moved


def _once(bench: Bench, sharers: int, room: Callable[[Family], AbstractContextManager[None]]) -> Moves | None:
    with Family() as family:
        with room(family):
            actor = family.start()
            memory = actor.map(_REGIONS)
            actor.write(memory, range(memory.n_pages))
        punch(actor, memory)
        for _ in range(sharers - 1):
            family.fork(actor)
        return compact(bench, actor, memory)


def _anywhere(family: Family) -> AbstractContextManager[None]:
    return nullcontext()
