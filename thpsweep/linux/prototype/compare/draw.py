"""Families at random: who writes, forks, drops, reads, exits, holds a reference, before, during and after a collapse."""

import numpy as np

from thpsweep.linux.prototype.compare.steps import Collapse, Drop, Exit, Fork, Play, Read, Refer, Release, Step, Write
from thpsweep.units import HPAGE_PMD_NR

ATOMIC = ("switch", "switch_over", "switch_page", "switch_pmd", "inplace", "inplace_pmd")
MECHANISMS = (*ATOMIC, "incremental", "deferred")
_EVENTS_BEFORE, _EVENTS_AFTER = 8, 5
_MOST_FORKS = 64


def draw(seed: int) -> Play:
    """Draw one family and one mechanism; the same seed is the same play."""
    return _Draw(seed).play()


class _Draw:
    def __init__(self, seed: int) -> None:
        self.seed, self.random = seed, np.random.default_rng(np.random.SeedSequence([17, seed]))
        self.steps: list[Step] = []
        self.living, self.ever = [0], 1
        self.holds: set[int] = set()

    def play(self) -> Play:
        mechanism = MECHANISMS[self.seed % len(MECHANISMS)]
        self._fill()
        for _ in range(int(self.random.integers(1, self._forks() + 1))):
            self._fork()
        self._events(_EVENTS_BEFORE)
        if self.random.random() < 0.2:
            self._refused(mechanism)
        if mechanism == "incremental":
            self._slices()
        elif mechanism == "deferred":
            self._visits()
        else:
            self.steps.append(Collapse(self._caller(), mechanism))
        self._events(_EVENTS_AFTER)
        self._release()
        return Play(self.seed, mechanism, tuple(self.steps))

    def _forks(self) -> int:
        return int(self.random.choice([1, 2, 4, 8, _MOST_FORKS], p=[0.2, 0.25, 0.3, 0.2, 0.05]))

    def _fill(self) -> None:
        self.steps.append(Write(0, 0, HPAGE_PMD_NR))
        for _ in range(int(self.random.integers(0, 3))):
            self.steps.append(Drop(0, *self._pages(100)))

    def _refused(self, mechanism: str) -> None:
        """Try while somebody holds a reference on a page that the caller maps: refused, with nothing changed."""
        caller = self._caller()
        page = int(self.random.integers(HPAGE_PMD_NR))
        self.steps.append(Write(caller, page, page + 1))
        self._refer(caller, page)
        operation = {"incremental": "begin", "deferred": "visit"}.get(mechanism, mechanism)
        self.steps.append(Collapse(caller, operation))
        self._release()

    def _slices(self) -> None:
        size = int(self.random.choice([100, 300, 512, 1000]))
        self.steps.append(Collapse(self._caller(), "begin"))
        for _ in range(-(-(len(self.living) + 4) * HPAGE_PMD_NR // size)):
            self.steps.append(Collapse(self._caller(), "slice", size))
            self._late_reference()
            self._events(1)

    def _visits(self) -> None:
        self.steps.append(Collapse(self._caller(), "visit"))
        self._events(2)
        for process in self.random.permutation(self.living).tolist():
            if process in self.living:
                self.steps.append(Collapse(process, "visit"))
                self._late_reference()
                self._events(1)

    # ---- single events ----

    def _late_reference(self) -> None:
        """Now and then, take a reference while old and new pages are linked: it keeps one old page alive."""
        if self.random.random() < 0.1:
            self._refer(self._anyone(), int(self.random.integers(HPAGE_PMD_NR)))

    def _events(self, most: int) -> None:
        for _ in range(int(self.random.integers(0, most + 1))):
            kind = self.random.random()
            who = self._anyone()
            if kind < 0.45:
                self.steps.append(Write(who, *self._pages(20)))
            elif kind < 0.6:
                self.steps.append(Drop(who, *self._pages(10)))
            elif kind < 0.7:
                self.steps.append(Read(who, *self._pages(40)))
            elif kind < 0.85:
                self._fork()
            elif len(self.living) > 2:
                self._exit(who)

    def _fork(self) -> None:
        if self.ever < 2 * _MOST_FORKS - 1:
            self.steps.append(Fork(self._anyone(), self.ever))
            self.living.append(self.ever)
            self.ever += 1

    def _exit(self, who: int) -> None:
        if who not in self.holds:
            self.steps.append(Exit(who))
            self.living.remove(who)

    def _refer(self, who: int, page: int) -> None:
        if not self.holds:
            self.steps.append(Refer(who, page))
            self.holds.add(who)

    def _release(self) -> None:
        for who in sorted(self.holds):
            self.steps.append(Release(who))
        self.holds.clear()

    def _pages(self, most: int) -> tuple[int, int]:
        first = int(self.random.integers(HPAGE_PMD_NR))
        return first, min(HPAGE_PMD_NR, first + 1 + int(self.random.integers(most)))

    def _anyone(self) -> int:
        return int(self.random.choice(self.living))

    def _caller(self) -> int:
        """Give the process in whose name the collapse is asked for: mostly the oldest."""
        return self.living[0] if self.random.random() < 0.6 else self._anyone()
