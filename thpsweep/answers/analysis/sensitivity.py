"""Which price or rate would overturn the answer: each moved over its range alone, and all of them drawn at once."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from thpsweep.answers.analysis.inputs import Inputs
from thpsweep.answers.analysis.paired import Values
from thpsweep.answers.analysis.ranges import Range
from thpsweep.answers.analysis.ranking import ALONE, NOTHING_FITS, Verdict, contestants
from thpsweep.answers.analysis.study import NET, Entry, Key
from thpsweep.answers.analysis.uncertainty import Draws, Odds
from thpsweep.model.metrics.intervals import intervals
from thpsweep.model.metrics.repricing import Recording

N_STEPS = 33
"""Values of a range, its ends among them, between which a turn is looked for."""


@dataclasses.dataclass(frozen=True)
class Sensitivity:
    """What a key decides. at_low, at_high: scenes where another contender wins, and the difference is resolved, with this
    key alone at an end of its range. The rest is of one scene: turns, the values nearest to the simulated one at which
    another one leads; lead_ms of the winner at both ends; correlation of the key with this lead in the joint draws, by
    ranks. decisive: scenes in which no key's correlation is stronger. Units: ms."""

    range: Range
    at_low: int
    at_high: int
    turns: tuple[tuple[float, str], ...]
    lead_ms: tuple[float, float]
    correlation: float
    decisive: int

    @property
    def key(self) -> str:
        """The full key."""
        return self.range.key

    @property
    def changed(self) -> int:
        """In how many scenes one end or the other has another winner."""
        return self.at_low + self.at_high


def sensitivities(
    found: Inputs, judged: Mapping[Key, Verdict], drawn: Draws, known: Mapping[Key, Odds], chosen: Key
) -> list[Sensitivity]:
    """Try each key, the most telling first; nothing where the chosen scene cannot be priced anew, or nothing fits there."""
    if chosen not in found.scenes or judged[chosen].best == NOTHING_FITS:
        return []
    changed = sum(_changed(judged[scene], found, entries) for scene, entries in _competing(found).items())
    counted = np.asarray(changed if found.scenes else np.zeros((len(found.keys), 2)), np.int64)
    ranges = found.of(found.scenes[chosen][0])
    strengths = {
        scene: _correlations(drawn, ranges, one.lead(_best(judged[scene], one))) for scene, one in known.items()
    }
    firsts = [int(np.argmax(np.abs(values))) for values in strengths.values() if values.any()]
    entries = _competing(found)[chosen]
    leads = _moved(found, entries, np.array([0.0, 1.0]))
    made = [
        Sensitivity(
            ranges[key],
            int(counted[at, 0]),
            int(counted[at, 1]),
            tuple(_turns(ranges[key], found, entries)),
            _lead(leads, at, _best(judged[chosen], known[chosen])),
            float(strengths[chosen][at]),
            firsts.count(at),
        )
        for at, key in enumerate(found.keys)
    ]
    return sorted(made, key=lambda one: (-one.changed, -abs(one.correlation), one.key))


def _competing(found: Inputs) -> dict[Key, list[Entry]]:
    return {scene: contestants(entries, sharing_kept=True) for scene, entries in found.scenes.items()}


def _best(judged: Verdict, known: Odds) -> str:
    """Name who won as simulated; where that one cannot be priced anew, who wins most draws."""
    return judged.best if judged.best in known.means else known.favourite


def _moved(found: Inputs, entries: Sequence[Entry], shares: Values, keys: Sequence[str] = ()) -> dict[str, Values]:
    """Price contestants with one key after the other at so large a share of its range, all others as simulated.

    Shapes: shares (n,) -> each (n_keys, n, n_replicates).
    """
    moving = list(keys or found.keys)
    shape = (len(moving), shares.size)
    nets: dict[str, Values] = {}
    for entry in entries:
        assert isinstance(entry.priced, Recording)
        ranges, values = found.of(entry), {}
        for at, key in enumerate(moving):
            laid = np.full(shape, ranges[key].value)
            laid[at] = ranges[key].at(shares)
            values[key] = laid.reshape(-1, 1)
        priced = np.asarray(entry.priced.cpu(values)[NET], np.float64)
        laid_out = np.broadcast_to(priced, (shape[0] * shape[1], entry.values[NET].size))
        nets[entry.contender] = laid_out.reshape(*shape, -1)
    n_replicates = next((values.shape[2] for values in nets.values()), 1)
    return {ALONE: np.zeros((*shape, n_replicates)), **nets}


