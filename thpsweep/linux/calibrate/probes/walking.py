"""What page walks cost: dependent loads over working sets in small and in huge pages."""

from thpsweep.linux.calibrate.samples import Raw, typical_ns
from thpsweep.linux.live.actor import Advice
from thpsweep.linux.live.bench import Bench
from thpsweep.linux.live.family import LiveFamily

SIZES_MIB = (64, 256)
_LOADS, _PER_PIECE = 120_000, 4_000


def walking(bench: Bench) -> Raw:
    """Chase pointers, one line a page, over each size."""
    raw: Raw = {}
    with LiveFamily() as family:
        actor = family.start()
        for huge, form in enumerate(("small", "huge")):
            for size in SIZES_MIB:
                memory = actor.map(size // 2)
                if huge:
                    actor.advise(memory, Advice.HUGEPAGE)
                bench.warm(size // 2)
                actor.write(memory, range(memory.n_pages))
                reply = actor.do("chase", memory.address, memory.n_bytes, _LOADS, _PER_PIECE)
                raw[f"load_{form}_{size}_mib"] = typical_ns(reply, _PER_PIECE)
                actor.unmap(memory)
    return raw
