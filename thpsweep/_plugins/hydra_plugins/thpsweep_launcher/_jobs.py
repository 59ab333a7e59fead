"""Run the jobs of any Hydra app in Ray's workers, as Hydra's basic launcher runs them in its own process."""

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, configure_log, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict


def launch(
    context: HydraContext,
    task_function: TaskFunction,
    master: DictConfig,
    job_overrides: Sequence[Sequence[str]],
    first: int,
    *,
    address: str,
    actors: int | None,
) -> list[JobReturn]:
    """Compose each job here and run it there. The first job has the number `first`."""
    from thpsweep.sweep.ray.pool import call_each

    setup_globals()
    configure_log(master.hydra.hydra_logging, master.hydra.verbose)
    Path(str(master.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
    calls = [
        functools.partial(_run, context, task_function, _config(context, master, overrides, number), _surroundings())
        for number, overrides in enumerate(job_overrides, start=first)
    ]
    returned: list[JobReturn] = call_each(calls, address=address, actors=actors)
    return returned


def _config(context: HydraContext, master: DictConfig, overrides: Sequence[str], number: int) -> DictConfig:
    config = context.config_loader.load_sweep_config(master, list(overrides))
    with open_dict(config):
        config.hydra.job.id, config.hydra.job.num = str(number), number
    return config


def _surroundings() -> tuple[str, Any]:
    """Take what a job of the basic launcher finds in its process: the folder and Hydra's singletons."""
    return os.getcwd(), Singleton.get_state()


def _run(
    context: HydraContext, task_function: TaskFunction, config: DictConfig, surroundings: tuple[str, Any]
) -> JobReturn:
    folder, singletons = surroundings
    os.chdir(folder)
    setup_globals()
    Singleton.set_state(singletons)
    return run_job(
        hydra_context=context,
        task_function=task_function,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )
