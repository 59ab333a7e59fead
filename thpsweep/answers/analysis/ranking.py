"""Who wins a scene, and whether the replicates can tell."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from thpsweep.answers.analysis.paired import PairedEstimate, Values, difference, estimate
from thpsweep.answers.analysis.study import DEGREE, NET, Entry, Key, Study

ALONE = "not collapsing"
"""The contender that every other one has to beat: a net gain of zero, by definition."""

NOTHING_FITS = "nothing fits"
"""What wins where the machine has not even the memory for the processes as they are."""

NOBODY = (ALONE, NOTHING_FITS)
"""Winners that are no policy."""

UNRESOLVED = "not resolved"

Net = Callable[[Entry], Values]
"""The net gain of an entry, replicate by replicate. Units: ms of CPU."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The best of a scene; `tied` are those from which its paired difference is not resolved, best first."""

    scene: Key
    best: str
    entry: Entry | None
    net: PairedEstimate
    second: str | None
    margin: PairedEstimate | None
    tied: tuple[str, ...]

    @property
    def resolved(self) -> bool:
        """Whether the best beats every other one, not collapsing included."""
        return not self.tied


def recorded(entry: Entry) -> Values:
    """Give the net gain as it was recorded."""
    return entry.values[NET]


def contestants(entries: Sequence[Entry], *, sharing_kept: bool) -> list[Entry]:
    """Choose who competes: who fits in memory; with sharing_kept only those that leave no memory double."""
    return [entry for entry in entries if entry.ranked and entry.fits and (entry.keeps_sharing or not sharing_kept)]


def alone(entries: Sequence[Entry]) -> str:
    """Name what every policy of a scene has to beat: not collapsing, where that fits in memory."""
    return ALONE if all(entry.baseline_fits for entry in entries) else NOTHING_FITS


def verdict(scene: Key, entries: Sequence[Entry], net: Net = recorded, *, nobody: str = ALONE) -> Verdict:
    """Rank contestants by mean net gain, and test the best against each other by paired differences.

    Contestants that do exactly the same count as one, under the first one's name. nobody: alone() of the scene.
    """
    values = {nobody: np.zeros(net(entries[0]).size if entries else 2)}
    values |= {entry.contender: net(entry) for entry in entries}
    order = sorted(values, key=lambda name: -float(values[name].mean()))
    best = order[0]
    others = [name for name in order[1:] if not np.array_equal(values[name], values[best])]
    against = {name: difference(values[best], values[name]) for name in others}
    tied = tuple(name for name in others if against[name].sign <= 0)
    second = others[0] if others else None
    by_name = {entry.contender: entry for entry in entries}
    margin = against[second] if second else None
    return Verdict(scene, best, by_name.get(best), estimate(values[best]), second, margin, tied)


def verdicts(study: Study, *, sharing_kept: bool) -> dict[Key, Verdict]:
    """Judge every scene."""
    return {scene: judge(scene, entries, sharing_kept=sharing_kept) for scene, entries in study.scenes().items()}


def judge(scene: Key, entries: Sequence[Entry], *, sharing_kept: bool) -> Verdict:
    """Judge a scene by all its entries."""
    return verdict(scene, contestants(entries, sharing_kept=sharing_kept), nobody=alone(entries))


@dataclasses.dataclass(frozen=True)
class WinningStretch:
    """Neighbouring degrees with the same winner."""

    first: Any
    last: Any
    winner: str


def stretches(judged: Mapping[Key, Verdict]) -> dict[Key, list[WinningStretch]]:
    """Join neighbouring sharing degrees with the same outcome, for each combination of the other factors."""
    lines: dict[Key, list[WinningStretch]] = {}
    for scene, one in sorted(judged.items(), key=lambda item: dict(item[0]).get(DEGREE) or 0):
        rest = tuple(pair for pair in scene if pair[0] != DEGREE)
        degree, winner = dict(scene).get(DEGREE), one.best if one.resolved else UNRESOLVED
        line = lines.setdefault(rest, [])
        if line and line[-1].winner == winner:
            line[-1] = dataclasses.replace(line[-1], last=degree)
        else:
            line.append(WinningStretch(degree, degree, winner))
    return lines
