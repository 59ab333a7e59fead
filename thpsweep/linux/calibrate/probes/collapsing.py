"""Collapses: private ones by MADV_COLLAPSE against present ptes and sharers, and shmem's against sharers."""

from collections.abc import Callable

from thpsweep.linux.calibrate.samples import SHARERS, Raw, line, typical_ns
from thpsweep.linux.live.actor import Actor, Advice, LiveMemory
from thpsweep.linux.live.bench import Bench
from thpsweep.linux.live.family import LiveFamily
from thpsweep.linux.live.forms import compound, small
from thpsweep.units import HPAGE_PMD_NR, HPAGE_PMD_SIZE_BYTES

_REGIONS = 12
_PRESENT = (1, 128, 256, 512)
_SHARERS = 4
_SHMEM_REGIONS = 6


def private(bench: Bench) -> Raw:
    """Collapse regions of which so many ptes are present, and full ones: shared, and pte-mapped folios, shared and not.

    The ptes of a folio are cleared and unmapped in batches, and it is isolated once.
    Source: mm/khugepaged.c __collapse_huge_page_isolate(), __collapse_huge_page_copy_succeeded() (v6.18).
    """
    with LiveFamily() as family:
        actor = family.start()
        points = {float(present): _exclusive(bench, actor, present) for present in _PRESENT}
    intercept, slope = line(points)
    shared = _full(bench, small, _SHARERS)
    folios = [_full(bench, compound, sharers) for sharers in (1, _SHARERS)]
    return {
        "collapse_empty": intercept,
        "collapse_pte_exclusive": slope,
        "collapse_pte_shared": (shared - intercept) / HPAGE_PMD_NR,
        "collapse_pte_compound": (sum(folios) / len(folios) - intercept) / HPAGE_PMD_NR,
        "collapse_full_exclusive": points[512.0],
        "collapse_full_shared": shared,
        "collapse_full_compound": folios[0],
    }


def shmem(bench: Bench) -> Raw:
    """Collapse shmem that so many map by ptes, and let one of the others touch it again."""
    points, touch = {}, 0.0
    for sharers in SHARERS:
        with LiveFamily() as family:
            actor = family.start()
            memory = actor.map(_SHMEM_REGIONS, shared=True)
            actor.write(memory, range(memory.n_pages))
            children = [family.fork(actor)[0] for _ in range(sharers - 1)]
            for child in children:
                child.read(memory, range(memory.n_pages))
            points[float(sharers)] = _collapse(bench, actor, memory)
            for child in children[:1]:
                touch = typical_ns(child.read(memory, range(0, memory.n_pages, HPAGE_PMD_NR), per_piece=1), wall=True)
    fixed, per_sharer = line(points)
    return {"shmem_fixed": fixed, "shmem_pte": per_sharer / HPAGE_PMD_NR, "shmem_touch_pmd": touch}


def _full(bench: Bench, make: Callable[[Actor, LiveMemory], None], sharers: int) -> float:
    """Time collapses in one of so many sharers of full regions in some form. Units: ns."""
    with LiveFamily() as family:
        actor = family.start()
        memory = actor.map(_REGIONS)
        bench.warm(_REGIONS)
        make(actor, memory)
        for _ in range(sharers - 1):
            family.fork(actor)
        return _collapse(bench, actor, memory)


def _exclusive(bench: Bench, actor: Actor, present: int) -> float:
    memory = actor.map(_REGIONS)
    for region in range(_REGIONS):
        actor.write(memory, range(region * HPAGE_PMD_NR, region * HPAGE_PMD_NR + present))
    ns = _collapse(bench, actor, memory)
    actor.unmap(memory)
    return ns


def _collapse(bench: Bench, actor: Actor, memory: LiveMemory) -> float:
    """Collapse region by region on memory that the host has backed; give the typical one. Units: ns."""
    bench.warm(memory.n_regions)
    reply = actor.advise(memory, Advice.COLLAPSE, piece_bytes=HPAGE_PMD_SIZE_BYTES)
    return typical_ns(reply)
