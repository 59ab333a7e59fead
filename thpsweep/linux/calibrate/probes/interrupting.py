"""TLB flushes and interrupts of other CPUs."""

import os
import statistics
import time

from thpsweep.errors import DisturbedError
from thpsweep.linux.calibrate.samples import Raw, typical_ns
from thpsweep.linux.live.actor import Actor
from thpsweep.linux.live.bench import Bench
from thpsweep.linux.live.family import Family

_TIMES = 60
_TRIES, _PAUSE_S, _MIN_INTERRUPTS = 30, 0.01, 50
_CLEARLY_SLOWER = 2.5


def interrupting(bench: Bench) -> Raw:
    """Time membarrier() alone, and with a thread of the process running on another CPU, which it has to interrupt."""
    cpus = sorted(os.sched_getaffinity(0))
    with Family() as family:
        actor = family.start()
        actor.do("stay", cpus[0])
        alone = typical_ns(actor.do("barrier", _TIMES), wall=True)
        if len(cpus) < 2:
            return {"barrier_alone": alone}
        actor.do("spin", cpus[1])
        with_other = _interrupted(actor, alone)
        actor.do("spin", -1)
    return {"barrier_alone": alone, "ipi": max(0.0, with_other - alone)}


def _interrupted(actor: Actor, alone_ns: float) -> float:
    """Time the barriers that did interrupt: at times the other thread has lost its CPU to somebody else.

    Raises: DisturbedError where that is nearly always so.
    """
    slow: list[int] = []
    for _ in range(_TRIES):
        time.sleep(_PAUSE_S)
        slow += [ns for ns in actor.do("barrier", _TIMES).wall_ns if ns > _CLEARLY_SLOWER * alone_ns]
    if len(slow) < _MIN_INTERRUPTS:
        raise DisturbedError("no CPU is free enough of other programs to be interrupted")
    return statistics.median(slow)
