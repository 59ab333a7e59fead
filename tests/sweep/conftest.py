"""Points as the real config composes them, small enough to simulate in milliseconds."""

import copy
import functools
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from thpsweep.api import composed
from thpsweep.sweep.local.launcher import Task
from thpsweep.sweep.planning.check import check, planned_point
from thpsweep.sweep.planning.plan import Plan
from thpsweep.sweep.records.point import PlannedPoint
from thpsweep.sweep.records.schema import Point
from thpsweep.sweep.tracking.target import target

SMALL = ("workload=prefork", "workload.regions=1", "run.replicates=2", "run.duration_s=300", "policy=inplace")


@pytest.fixture(scope="session")
def make_point() -> Callable[..., Point]:
    """Compose a point from overrides, each once; no Hydra stays initialized, which suites of Hydra's own would not stand."""
    compose = functools.cache(lambda *overrides: composed((*SMALL, *overrides)))
    return lambda *overrides: copy.deepcopy(compose(*overrides))


@pytest.fixture(scope="session")
def degrees(make_point: Callable[..., Point]) -> Callable[..., list[Task]]:
    """Make one task a sharing degree."""
    point = make_point("sharing.degree=2")

    def tasks(*values: int) -> list[Task]:
        return [(str(value), check({**point, "sharing": {**point["sharing"], "degree": value}})) for value in values]

    return tasks


@pytest.fixture
def make_plan(tmp_path: Path) -> Callable[[Sequence[Task]], Plan]:
    """Plan given points below a temporary folder, without MLflow."""

    def plan(tasks: Sequence[Task]) -> Plan:
        points = tuple(_planned(task["point"]) for _, task in tasks)
        return Plan(tmp_path, "t", ("x=1",), points, "config: true\n", False, len(points), {}, target(tmp_path, None))

    def _planned(point: Point) -> PlannedPoint:
        params: dict[str, Any] = {"sharing.degree": point["sharing"]["degree"]}
        return planned_point(point, params)

    return plan


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an empty MLflow database, which takes seconds, once."""
    from thpsweep.sweep.tracking import client

    file = tmp_path_factory.mktemp("migrated") / "mlflow.db"
    client.create(file, target(file.parent, None).artefacts_uri)
    return file


@pytest.fixture
def root(tmp_path: Path, migrated: Path) -> Path:
    """Give a folder for sweeps that has its database already."""
    shutil.copy(migrated, tmp_path / "mlflow.db")
    return tmp_path
