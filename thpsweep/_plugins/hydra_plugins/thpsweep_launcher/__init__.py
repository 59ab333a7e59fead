"""Our launchers and sweeper for Hydra, which accepts them only where they are defined: below hydra_plugins.

This module is imported at every start and at shell completion, so that what takes time is imported where it is used.
"""

import dataclasses
import inspect
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn

if TYPE_CHECKING:
    from thpsweep.sweep.local.launcher import Arrival, Launch, Task, Terms
    from thpsweep.sweep.planning.forecast import Workers
    from thpsweep.sweep.planning.plan import Plan

    from ._points import Planner

MAX_ACTORS = 4096
"""More is taken for a slip of the hand."""

RAY_START_S = 6.0
"""Ray starts in 5 to 10 s."""


@dataclass
class RayLauncherConf:
    """Simulate in Ray actors."""

    _target_: str = "hydra_plugins.thpsweep_launcher.RayLauncher"
    # "local": a Ray of our own on this machine, gone when the sweep ends; else the address of a running cluster
    address: str = "local"
    # processes that simulate; null: one a CPU
    actors: int | None = None


@dataclass
class AutoLauncherConf:
    """Simulate in this process, or in Ray actors where that is faster."""

    _target_: str = "hydra_plugins.thpsweep_launcher.AutoLauncher"
    # "local": this machine, and Ray where it pays; else the address of a running cluster, which is then always used
    address: str = "local"
    # processes that simulate; null: one a CPU
    actors: int | None = None


@dataclass
class SerialLauncherConf:
    """Simulate in this process, one point after the other."""

    _target_: str = "hydra_plugins.thpsweep_launcher.SerialLauncher"


@dataclass
class GridSweeperConf:
    """Take every combination of the swept values."""

    _target_: str = "hydra_plugins.thpsweep_launcher.GridSweeper"
    # override key -> its values, as on the command line, which wins over them, or a list of them; for saved experiments
    params: dict[str, Any] = field(default_factory=dict)
    # breakeven or pareto: what hydra/sweeper chooses on the command line, for saved experiments, which Hydra lets choose
    # none; with that sweeper's options
    search: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class BreakevenSweeperConf:
    """Find where a metric changes sides along KEY=interval(LOW,HIGH), for each combination of the other swept values."""

    _target_: str = "hydra_plugins.thpsweep_launcher.BreakevenSweeper"
    # override key -> its values, as on the command line, which wins over them, or a list of them; for saved experiments
    params: dict[str, Any] = field(default_factory=dict)
    # what changes sides, and of which value; as shipped, where the net gain changes its sign
    metric: str = "tradeoff/net_cpu_ms"
    threshold: float = 0.0
    # values of the first sample, the ends included: two changes between neighbours of it can be missed
    samples: int = 9
    # the width at which to stop: a share of the value on a log scale, of the range on a linear one
    resolution: float = 0.05
    # a value whose interval spans the threshold gets four times the replicates, up to so many; null: stays as it is
    max_replicates: int | None = None


@dataclass
class ParetoSweeperConf:
    """Search intervals and choices for the points that nothing beats in all objectives; needs thpsweep[search]."""

    _target_: str = "hydra_plugins.thpsweep_launcher.ParetoSweeper"
    # override key -> its values, as on the command line, which wins over them, or a list of them; for saved experiments
    params: dict[str, Any] = field(default_factory=dict)
    # objectives: metrics of the results, by their means
    minimize: list[str] = field(default_factory=lambda: ["cost/cpu_ms", "cost/sharing_lost_bytes"])
    maximize: list[str] = field(default_factory=lambda: ["tradeoff/gain_cpu_ms"])
    # points to try; more of them later go on from there
    trials: int = 200
    # nsga2: a genetic algorithm, of so many points a generation; tpe: a model of what was good so far
    sampler: str = "nsga2"
    population: int = 20
    # of the sampler's random numbers: the same seed tries the same points
    seed: int = 1


