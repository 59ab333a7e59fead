"""How sure a winner is when every price and rate may be off at once: joint draws, priced from the recorded counts."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from thpsweep.answers.analysis.inputs import Inputs
from thpsweep.answers.analysis.paired import Values
from thpsweep.answers.analysis.ranges import Range
from thpsweep.answers.analysis.ranking import alone, contestants
from thpsweep.answers.analysis.study import BREAK_EVEN, NET, Entry, Key
from thpsweep.model.metrics.repricing import Recording

N_DRAWS = 1024
"""A power of two, as Sobol' sequences are balanced at."""

SEED = 15
ENDS = (2.5, 50.0, 97.5)


@dataclasses.dataclass(frozen=True)
class Draws:
    """Where in its range each key lies in each draw; the same for all points. Shapes: shares (n_draws, n_keys)."""

    keys: tuple[str, ...]
    shares: Values

    def values(self, ranges: Mapping[str, Range]) -> dict[str, Values]:
        """Give the value of each key in each draw; a key that is one of a few values stays what it is: each of these is a
        CPU of its own, of which no share of the draws could be right. Shapes: -> each (n_draws, 1)."""
        return {
            key: np.full((len(self.shares), 1), one.value) if one.levels else one.at(self.shares[:, [at]])
            for at, (key, one) in enumerate((key, ranges[key]) for key in self.keys)
        }


@dataclasses.dataclass(frozen=True)
class Span:
    """The 2.5th, 50th and 97.5th percentile over draws and replicates."""

    low: float
    median: float
    high: float


@dataclasses.dataclass(frozen=True)
class Odds:
    """What the draws say of a scene. chances: of each contender to have the largest net gain, `alone()` among them, largest
    first. A break-even is inf where no share of cycles in page walks pays. Units: net in ms; break_even as a share of 1."""

    scene: Key
    chances: Mapping[str, float]
    net: Mapping[str, Span]
    break_even: Mapping[str, Span]
    means: Mapping[str, Values]
    """Net gain of each contender in each draw, mean over replicates. Shapes: (n_draws,)."""

    @property
    def favourite(self) -> str:
        """Who wins most often."""
        return next(iter(self.chances))

    def lead(self, best: str) -> Values:
        """Give by how much one is ahead of the best other in each draw; it may be behind; 0 where there is no other.

        Shapes: -> (n_draws,).
        """
        others = [values for name, values in self.means.items() if name != best] or [self.means[best]]
        return np.asarray(self.means[best] - np.max(others, axis=0))


def draws(keys: Sequence[str], n_draws: int = N_DRAWS) -> Draws:
    """Spread draws evenly over all keys at once, independent of each other; always the same.

    Source: Owen, doi:10.1214/aos/1031594731 (scrambled nets); Sobol', doi:10.1016/0041-5553(67)90144-9.
    """
    from scipy.stats import qmc  # takes half a second

    sequence = qmc.Sobol(max(1, len(keys)), scramble=True, seed=SEED)
    shares = sequence.random_base2(int(np.ceil(np.log2(n_draws))))
    return Draws(tuple(keys), np.asarray(shares[:, : len(keys)], np.float64))


def odds(found: Inputs, drawn: Draws, *, sharing_kept: bool) -> dict[Key, Odds]:
    """Price every scene in every draw."""
    return {scene: scene_odds(scene, found, drawn, sharing_kept=sharing_kept) for scene in found.scenes}


def scene_odds(
    scene: Key, found: Inputs, drawn: Draws, *, sharing_kept: bool, given: Mapping[str, float] | None = None
) -> Odds:
    """Price the contestants of a scene, some keys being as given. Who does exactly what another one does counts under the
    first one's name."""
    every, n = found.scenes[scene], len(drawn.shares)
    fixed = {key: np.full((n, 1), value) for key, value in (given or {}).items()}
    entries, nobody = contestants(every, sharing_kept=sharing_kept), alone(every)
    cpu = {entry.contender: _priced(entry, drawn.values(found.of(entry)) | fixed, n) for entry in entries}
    nets = {name: values[NET] for name, values in cpu.items()}
    shape = next(iter(nets.values())).shape if nets else (n, 1)
    wins = winners({nobody: np.zeros(shape)} | nets)
    return Odds(
        scene,
        wins,
        {name: span(values) for name, values in nets.items()},
        {name: span(values[BREAK_EVEN]) for name, values in cpu.items() if BREAK_EVEN in values},
        {nobody: np.zeros(shape[0])} | {name: values.mean(axis=1) for name, values in nets.items()},
    )


def _priced(entry: Entry, values: Mapping[str, Values], n_draws: int) -> dict[str, Values]:
    """Give net gain, and break-even where there is one. Shapes: -> each (n_draws, n_replicates)."""
    assert isinstance(entry.priced, Recording)
    cpu = entry.priced.cpu(values)
    shape = (n_draws, entry.values[NET].size)
    return {
        name: np.broadcast_to(np.asarray(cpu[name], np.float64), shape) for name in (NET, BREAK_EVEN) if name in cpu
    }


def winners(nets: Mapping[str, Values]) -> dict[str, float]:
    """Give how often each has the largest net gain, replicate by replicate; the first of equals has it.

    Shapes: each (n_draws, n_replicates).
    """
    best = np.argmax(np.stack(list(nets.values())), axis=0)
    share = np.bincount(best.ravel(), minlength=len(nets)) / best.size
    return dict(sorted(zip(nets, share.tolist(), strict=True), key=lambda item: -item[1]))


def span(values: Values) -> Span:
    """Give the ends between which 95 % of the values lie, and the one in the middle; what is undefined is left out.

    Percentiles are values that occur, so that inf (never) may be one.
    """
    kept = values[~np.isnan(values)]
    if not kept.size:
        return Span(np.nan, np.nan, np.nan)
    low, median, high = np.percentile(kept, ENDS, method="inverted_cdf")
    return Span(float(low), float(median), float(high))
