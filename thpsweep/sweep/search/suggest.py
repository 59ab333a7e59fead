"""Ask Optuna for values, and tell it what came of them; the only importer of Optuna."""

import contextlib
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from thpsweep.errors import SweepError

SAMPLERS = ("nsga2", "tpe")

Values = dict[str, Any]
"""Key -> a number, or one of the choices of that key."""

Dimension = Mapping[str, Any]
"""Where a key may be, in JSON types: `choices`, or low, high, log and whole."""


class Suggestions:
    """A study in memory. Asked and given the same in the same order, with the same seed, it suggests the same."""

    def __init__(
        self, dimensions: Mapping[str, Dimension], directions: Sequence[str], sampler: str, seed: int, population: int
    ) -> None:
        self._optuna = installed()
        with _quiet():
            self._study = self._optuna.create_study(
                directions=directions, sampler=self._sampler(sampler, seed, population)
            )
        self._distributions = {key: self._distribution(dimension) for key, dimension in dimensions.items()}
        self._trials: dict[int, Any] = {}

    def ask(self) -> tuple[int, Values]:
        """Suggest values; they have a number, by which their results are given."""
        with _quiet():
            trial = self._study.ask(self._distributions)
        self._trials[trial.number] = trial
        return trial.number, dict(trial.params)

    def repeat(self, values: Values) -> int:
        """Suggest again what was suggested; where Optuna would suggest something else now, take that for its word."""
        number, suggested = self.ask()
        if suggested == values:
            return number
        self.tell(number, None)
        self._study.enqueue_trial(values)
        return self.ask()[0]

    def tell(self, number: int, objectives: Sequence[float] | None) -> None:
        """Tell what came of values; None, or what is not finite: nothing."""
        trial = self._trials.pop(number)
        with _quiet():
            if objectives is None or not all(map(math.isfinite, objectives)):
                self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
            else:
                self._study.tell(trial, list(objectives))

    def _sampler(self, name: str, seed: int, population: int) -> Any:
        if name == "tpe":
            return self._optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        return self._optuna.samplers.NSGAIISampler(seed=seed, population_size=population)

    def _distribution(self, dimension: Dimension) -> Any:
        kinds = self._optuna.distributions
        if "choices" in dimension:
            return kinds.CategoricalDistribution(dimension["choices"])
        kind = kinds.IntDistribution if dimension["whole"] else kinds.FloatDistribution
        return kind(dimension["low"], dimension["high"], log=dimension["log"])


def installed() -> Any:
    """Import Optuna. Raises: SweepError where it is not installed."""
    try:
        import optuna
    except ImportError as problem:
        needed = "needs Optuna, which is not installed"
        raise SweepError(f"hydra/sweeper=pareto: {needed}; expected: pip install 'thpsweep[search]'") from problem
    return optuna


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna from telling of every trial, and of what it calls experimental."""
    logging = installed().logging
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