class _PointLauncher(BasicLauncher):
    """Run jobs of thpsweep as points of one sweep; those of any other Hydra app one by one, as its basic launcher does."""

    def __init__(self) -> None:
        super().__init__()
        self._before: Plan | None = None  # of the batches that it has run

    def backend(self) -> "Launch":
        """Give the function that runs points."""
        raise NotImplementedError

    def workers(self) -> "Workers":
        """Say who that function would have simulate."""
        raise NotImplementedError

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs that a sweeper of another make composed, journal included."""
        from thpsweep.application import Application

        application, context, config = self.task_function, self.hydra_context, self.config
        if not isinstance(application, Application) or context is None or config is None:
            return self.launch_jobs(job_overrides, initial_job_idx)
        from . import _points

        batch = (job_overrides, initial_job_idx, self._before)
        returns, self._before = _points.launch(application, context, config, self.backend(), *batch)
        return returns

    def launch_jobs(self, job_overrides: Sequence[Sequence[str]], first: int) -> Sequence[JobReturn]:
        """Run the jobs of another app."""
        return super().launch(job_overrides, first)


class SerialLauncher(_PointLauncher):
    """hydra/launcher=serial"""

    def backend(self) -> "Launch":
        """Run points in this process."""
        from thpsweep.sweep.local.serial import run_serial

        return run_serial

    def workers(self) -> "Workers":
        """Name this process."""
        from thpsweep.sweep.planning.forecast import Workers

        return Workers("one process", 1)


class RayLauncher(_PointLauncher):
    """hydra/launcher=ray"""

    def __init__(self, address: str = "local", actors: int | None = None) -> None:
        super().__init__()
        self._address, self._actors = address, actors

    def backend(self) -> "Launch":
        """Run points in Ray actors."""
        from thpsweep.errors import OptionError

        if self._actors is not None and not 1 <= self._actors <= MAX_ACTORS:
            raise OptionError("hydra.launcher.actors", self._actors, f"null or 1..{MAX_ACTORS}")
        return self._run

    def workers(self) -> "Workers":
        """Count the actors; those of a cluster are not known before it is joined."""
        from thpsweep.linux.proc.cgroups import usable_cpus
        from thpsweep.sweep.planning.forecast import Workers
        from thpsweep.sweep.planning.limits import RAY_BYTES

        if self._address != "local" and self._actors is None:
            return Workers(f"the cluster {self._address}", None)
        n_actors = self._actors or usable_cpus()
        actors = f"{n_actors} Ray actors" if n_actors > 1 else "1 Ray actor"
        return Workers(actors, n_actors, start_s=RAY_START_S, overhead_bytes=RAY_BYTES)

    def launch_jobs(self, job_overrides: Sequence[Sequence[str]], first: int) -> Sequence[JobReturn]:
        """Run the jobs of another app in Ray's workers."""
        from . import _jobs

        assert self.hydra_context is not None and self.task_function is not None and self.config is not None
        app = (self.hydra_context, self.task_function, self.config)
        return _jobs.launch(*app, job_overrides, first, address=self._address, actors=self._actors)

    def _run(self, tasks: "Sequence[Task]", terms: "Terms") -> "Generator[Arrival, None, None]":
        from thpsweep.sweep.ray.pool import run_pool  # loads Ray, which is not needed where nothing is left to run

        return run_pool(tasks, terms, address=self._address, actors=self._actors)


class AutoLauncher(RayLauncher):
    """hydra/launcher=auto"""

    def workers(self) -> "Workers":
        """Count the actors, or the driver alone where it is faster."""
        there = super().workers()
        return dataclasses.replace(there, name=f"up to {there.name}", may_stay=True) if there.processes else there

    def _run(self, tasks: "Sequence[Task]", terms: "Terms") -> "Generator[Arrival, None, None]":
        from thpsweep.sweep.ray.auto import run_auto

        if self._address != "local":
            return super()._run(tasks, terms)
        return run_auto(tasks, terms, actors=self._actors)


class GridSweeper(BasicSweeper):
    """hydra/sweeper=grid: every combination, each composed and checked before the first one runs."""

    def __init__(
        self, params: dict[str, Any] | None = None, search: str | None = None, options: dict[str, Any] | None = None
    ) -> None:
        super().__init__(max_batch_size=None, params=params)
        self.task_function: Any = None
        self._search, self._options = search, options or {}

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        """Keep the task function, which says whose jobs these are."""
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        self.task_function = task_function

    def sweep(self, arguments: list[str]) -> Any:
        """Plan and run; with the task function of another app, do what Hydra's basic sweeper does."""
        from thpsweep.application import Application

        application, context, config, launcher = self.task_function, self.hydra_context, self.config, self.launcher
        if not isinstance(application, Application) or context is None or config is None or launcher is None:
            return super().sweep(arguments)
        from thpsweep.sweep.planning.where import as_override

        from . import _points
        from ._overrides import params_texts

        params = [as_override(text) for text in params_texts(self.params)]
        return _points.sweep(application, context, config, launcher, params, arguments, self.planner())

    def planner(self) -> "Planner":
        """Say what makes a plan of the overrides."""
        from . import _points, _searches

        return _searches.planner(self._search, self._options) if self._search is not None else _points.grid


class BreakevenSweeper(GridSweeper):
    """hydra/sweeper=breakeven: bisects one axis instead of gridding it."""

    def __init__(self, params: dict[str, Any] | None = None, **options: Any) -> None:
        super().__init__(params, "breakeven", options)


class ParetoSweeper(GridSweeper):
    """hydra/sweeper=pareto: several objectives at once, with Optuna."""

    def __init__(self, params: dict[str, Any] | None = None, **options: Any) -> None:
        super().__init__(params, "pareto", options)


SEARCHES: dict[str, type] = {"breakeven": BreakevenSweeperConf, "pareto": ParetoSweeperConf}
"""Kinds of search -> their options, with the defaults."""

_NODES: dict[str, type] = {
    "launcher/auto": AutoLauncherConf,
    "launcher/ray": RayLauncherConf,
    "launcher/serial": SerialLauncherConf,
    "sweeper/grid": GridSweeperConf,
    "sweeper/pareto": ParetoSweeperConf,
    "sweeper/breakeven": BreakevenSweeperConf,
}


def _store() -> None:
    """Register our options. Hydra 1.4 is told that ours replace those of hydra-ray-launcher, which has a `ray`, too."""
    store = ConfigStore.instance()
    intended: Any = {"replace": True} if "replace" in inspect.signature(store.store).parameters else {}
    for path, node in _NODES.items():
        kind, _, name = path.partition("/")
        store.store(group=f"hydra/{kind}", name=name, node=node, provider="thpsweep", **intended)


_store()
