"""What points can do to whoever runs them; workers import this module, thpsweep ships none of it."""

import os
import signal
import time
from collections.abc import Sequence
from typing import Any

from tests.each import each
from thpsweep.model.simulate import simulate_each

RAISES, EXITS, KILLS, HANGS, HOGS, STUCK, UNSENDABLE = range(901, 908)
"""Sharing degrees that make trouble; any other is an honest point."""


@each
def misbehave(point: dict[str, Any]) -> dict[str, Any]:
    """Do what the sharing degree says."""
    degree = point["sharing"]["degree"]
    if degree == RAISES:
        raise ValueError("nine hundred and one")
    if degree == EXITS:
        raise SystemExit(3)
    if degree == KILLS:
        os._exit(1)
    if degree == STUCK:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    if degree in (HANGS, STUCK):
        time.sleep(600)
    if degree == HOGS:
        signal.setitimer(signal.ITIMER_REAL, 0)  # memory ends it, not time, however slow a busy machine is
        hoard = []
        while True:
            hoard.append(bytearray(1 << 20))
    if degree == UNSENDABLE:
        return {"lock": __import__("threading").Lock()}
    return {"degree": degree, "pid": os.getpid()}


def slow(points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Simulate, and take long enough for somebody to interfere."""
    time.sleep(0.015 * len(points))
    return simulate_each(points)


def unhurried(points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Simulate, and take so long that a sweep of some hundred points takes half a minute."""
    time.sleep(0.15 * len(points))
    return simulate_each(points)


@each
def very_slow(point: dict[str, Any]) -> dict[str, Any]:
    """Simulate, and take a second."""
    time.sleep(1.0)
    return simulate_each([point])[0]


@each
def endless(point: dict[str, Any]) -> dict[str, Any]:
    """Take longer than anybody waits."""
    time.sleep(600)
    return {}
