"""Between Hydra's plugins and our engine: jobs become a plan, outcomes become job returns."""

import copy
import dataclasses
import math
import os
import sys
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, JobRuntime, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict

from thpsweep.application import Application
from thpsweep.config.plan import plan_of
from thpsweep.errors import OptionError, SweepError
from thpsweep.sweep.driver.drive import Driven
from thpsweep.sweep.local.attempt import as_error, outcome
from thpsweep.sweep.local.launcher import Arrival, Launch, Task, Terms
from thpsweep.sweep.planning.axes import Job, zips
from thpsweep.sweep.planning.forecast import Workers
from thpsweep.sweep.planning.plan import Plan
from thpsweep.sweep.records.point import content_id
from thpsweep.sweep.records.run_record import error_line
from thpsweep.sweep.records.schema import Outcome
from thpsweep.sweep.search.objective import refuse_unknown

from ._compose import Composer, without_hydra
from ._overrides import dropped, expanded, jobs, label, of_some_points, overrides_in_grid, replaced, shortened


class PointFailed(Exception):
    """A point failed; the return of its job raises this, with the point's own error in words."""


Planner = Callable[[DictConfig, Sequence[Override], Composer], Plan]
"""Makes a plan of a config and the overrides on top of it, some of them swept."""


def grid(master: DictConfig, overrides: Sequence[Override], composer: Composer) -> Plan:
    """Plan every combination of the swept values, of each of several grids where there are."""
    sweep: Any = OmegaConf.to_container(master.sweep)
    zipped = zips(sweep["zip"])
    every: list[Job] = []
    for texts in overrides_in_grid(sweep["grids"]):
        own = [*overrides, *composer.parsed(texts)]
        swept = {one.get_key_element().lstrip("+") for one in own if one.is_sweep_override()}
        # What another grid sweeps need not advance together here.
        every += jobs(own, [keys for keys in zipped if not sweep["grids"] or swept.intersection(keys)])
    return _plan(master, expanded(every, composer.parsed(sweep["if_exists"]), composer), composer)


def sweep(
    application: Application,
    context: HydraContext,
    master: DictConfig,
    launcher: Launcher,
    params: Sequence[str],
    arguments: Sequence[str],
    planner: Planner = grid,
) -> Driven | None:
    """Plan what the sweeper makes of the swept values and run the plan, or only show it, with whatever launcher there is.

    `params` are the axes of a saved experiment, over which `arguments` win.
    """
    loader = context.config_loader
    parser = OverridesParser.create(config_loader=loader)
    plain, some = of_some_points(params)
    saved, typed = parser.parse_overrides(plain), parser.parse_overrides(list(arguments))
    for line in replaced(typed):
        print(f"thpsweep: {line}", file=sys.stderr)
    master = _with_sweep_keys(master, [*saved, *typed])
    parsed = [*dropped(saved, master.sweep.drop), *typed]
    OmegaConf.update(master, "sweep.if_exists", [*some, *master.sweep.if_exists])
    application.expect(tracked=bool(master.sweep.track))
    plan = planner(master, parsed, Composer(loader, master))
    if plan.search is not None and not hasattr(launcher, "backend"):
        raise SweepError(
            f"hydra/launcher: expected for a search are auto, serial and ray, not {type(launcher).__name__}"
        )
    backend = launcher.backend() if hasattr(launcher, "backend") else _through(launcher, plan)
    if application.previews:
        workers = launcher.workers() if hasattr(launcher, "workers") else Workers(type(launcher).__name__, 1)
        application.preview(plan, workers)
        return None
    return application.drive(plan, backend)


def launch(
    application: Application,
    context: HydraContext,
    master: DictConfig,
    backend: Launch,
    job_overrides: Sequence[Sequence[str]],
    first: int,
    before: Plan | None = None,
) -> tuple[list[JobReturn], Plan]:
    """Run a batch of jobs that another sweeper composed; give the plan, too, which is `before` to its next batch.

    All batches of a sweeper are one sweep. The first job of this one has the number `first`.
    """
    application.refuse_to_run()
    for key in ("zip", "where", "grids", "if_exists", "drop"):
        if master.sweep[key]:
            raise OptionError(f"sweep.{key}", master.sweep[key], "nothing where hydra/sweeper is another one than grid")
    composer = Composer(context.config_loader, master)
    batch = [Job(tuple(overrides), _varied_in(overrides)) for overrides in job_overrides]
    plan = _following(_plan(master, batch, composer), before)
    returned = _returned(application, master.sweep.objective, master.sweep.objective_never, plan)
    results = application.drive(plan, backend).results
    Path(master.hydra.sweep.dir).mkdir(
        parents=True, exist_ok=True
    )  # as of Hydra's launchers: sweepers leave files there
    returns = [
        _job_return(composer, job.overrides, number, results.get(plan.id_of[job.overrides]), returned)
        for number, job in enumerate(batch, start=first)
    ]
    return returns, plan


