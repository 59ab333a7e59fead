"""khugepaged's scan of ptes."""

from thpsweep.linux.calibrate.samples import Raw
from thpsweep.linux.live.actor import Advice
from thpsweep.linux.live.bench import Bench
from thpsweep.linux.live.family import LiveFamily
from thpsweep.units import HPAGE_PMD_NR

_REGIONS = 64
_PASSES, _NEVER = 4, float("inf")


def scanning(bench: Bench) -> Raw:
    """Let khugepaged go over regions that it refuses at their last pte, less a pass that passes them over."""
    daemon = bench.need_khugepaged()
    with LiveFamily() as family:
        actor = family.start()
        memory = actor.map(_REGIONS)
        for region in range(_REGIONS):  # the last pte is one too many
            actor.write(memory, range(region * HPAGE_PMD_NR, (region + 1) * HPAGE_PMD_NR - 1))
        without_ns, with_ns = _NEVER, _NEVER
        for _ in range(_PASSES):  # the least of each: other programs' memory is in them
            actor.advise(memory, Advice.NOHUGEPAGE)
            without_ns = min(without_ns, daemon.scan({"max_ptes_none": 0}))
            actor.advise(memory, Advice.HUGEPAGE)
            with_ns = min(with_ns, daemon.scan({"max_ptes_none": 0}))
    return {"scan_pte": max(0.0, with_ns - without_ns) / (_REGIONS * HPAGE_PMD_NR)}
