"""Which assumption would overturn the answer: the same counts at other prices."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from thpsweep.answers.analysis.paired import Values
from thpsweep.answers.analysis.ranking import ALONE, Verdict, contestants, verdict
from thpsweep.answers.analysis.study import NET, Entry, Key, Study
from thpsweep.model.metrics.repricing import Recording

MOST = 2.0**20
"""Factors beyond this, or below its inverse, are no answer."""


@dataclasses.dataclass(frozen=True)
class Sensitivity:
    """What a price decides: in how many scenes another one wins when it is halved or doubled, and from which factor on
    the winner of one scene is another; none where no factor does it."""

    key: str
    value: float
    halved: int
    doubled: int
    flips: tuple[tuple[float, str], ...]
    swing_ms: tuple[float, float]
    """Net gain of that winner over the next best at half and at double the price. Units: ms."""


def sensitivities(
    study: Study, judged: Mapping[Key, Verdict], chosen: Key, *, sharing_kept: bool
) -> list[Sensitivity] | str:
    """Price every scene anew for each price that matters anywhere; or say why that may not be. The most telling first."""
    refused = [entry.priced for entry in study.entries if isinstance(entry.priced, str)]
    if refused:
        return str(refused[0])
    scenes = {scene: contestants(found, sharing_kept=sharing_kept) for scene, found in study.scenes().items()}
    machines = {
        entry.priced.machine.name: entry.priced.machine for entry in study.entries if not isinstance(entry.priced, str)
    }
    if len(machines) > 1:
        return f"the sweep has {len(machines)} machines: {', '.join(machines)}"
    found = [
        Sensitivity(
            key,
            value,
            _changed(scenes, judged, key, 0.5),
            _changed(scenes, judged, key, 2.0),
            tuple(_flips(scenes[chosen], key)),
            (
                _lead(scenes[chosen], judged[chosen].best, key, 0.5),
                _lead(scenes[chosen], judged[chosen].best, key, 2.0),
            ),
        )
        for key, value in _keys(study)
    ]
    return sorted(found, key=lambda one: (-(one.halved + one.doubled), _distance(one), one.key))


def _keys(study: Study) -> Iterator[tuple[str, float]]:
    """List the prices and rates that change any net gain of a competing entry."""
    competing = contestants(study.entries, sharing_kept=False)
    known = next((entry.priced.keys for entry in competing if isinstance(entry.priced, Recording)), {})
    for key, value in known.items():
        if any(_matters(entry, key) for entry in competing):
            yield key, value


def _matters(entry: Entry, key: str) -> bool:
    return not np.allclose(_net(key, 2.0)(entry), entry.values[NET], rtol=1e-9, atol=1e-9)


def _net(key: str, factor: float) -> Callable[[Entry], Values]:
    """Make what gives an entry's net gain with one assumption changed. Units: ms of CPU."""

    def net(entry: Entry) -> Values:
        priced = entry.priced
        assert isinstance(priced, Recording)
        return np.asarray(priced.cpu({key: priced.keys[key] * factor})[NET], np.float64)

    return net


def _means(entries: Sequence[Entry], key: str, factor: float) -> dict[str, float]:
    net = _net(key, factor)
    return {ALONE: 0.0} | {entry.contender: float(net(entry).mean()) for entry in entries}


def _lead(entries: Sequence[Entry], best: str, key: str, factor: float) -> float:
    means = _means(entries, key, factor)
    return means[best] - max((mean for name, mean in means.items() if name != best), default=0.0)


def _changed(scenes: Mapping[Key, list[Entry]], judged: Mapping[Key, Verdict], key: str, factor: float) -> int:
    """Count the scenes with a resolved winner where another one wins, and is resolved, at the other price."""
    count = 0
    for scene, entries in scenes.items():
        if judged[scene].resolved:
            other = verdict(scene, entries, _net(key, factor))
            count += other.resolved and other.best != judged[scene].best
    return count


def _flips(entries: Sequence[Entry], key: str) -> Iterator[tuple[float, str]]:
    """Find the nearest factor below 1, and above, at which another contestant becomes the best on average.

    Net gains are linear in a price, with a bend at most where an assumption is cut off at zero: so is each lead.
    """
    now = _means(entries, key, 1.0)
    best = max(now, key=lambda name: now[name])
    for other_factor in (0.0, 2.0):
        then = _means(entries, key, other_factor)
        leads = {name: (now[best] - now[name], then[best] - then[name]) for name in now if name != best}
        away = {name: before / (before - after) for name, (before, after) in leads.items() if after < before}
        if away:
            name = min(away, key=lambda name: away[name])
            factor = 1 - away[name] if other_factor == 0 else 1 + away[name]
            if 0 <= factor <= MOST:
                yield factor, name


def _distance(one: Sensitivity) -> float:
    return min((abs(math.log(max(factor, 1e-9))) for factor, _ in one.flips), default=math.inf)
