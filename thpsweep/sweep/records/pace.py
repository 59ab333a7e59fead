"""How fast points end and when all will have: from when they did, though they come in bursts."""

import collections

BURST_S = 0.5
"""Points that end within it are one burst: a worker hands in a chunk at once."""

WINDOW_S, AT_LEAST = 30.0, 10
"""Bursts that count: those of the last seconds, and this many whatever their age."""


class Pace:
    """The last bursts, each with when it ended and how many points had ended by then."""

    def __init__(self) -> None:
        self._bursts: collections.deque[tuple[float, float, int]] = collections.deque()
        self.ended = 0

    def add(self, now_s: float) -> None:
        """Count one more point that ended."""
        self.ended += 1
        if self._bursts and now_s - self._bursts[-1][0] < BURST_S:
            began_s = self._bursts.pop()[0]
            self._bursts.append((began_s, now_s, self.ended))
            return
        self._bursts.append((now_s, now_s, self.ended))
        while len(self._bursts) > AT_LEAST and self._bursts[0][1] < now_s - WINDOW_S:
            self._bursts.popleft()

    def per_s(self, now_s: float) -> float | None:
        """Give the points a second; None as long as there was but one burst, which says nothing of the next.

        Between two bursts it stays as it is; it falls once the next one is late.
        """
        if len(self._bursts) < 2:
            return None
        _, first_s, at_first = self._bursts[0]
        _, last_s, at_last = self._bursts[-1]
        usual_s = (last_s - first_s) / (len(self._bursts) - 1)
        return (at_last - at_first) / max(last_s - first_s, now_s - first_s - usual_s)

    def left_s(self, now_s: float, n_left: int) -> float | None:
        """Predict when `n_left` more will have ended."""
        per_s = self.per_s(now_s)
        return None if per_s is None else max(n_left / per_s - (now_s - self._bursts[-1][1]), 0.0)

    def words(self, now_s: float, n_left: int) -> str:
        """Say both, once they are known."""
        per_s, left_s = self.per_s(now_s), self.left_s(now_s, n_left)
        return "" if per_s is None or left_s is None else f"{per_s:.2g} a second, {duration(left_s)} left"


def duration(seconds: float) -> str:
    """Write a duration in the unit that suits it."""
    for limit_s, unit_s, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"