def _changed(judged: Verdict, found: Inputs, entries: Sequence[Entry]) -> Values:
    """Tell for each key and end whether another contestant beats the winner there. Shapes: -> (n_keys, 2)."""
    nets = _moved(found, entries, np.array([0.0, 1.0]))
    changed = np.zeros((len(found.keys), 2))
    if not judged.resolved or judged.best not in nets:
        return changed
    names, stacked = list(nets), np.stack(list(nets.values()))
    best = stacked.mean(axis=3).argmax(axis=0)
    for key, end in np.argwhere(best != names.index(judged.best)):
        ahead = stacked[best[key, end], key, end] - nets[judged.best][key, end]
        changed[key, end] = intervals(ahead[None])[0]["low"] > 0
    return changed


def _lead(nets: Mapping[str, Values], at: int, best: str) -> tuple[float, float]:
    means = {name: values[at].mean(axis=1) for name, values in nets.items()}
    others = np.max([values for name, values in means.items() if name != best] or [np.zeros(2)], axis=0)
    low, high = means[best] - others
    return float(low), float(high)


def _turns(one: Range, found: Inputs, entries: Sequence[Entry]) -> Iterator[tuple[float, str]]:
    """Find the values below and above the simulated one, nearest to it, at which another contestant leads on average.

    Between two steps leads are taken as linear, which they are in a price.
    """
    shares = np.linspace(0.0, 1.0, N_STEPS)
    steps = np.append(one.at(shares), one.value)
    nets = _moved(found, entries, np.append(shares, _share(one)), [one.key])
    means = {name: values[0].mean(axis=1) for name, values in nets.items()}
    best = max(means, key=lambda name: means[name][-1])
    for way in (-1, 1):
        beyond = sorted(
            (at for at in range(N_STEPS) if (steps[at] - one.value) * way > 0), key=lambda at: way * steps[at]
        )
        before = N_STEPS
        for at in beyond:
            other = max(means, key=lambda name: means[name][at])
            if means[other][at] > means[best][at]:
                ahead, behind = (means[best][step] - means[other][step] for step in (before, at))
                part = 1.0 if one.levels else ahead / (ahead - behind)
                yield float(steps[before] + (steps[at] - steps[before]) * part), other
                break
            before = at


def _share(one: Range) -> float:
    """Give which share of the range lies below the simulated value."""
    if one.low == one.high:
        return 0.0
    if one.levels:
        return (one.levels.index(one.value) + 0.5) / len(one.levels)
    if one.low <= 0:
        return (one.value - one.low) / (one.high - one.low)
    return math.log(one.value / one.low) / math.log(one.high / one.low)


def _correlations(drawn: Draws, ranges: Mapping[str, Range], lead: Values) -> Values:
    """Give Spearman's rank correlation of each key with a lead; 0 where one of them does not vary. Shapes: -> (n_keys,)."""
    if np.ptp(lead) == 0:
        return np.zeros(len(drawn.keys))
    ranks, of_lead = _ranks(drawn.shares), _ranks(lead[:, None])[:, 0]
    varies = np.array([ranges[key].low < ranges[key].high and not ranges[key].levels for key in drawn.keys])
    return np.asarray(np.where(varies, ranks.T @ of_lead / len(lead), 0.0))


def _ranks(values: Values) -> Values:
    """Give ranks with mean 0 and variance 1, column by column. Shapes: (n, k) -> (n, k)."""
    ranks = values.argsort(axis=0).argsort(axis=0).astype(np.float64)
    centred = ranks - ranks.mean(axis=0)
    return np.asarray(centred / centred.std(axis=0))
