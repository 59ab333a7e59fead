"""Page faults of every kind."""

from thpsweep.linux.calibrate.samples import Raw, typical_ns
from thpsweep.linux.live.actor import Advice
from thpsweep.linux.live.bench import Bench
from thpsweep.linux.live.family import LiveFamily
from thpsweep.units import HPAGE_PMD_NR, HPAGE_PMD_SIZE_BYTES

_REGIONS = 16


def small(bench: Bench) -> Raw:
    """Touch pages first, write them in a child (CoW), and write them in the parent when it is alone (reuse)."""
    with LiveFamily() as family:
        parent = family.start()
        memory = parent.map(_REGIONS)
        pages = range(memory.n_pages)
        bench.warm(2 * _REGIONS)
        first = parent.write(memory, pages, HPAGE_PMD_NR)
        child, _ = family.fork(parent)
        copied = child.write(memory, pages, HPAGE_PMD_NR)
        family.end(child)
        again = parent.write(memory, pages, HPAGE_PMD_NR)
    replies = {"minor_fault": first, "cow_fault": copied, "reuse_fault": again}
    return {name: typical_ns(reply, HPAGE_PMD_NR) for name, reply in replies.items()}


def huge(bench: Bench) -> Raw:
    """Touch huge pages first, write one page of each in a child (split and copy), and in the parent when it is alone."""
    with LiveFamily() as family:
        parent = family.start()
        memory = parent.map(_REGIONS)
        parent.advise(memory, Advice.HUGEPAGE)
        one_each = range(0, memory.n_pages, HPAGE_PMD_NR)
        bench.warm(2 * _REGIONS)
        first = parent.write(memory, one_each, 1)
        child, _ = family.fork(parent)
        split = child.write(memory, one_each)
        family.end(child)
        again = parent.write(memory, one_each)
    return {
        "huge_fault": typical_ns(first),
        "split_and_copy": typical_ns(split, _REGIONS),
        "reuse_pmd": typical_ns(again, _REGIONS),
    }


def swapped(bench: Bench) -> Raw:
    """Swap pages out to zram, and read them back."""
    bench.need_swap()
    with LiveFamily() as family:
        actor = family.start()
        memory = actor.map(4)
        actor.write(memory, range(memory.n_pages))
        out = actor.advise(memory, Advice.PAGEOUT, piece_bytes=HPAGE_PMD_SIZE_BYTES)
        back = actor.read(memory, range(memory.n_pages), HPAGE_PMD_NR)
    return {"swap_out": typical_ns(out, HPAGE_PMD_NR), "swap_in": typical_ns(back, HPAGE_PMD_NR)}
