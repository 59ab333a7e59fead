"""Copying and clearing pages, beyond what caches hold."""

import os

from thpsweep.linux.calibrate.samples import Raw, typical_ns
from thpsweep.linux.live.actor import Advice
from thpsweep.linux.live.bench import Bench
from thpsweep.linux.live.family import LiveFamily
from thpsweep.units import HPAGE_PMD_NR, HPAGE_PMD_SIZE_BYTES

_REGIONS = 64


def copying(bench: Bench) -> Raw:
    """Copy one half of 128 MiB to the other, and clear a half, page by page; huge pages, so that no walk is in it."""
    with LiveFamily() as family:
        actor = family.start()
        memory = actor.map(_REGIONS)
        actor.advise(memory, Advice.HUGEPAGE)
        actor.write(memory, range(memory.n_pages))
        raw = {"memory_bytes": float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))}
        for name, copies in (("copy_page", 1), ("clear_page", 0)):
            reply = actor.do("bytes", copies, memory.address, memory.n_bytes, HPAGE_PMD_SIZE_BYTES)
            raw[name] = typical_ns(reply, HPAGE_PMD_NR)
        return raw
