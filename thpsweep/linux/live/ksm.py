"""KSM at work for one program alone: started, made to scan when it is asked to, and put back."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from thpsweep.errors import LiveError
from thpsweep.linux.live.kthread import Kthread
from thpsweep.linux.live.settings import Settings

_KSM = Path("/sys/kernel/mm/ksm")
_SLEEP_MS = 60_000
_MAX_WAKES, _SETTLING_WAKES = 16, 3
"""Times that it is woken; until it has gone round once or twice, it counts pages of processes that are gone, too."""
_PATIENCE_S = 10.0


@contextmanager
def ksmd(settings: Settings, pages_to_scan: int) -> Iterator[Kthread]:
    """Have ksmd scan so many pages at each wake. Raises: LiveError where it is absent or works for other programs."""
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


def merge(daemon: Kthread, pages: int) -> None:
    """Wake ksmd until so many ptes lead to pages that stand for others, in all. Raises: LiveError."""
    for done in range(_MAX_WAKES):
        _wake(daemon)
        if done >= _SETTLING_WAKES and _number("pages_sharing") == pages:
            return
    raise LiveError(f"KSM merged {_number('pages_sharing')} of {pages} pages")


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
