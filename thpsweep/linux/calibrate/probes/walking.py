"""What page walks cost: dependent loads over working sets in small and in huge pages."""

import os
from collections.abc import Sequence

from thpsweep.errors import LiveError
from thpsweep.linux.calibrate.samples import Raw, typical_ns
from thpsweep.linux.live.actor import Advice
from thpsweep.linux.live.bench import Bench
from thpsweep.linux.live.family import LiveFamily
from thpsweep.linux.proc.room import available

SIZES_MIB = (64, 256)
UNCACHED_MIB = 1_024
"""Its page tables, 2 MiB, are as large as a second-level cache, or larger, and data compete; PMDs for it fit the TLB."""

_ROOM = 3
"""Times the memory that is chased through: it is warmed up twice as large."""

_LOADS, _PER_PIECE = 120_000, 4_000


def walking(bench: Bench) -> Raw:
    """Chase pointers, one line a page, over sizes whose page tables are in the cache."""
    return _chased(bench, SIZES_MIB)


def uncached(bench: Bench) -> Raw:
    """Do the same where they are not. Raises: LiveError where there is not enough memory."""
    free, whose = available(os.getpid())
    if free < _ROOM * (UNCACHED_MIB << 20):
        raise LiveError(f"{free >> 20} MiB are free ({whose}); expected {_ROOM * UNCACHED_MIB}")
    return _chased(bench, (UNCACHED_MIB,))


def _chased(bench: Bench, sizes_mib: Sequence[int]) -> Raw:
    raw: Raw = {}
    with LiveFamily() as family:
        actor = family.start()
        for huge, form in enumerate(("small", "huge")):
            for size in sizes_mib:
                memory = actor.map(size // 2)
                if huge:
                    actor.advise(memory, Advice.HUGEPAGE)
                bench.warm(size // 2)
                actor.write(memory, range(memory.n_pages))
                reply = actor.do("chase", memory.address, memory.n_bytes, _LOADS, _PER_PIECE)
                raw[f"load_{form}_{size}_mib"] = typical_ns(reply, _PER_PIECE)
                actor.unmap(memory)
    return raw
