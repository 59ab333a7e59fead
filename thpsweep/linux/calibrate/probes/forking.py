"""Forks and exits against what is mapped, and how."""

import statistics

from thpsweep.linux.calibrate.samples import Raw, typical_ns
from thpsweep.linux.live.actor import Actor, LiveMemory
from thpsweep.linux.live.bench import Bench
from thpsweep.linux.live.family import LiveFamily
from thpsweep.linux.live.forms import FORMS
from thpsweep.units import HPAGE_PMD_SIZE_BYTES

_REGIONS = 48
_FORKS = 5


def forking(bench: Bench) -> Raw:
    """Fork with small pages, with pte-mapped and with PMD-mapped folios, less an empty fork; unmap in a child for exit."""
    raw: Raw = {}
    for form, (make, entries) in FORMS.items():
        with LiveFamily() as family:
            parent = family.start()
            empty_ns = statistics.median(typical_ns(parent.do("fork", 0, 1)) for _ in range(_FORKS))
            memory = parent.map(_REGIONS)
            bench.warm(_REGIONS)
            make(parent, memory)
            first, again = zip(*(_two_forks(bench, parent, memory) for _ in range(_FORKS)), strict=True)
            raw[f"fork_{form}"] = (statistics.median(first) - empty_ns) / (_REGIONS * entries)
            raw[f"fork_{form}_again"] = (statistics.median(again) - empty_ns) / (_REGIONS * entries)
            child, _ = family.fork(parent)
            raw[f"exit_{form}"] = typical_ns(child.unmap(memory, HPAGE_PMD_SIZE_BYTES), entries)
    return raw


def _two_forks(bench: Bench, parent: Actor, memory: LiveMemory) -> tuple[float, float]:
    """Time a fork after everything was written, which has to protect it, and one that finds it protected.

    Other memory is touched before each, so that caches are as cold as where a process does something else meanwhile.
    """
    parent.write(memory, range(memory.n_pages))
    times = []
    for _ in range(2):
        bench.warm(_REGIONS)
        times.append(typical_ns(parent.do("fork", 0, 1)))
    return times[0], times[1]
