"""TLB flushes and interrupts of other CPUs."""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from thpsweep.errors import DisturbedError
from thpsweep.linux.calibrate.samples import Raw
from thpsweep.linux.live.actor import Actor, Advice, LiveMemory
from thpsweep.linux.live.bench import Bench
from thpsweep.linux.live.family import LiveFamily
from thpsweep.units import PAGE_SIZE_BYTES

_TIMES = 60
_TRIES, _PAUSE_S, _MIN_INTERRUPTS = 30, 0.01, 50
_CLEARLY_SLOWER = 2.5
_IN_A_PIECE, _PIECES, _MIN_PIECES = 20, 20, 30
_LOST = 0.5
"""A spinner that makes less than this part of the turns that it makes at best has lost its CPU to somebody else."""


class _Call(NamedTuple):
    """A call that interrupts the CPUs where a thread of the process runs; gives wall times of many of them, ns."""

    name: str
    often: Callable[[], tuple[int, ...]]


def interrupting(bench: Bench) -> Raw:
    """Give pages back one by one (MADV_DONTNEED), alone and with a thread of the process running on another CPU.

    That CPU has to be interrupted for the flush; membarrier() sends the same interrupt without one. Giving back what is
    not there is all of the call but the zap and the flush.
    """
    cpus = sorted(os.sched_getaffinity(0))
    with LiveFamily() as family:
        actor = family.start()
        actor.do("stay", cpus[0])
        memory = actor.map(1)
        calls = (_Call("drop", lambda: _drops(actor, memory)), _Call("barrier", lambda: _barriers(actor)))
        _drops(actor, memory)
        raw = {"drop_absent": statistics.median(_drop(actor, memory))}
        raw |= {f"{call.name}_alone": statistics.median(call.often()) for call in calls}
        if len(cpus) < 2:
            return raw
        actor.do("spin", cpus[1])
        for call in calls:
            alone_ns = raw[f"{call.name}_alone"]
            raw[f"{call.name}_ipi"] = max(0.0, _interrupted(call, alone_ns) - alone_ns)
        actor.do("spin", -1)
    return raw


def _drops(actor: Actor, memory: LiveMemory) -> tuple[int, ...]:
    actor.write(memory, range(memory.n_pages))
    return _drop(actor, memory)


def _drop(actor: Actor, memory: LiveMemory) -> tuple[int, ...]:
    return actor.advise(memory, Advice.DONTNEED, piece_bytes=PAGE_SIZE_BYTES).wall_ns


def _barriers(actor: Actor) -> tuple[int, ...]:
    return actor.do("barrier", _TIMES).wall_ns


def _interrupted(call: _Call, alone_ns: float) -> float:
    """Time the calls that did interrupt: at times the other thread has lost its CPU to somebody else.

    Raises: DisturbedError where that is nearly always so.
    """
    slow: list[int] = []
    for _ in range(_TRIES):
        time.sleep(_PAUSE_S)
        slow += [ns for ns in call.often() if ns > _CLEARLY_SLOWER * alone_ns]
    if len(slow) < _MIN_INTERRUPTS:
        raise DisturbedError("no CPU is free enough of other programs to be interrupted")
    return statistics.median(slow)


def receiving(bench: Bench) -> Raw:
    """Tell what an interrupt takes of the CPU that gets it, from the turns that a thread there does not make meanwhile.

    That thread's CPU time would tell only without CONFIG_IRQ_TIME_ACCOUNTING, which distributions have.
    """
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        return {}
    quiet, busy = list[tuple[int, int]](), list[tuple[int, int]]()
    with LiveFamily() as family:
        actor = family.start()
        actor.do("stay", cpus[0])
        _barriers(actor)
        actor.do("spin", cpus[1])
        for _ in range(_TRIES):
            time.sleep(_PAUSE_S)
            reply = actor.do("interrupt", _IN_A_PIECE, _PIECES)
            both = list(zip(reply.cpu_ns, reply.wall_ns, strict=True))
            quiet, busy = quiet + both[::2], busy + both[1::2]
        actor.do("spin", -1)
    return {"receiver": receiver_ns(quiet, busy, _IN_A_PIECE)}


def receiver_ns(quiet: Sequence[tuple[int, int]], busy: Sequence[tuple[int, int]], interrupts: int) -> float:
    """Tell what an interrupt takes of a CPU whose thread makes turns all the time: (turns, ns) of each piece.

    Raises: DisturbedError where the thread had hardly ever its CPU for a whole piece.
    """
    best = max((turns / ns for turns, ns in quiet), default=0.0)
    rates = [turns / ns for turns, ns in quiet if turns / ns > _LOST * best]
    if best == 0 or len(rates) < _MIN_PIECES:
        raise DisturbedError("no CPU is free enough of other programs to count what an interrupt takes of it")
    rate = statistics.median(rates)
    lost = [(ns - turns / rate) / interrupts for turns, ns in busy if turns > 0]
    kept = sorted(lost)[: max(1, len(lost) // 2)]  # who lost the CPU in between lost more
    if len(kept) < _MIN_PIECES:
        raise DisturbedError("no CPU is free enough of other programs to be interrupted so often")
    return max(0.0, statistics.median(kept))
