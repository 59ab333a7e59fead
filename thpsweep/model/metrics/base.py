"""What a metric is computed from, and what it has to say."""

import abc
import dataclasses
import graphlib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import ClassVar

import numpy as np

from thpsweep.errors import OptionError
from thpsweep.model import checks
from thpsweep.model.accounting.integrals import CpuTime, Integrals
from thpsweep.model.accounting.locks import Locks
from thpsweep.model.accounting.series import Series
from thpsweep.model.accounting.translation import Forms, Law, Rates
from thpsweep.model.bits import Floats
from thpsweep.model.machines.profile import Profile
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family
from thpsweep.model.workloads.base import Workload


@dataclasses.dataclass(frozen=True)
class Counted:
    """What a run counted, and what has a price."""

    counts: Counts
    integrals: Integrals


@dataclasses.dataclass(frozen=True)
class Run(Counted):
    """One policy's run of all replicates, at its end."""

    family: Family
    series: Series
    locks: Locks
    root: Forms
    """What the root maps at the end, in which form."""
    cpu_time: CpuTime


@dataclasses.dataclass(frozen=True)
class Pair:
    """A policy's run and the baseline's on the same events, with what prices them."""

    policy: Run
    baseline: Run
    machine: Profile
    workload: Workload
    n_sharers: int
    duration_s: float
    tick_s: float
    shares_tables: bool = False
    payer: str = "khugepaged"
    """Whose CPU time collapsing took in the first place (triggers/base.py)."""

    @property
    def law(self) -> Law:
        """How address translation is priced: in both runs by what page tables take of the cache at the start."""
        return Law(self.machine, Rates.of(self.workload), self.n_sharers, self.baseline.integrals.small_uncached)


Metrics = dict[str, tuple[Floats, str]]
"""Name -> (value of each replicate, unit)."""


@dataclasses.dataclass
class Metric(abc.ABC):
    """Compute numbers of a policy's run beside its baseline; each has a name like `cost/cpu_ms`, and a unit."""

    after: ClassVar[tuple[str, ...]] = ()
    """Metrics (by the names of their files) whose numbers it reads. A user's own come after all that ship."""

    @abc.abstractmethod
    def compute(self, pair: Pair, known: Metrics) -> Metrics:
        """Give name -> (value of each replicate, unit); `known` has what was computed before.

        Shapes: values (n_replicates,). inf is never, nan is undefined.
        """

    def notes(self, pair: Pair, values: Mapping[str, Floats], replicates: slice) -> dict[str, str]:
        """Say in words what the numbers of one point do not: note_NAME -> a sentence. `replicates` are the point's."""
        del pair, values, replicates
        return {}


def in_order(metrics: Mapping[str, Metric], earlier: Collection[str] = ()) -> tuple[Metric, ...]:
    """Put each metric behind those that it reads; those of `earlier` come before all of them. Raises: OptionError."""
    known = {*metrics, *earlier}
    for name, metric in metrics.items():
        for other in metric.after:
            if other not in known:
                raise OptionError(f"metrics.{name}.after", other, "one of " + ", ".join(sorted(known - {name})))
    order = graphlib.TopologicalSorter({name: [*(metrics.keys() & metric.after)] for name, metric in metrics.items()})
    try:
        return tuple(metrics[name] for name in order.static_order())
    except graphlib.CycleError as error:
        name = error.args[1][0]
        raise OptionError(f"metrics.{name}.after", metrics[name].after, "metrics that do not read each other") from None


def computed(pair: Pair, metrics: Iterable[Metric], before: Mapping[str, tuple[Floats, str]] | None = None) -> Metrics:
    """Compute metrics, each with what those before it gave. Raises: ValueError for what is no metric."""
    known: Metrics = _Known(before or {})
    for metric in metrics:
        made = metric.compute(pair, known)
        _check(type(metric).__name__, made, known, pair.policy.family.n_replicates)
        known |= made
    return {name: value for name, value in known.items() if name not in (before or {})}


class _Known(dict[str, tuple[Floats, str]]):
    """Metrics that were computed before; names those most like one that was not."""

    def __missing__(self, name: str) -> tuple[Floats, str]:
        known = checks.nearest(name, self) if self else "none"
        raise ValueError(f"no metric {name!r} has been computed before; there are {known}: name its file in `after`")


NAME = re.compile(r"[a-z]\w*/[a-z]\w*")
"""A metric's name: MLflow and charts gather those with the same word before the slash."""


def _check(who: str, made: object, known: Metrics, n_replicates: int) -> None:
    """Refuse anything but new names, each with a number a replicate and a unit."""
    if not isinstance(made, dict) or not made:
        raise ValueError(f"{who}.compute() gave {made!r}; expected {{'cost/NAME': (value of each replicate, 'unit')}}")
    for name, value in made.items():
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ValueError(f"{who}.compute() named {name!r}; expected a name like cost/my_number")
        if name in known:
            raise ValueError(f"{who}.compute() named {name!r}; expected a name that no other metric has")
        if not isinstance(value, tuple) or len(value) != 2 or not isinstance(value[1], str) or not value[1]:
            raise ValueError(f"{who}.compute() gave {name}={value!r}; expected (value of each replicate, 'unit')")
        numbers = np.asarray(value[0])
        if numbers.shape != (n_replicates,) or numbers.dtype.kind not in "iuf":
            raise ValueError(
                f"{who}.compute() gave {name} as {numbers.dtype} of shape {numbers.shape}; "
                f"expected a number for each of {n_replicates} replicates"
            )
