"""KSM's merge of pages that so many processes have: the nearest thing in a kernel to switching a pte to another page."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from thpsweep.errors import LiveError
from thpsweep.linux.calibrate.samples import Raw
from thpsweep.linux.live.actor import Advice
from thpsweep.linux.live.bench import Bench
from thpsweep.linux.live.family import Family
from thpsweep.linux.live.kthread import Kthread
from thpsweep.linux.live.settings import Settings
from thpsweep.units import HPAGE_PMD_NR

_KSM = Path("/sys/kernel/mm/ksm")
_SHARERS = (2, 8)
_SLEEP_MS = 60_000
_MAX_WAKES = 12
_PATIENCE_S = 10.0


def merging(bench: Bench) -> Raw:
    """Merge a region that so many processes wrote alike. Units: ns of ksmd for each pte, its page comparisons included."""
    low, high = (_merged_ns(bench, sharers) for sharers in _SHARERS)
    return {"ksm_merge_pte": (high - low) / ((_SHARERS[1] - _SHARERS[0]) * HPAGE_PMD_NR)}


def _merged_ns(bench: Bench, sharers: int) -> float:
    with Family() as family:
        actor = family.start()
        memory = actor.map(1)
        actors = [actor, *(family.fork(actor)[0] for _ in range(sharers - 1))]
        for each in actors:
            each.write(memory, range(HPAGE_PMD_NR), value=1)  # page i holds 1 + i everywhere, in frames of their own
        with _ksmd(bench.settings, sharers * HPAGE_PMD_NR) as daemon:
            for each in actors:
                each.advise(memory, Advice.MERGEABLE)
            before_ns = daemon.cpu_ns
            for _ in range(_MAX_WAKES):
                _wake(daemon)
                if _number("pages_sharing") >= (sharers - 1) * HPAGE_PMD_NR:
                    return daemon.cpu_ns - before_ns
    raise LiveError(f"KSM merged {_number('pages_sharing')} of {(sharers - 1) * HPAGE_PMD_NR} pages")


@contextmanager
def _ksmd(settings: Settings, pages_to_scan: int) -> Iterator[Kthread]:
    """Have ksmd scan so many pages at each wake. Raises: LiveError where it is absent or at work for somebody else."""
    if not (_KSM / "run").exists():
        raise LiveError(f"{_KSM}: this kernel has no KSM")
    with settings.section():
        if _number("run") == 1:
            raise LiveError("KSM is at work for other programs")
        for name, value in (("smart_scan", 0), ("sleep_millisecs", _SLEEP_MS), ("pages_to_scan", pages_to_scan)):
            if (_KSM / name).exists():
                settings.set(_KSM / name, value)
        daemon = Kthread("ksmd")
        settings.set(_KSM / "run", 1)
        yield daemon


def _wake(daemon: Kthread) -> None:
    """Let ksmd have one turn: it wakes when its sleep is another one than when it fell asleep."""
    before_ns, until = daemon.cpu_ns, time.monotonic() + _PATIENCE_S
    (_KSM / "sleep_millisecs").write_text(str(2 * _SLEEP_MS - 1 - _number("sleep_millisecs")))
    while daemon.cpu_ns == before_ns or not daemon.sleeps:
        if time.monotonic() > until:
            raise LiveError(f"ksmd did not scan within {_PATIENCE_S:.0f} s")
        time.sleep(0.0005)


def _number(name: str) -> int:
    return int((_KSM / name).read_text())