def _following(plan: Plan, before: Plan | None) -> Plan:
    """Let a batch go on where the last one ended: in the same sweep, which has the points of both."""
    if before is None:  # what comes after this batch is the command's, not that of a grid of the same points
        identity = content_id({"overrides": plan.overrides, "points": sorted(point.id for point in plan.points)})
        return dataclasses.replace(plan, known_as=identity)
    points = {point.id: point for point in (*before.points, *plan.points)}
    return dataclasses.replace(
        plan,
        known_as=before.known_as,
        points=tuple(points.values()),
        id_of={**before.id_of, **plan.id_of},
        n_jobs=before.n_jobs + plan.n_jobs,
    )


Returned = Callable[[Any, Sequence[str]], Any]
"""Makes what a sweeper gets for the result of a job, which has these overrides."""


def _returned(application: Application, objective: Any, never: float | None, plan: Plan) -> Returned:
    """Tell all of a result, or means of metrics. Raises: OptionError for an unknown one."""
    if objective is None:
        return lambda result, overrides: result
    metrics = [objective] if isinstance(objective, str) else list(objective)
    for metric in metrics:
        refuse_unknown("sweep.objective", metric, plan.points[0].point)

    def means(result: Any, overrides: Sequence[str]) -> Any:
        found = [mean_of(result, metric, never, overrides) for metric in metrics]
        application.told_no_number |= not all(map(math.isfinite, found))
        return found[0] if isinstance(objective, str) else found

    return means


def mean_of(result: Any, metric: str, never: float | None, overrides: Sequence[str]) -> float:
    """Give a metric's mean; where that is not finite, what counts instead, or say at which job it is so."""
    value = float(result["metrics"][metric]["mean"])
    if math.isfinite(value) or never is not None:
        return value if math.isfinite(value) else never or 0.0
    where = shortened(" ".join(overrides))
    print(f"thpsweep: {metric} is {value} at {where}; sweep.objective_never=NUMBER counts instead", file=sys.stderr)
    return value


def _with_sweep_keys(master: DictConfig, overrides: Sequence[Override]) -> DictConfig:
    """Apply keys of `sweep` that the parameters of a saved experiment set; of the others Hydra has taken care."""
    master = copy.deepcopy(master)
    for override in overrides:
        if override.key_or_group.startswith("sweep.") and not override.is_sweep_override():
            OmegaConf.update(master, override.key_or_group, override.value(), merge=True)
    return master


def _plan(master: DictConfig, batch: Sequence[Job], composer: Composer) -> Plan:
    return plan_of(master, master.hydra, batch, composer.point)


def _varied_in(overrides: Sequence[str]) -> dict[str, str]:
    pairs = (override.partition("=") for override in overrides)
    return {label(key): text for key, _, text in pairs if not key.startswith("hydra")}


def _through(launcher: Launcher, plan: Plan) -> Launch:
    """Make a launcher of another make run points: it runs our task function on the same overrides."""
    overrides_of = {point.id: list(point.overrides) for point in plan.points}

    def run(tasks: Sequence[Task], terms: Terms) -> Generator[Arrival, None, None]:
        returns = launcher.launch([overrides_of[key] for key, _ in tasks], initial_job_idx=0)
        yield [(key, _outcome_of(returned)) for (key, _), returned in zip(tasks, returns, strict=True)]

    return run


def _outcome_of(returned: JobReturn) -> Outcome:
    if returned.status == JobStatus.COMPLETED:
        return outcome("done", result=returned.return_value)
    problem = returned._return_value  # the property raises it
    return outcome("failed", error=as_error(problem))


def _job_return(
    composer: Composer, overrides: Sequence[str], number: int, result: Any, returned_of: Returned
) -> JobReturn:
    """Tell Hydra how a job ended. Nobody knows of a job that was not reached: its status stays UNKNOWN."""
    config = composer.with_hydra(overrides)
    with open_dict(config.hydra):
        config.hydra.job.id, config.hydra.job.num = str(number), number
    returned = JobReturn(
        overrides=list(overrides),
        cfg=without_hydra(config),
        hydra_cfg=OmegaConf.masked_copy(config, "hydra"),
        working_dir=os.getcwd(),
        task_name=JobRuntime.instance().get("name"),
    )
    if result is not None:
        done = result["state"] == "done"
        returned.status = JobStatus.COMPLETED if done else JobStatus.FAILED
        returned.return_value = returned_of(result["result"], overrides) if done else PointFailed(error_line(result))
    return returned
