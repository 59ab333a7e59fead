"""Plan the sweep that a composed config asks for."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra.conf import HydraConf
from omegaconf import DictConfig, OmegaConf

from thpsweep.config.schema import PARTS, SweepConfig
from thpsweep.sweep.planning.axes import Job
from thpsweep.sweep.planning.limits import PointLimits
from thpsweep.sweep.planning.plan import Plan, planned
from thpsweep.sweep.records.schema import Point
from thpsweep.sweep.tracking import secrets
from thpsweep.sweep.tracking.labels import check_names
from thpsweep.sweep.tracking.target import target


def plan_of(
    config: DictConfig, hydra: HydraConf, jobs: Sequence[Job], compose: Callable[[Sequence[str]], Point]
) -> Plan:
    """Plan the sweep that a composed config and Hydra's own node of it ask for.

    Raises: ThpsweepError if any of its points cannot run.
    """
    sweep = OmegaConf.to_object(config.sweep)
    assert isinstance(sweep, SweepConfig)
    raw: Any = OmegaConf.to_container(config.sweep, resolve=False)
    literal = secrets.are_typed(raw["tracking_uri"] or "")
    root = Path(sweep.dir).expanduser().absolute()
    where = target(root, sweep.tracking_uri, literal=literal)
    experiment = hydra.runtime.choices.get("experiment")
    made = planned(jobs, compose, sweep.where)
    check_names(sweep.labels, (point.record(index) for index, point in enumerate(made.points)))
    typed: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)  # they are recorded: ${oc.env:...} stays
    return Plan(
        root=root,
        name=sweep.name or (experiment or "sweep").replace("/", "_"),
        overrides=tuple(map(str, typed)),
        points=made.points,
        config=OmegaConf.to_yaml(OmegaConf.masked_copy(config, list(PARTS))),
        tracked=sweep.track,
        n_jobs=len(jobs),
        id_of=made.id_of,
        n_filtered=made.n_filtered,
        target=where,
        limits=PointLimits(sweep.deadline_s, sweep.memory_bytes),
        named=sweep.name is not None,
        force=sweep.force,
        labels=sweep.labels,
    )
