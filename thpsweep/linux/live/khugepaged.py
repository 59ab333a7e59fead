"""khugepaged made to do exactly one pass over all mms when it is told to.

A write to scan_sleep_millisecs, of the same value too, wakes it; with a long sleep and a large pages_to_scan each wake is
one complete pass. An mm that is registered while the list is empty starts one by itself: a decoy keeps it from being so.
Source: mm/khugepaged.c scan_sleep_millisecs_store(), khugepaged_do_scan() (v6.18).
"""

import time
from collections.abc import Callable

from thpsweep.errors import DisturbedError, LiveError
from thpsweep.linux.live.actor import Advice
from thpsweep.linux.live.family import LiveFamily
from thpsweep.linux.live.kthread import Kthread
from thpsweep.linux.live.settings import KHUGEPAGED, Settings

_SLEEP_MS = 600_000
_PATIENCE_S = 20.0
_LOST_S = 2.0
"""Time for which it sleeps without a finished pass when a wake was lost."""
LIMITS = ("max_ptes_none", "max_ptes_swap", "max_ptes_shared")
DEFAULT_LIMITS = {"max_ptes_none": 511, "max_ptes_swap": 64, "max_ptes_shared": 256}


class OneShot:
    """Hold khugepaged's settings; scan() is one pass."""

    def __init__(self, settings: Settings) -> None:
        self._daemon = Kthread("khugepaged")
        settings.set(KHUGEPAGED / "scan_sleep_millisecs", _SLEEP_MS)
        settings.set(KHUGEPAGED / "alloc_sleep_millisecs", 10)
        settings.set(KHUGEPAGED / "pages_to_scan", 1 << 20)
        settings.set(KHUGEPAGED / "defrag", 1)
        for name, value in DEFAULT_LIMITS.items():
            settings.set(KHUGEPAGED / name, value)
        settings.stack.enter_context(self._daemon.at_nice(0))
        decoy = settings.stack.enter_context(LiveFamily()).start()
        memory = decoy.map(1)
        decoy.advise(memory, Advice.HUGEPAGE)
        decoy.write(memory, range(1))  # only a touch registers it
        self.scan({})

    def scan(self, limits: dict[str, int]) -> float:
        """Make one pass with limits (default: the kernel's); give khugepaged's CPU time in ns. Raises: LiveError."""
        for name, value in {**DEFAULT_LIMITS, **limits}.items():
            (KHUGEPAGED / name).write_text(str(value))
        self._wait_until(lambda: self._daemon.sleeps)  # a wake during a pass is lost
        before, cpu_ns = _full_scans(), self._daemon.cpu_ns
        self._wake()
        self._wait_until(lambda: _full_scans() != before, self._wake)
        self._wait_until(lambda: self._daemon.sleeps)
        return self._daemon.cpu_ns - cpu_ns

    @staticmethod
    def _wake() -> None:
        (KHUGEPAGED / "scan_sleep_millisecs").write_text(str(_SLEEP_MS))

    def _wait_until(self, done: Callable[[], bool], again: Callable[[], None] = lambda: None) -> None:
        """Wait; do something again each time that it has slept for long: a wake is lost on one that sleeps elsewhere."""
        now_s, before_ns = time.monotonic(), self._daemon.cpu_ns
        end, next_s = now_s + _PATIENCE_S, now_s + _LOST_S
        while not done():
            if time.monotonic() > next_s and self._daemon.sleeps:
                again()
                next_s = time.monotonic() + _LOST_S
            if time.monotonic() > end:
                ran_ms = (self._daemon.cpu_ns - before_ns) / 1e6
                if self._daemon.sleeps:
                    raise LiveError(f"khugepaged sleeps, and did not finish a pass within {_PATIENCE_S:.0f} s")
                raise DisturbedError(
                    f"khugepaged ran {ran_ms:.1f} ms within {_PATIENCE_S:.0f} s, and did not finish a pass: "
                    "other programs use the CPUs"
                )
            time.sleep(0.0005)


def _full_scans() -> int:
    return int((KHUGEPAGED / "full_scans").read_text())
