"""Turn overrides into points, all of them checked before the first one runs."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from thpsweep.errors import CaptureError, SweepError
from thpsweep.model import registry
from thpsweep.model.simulate import check
from thpsweep.sweep.point import Point, content_id, point_id


@dataclasses.dataclass(frozen=True)
class Job:
    """One combination of overrides, before anybody knows what it means."""

    overrides: tuple[str, ...]
    varied: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class PlannedPoint:
    """A checked point of a sweep. `params` is what tells it from the others, for people."""

    id: str
    point: Point
    params: Mapping[str, Any]
    overrides: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Plan:
    """All points of a sweep, each once, in the order of the overrides."""

    root: Path
    name: str
    overrides: tuple[str, ...]
    points: tuple[PlannedPoint, ...]
    config: str
    tracked: bool
    n_jobs: int
    id_of: Mapping[tuple[str, ...], str]

    @property
    def id(self) -> str:
        """Identify the sweep by its points, so that the same command finds what it has done already."""
        return content_id(sorted(point.id for point in self.points))

    @property
    def duplicates(self) -> int:
        """Combinations of overrides whose point was there already."""
        return self.n_jobs - len(self.points)

    @property
    def directory(self) -> Path:
        """Where the sweep's journal and artefacts are."""
        return self.root / f"{self.name}-{self.id[:12]}"


def planned(
    jobs: Iterable[Job], compose: Callable[[Sequence[str]], Point]
) -> tuple[tuple[PlannedPoint, ...], dict[tuple[str, ...], str]]:
    """Compose and check every job; also give the point's id of each job's overrides, as two jobs may make one point.

    Raises: ThpsweepError for the first point that cannot run.
    """
    points: dict[str, PlannedPoint] = {}
    id_of: dict[tuple[str, ...], str] = {}
    for job in jobs:
        point = compose(job.overrides)
        with _naming_the_file(point):
            identity = registry.build("workload", point["workload"]).identity()
            point = {**point, "workload": {**point["workload"], **identity}}
            key = id_of[job.overrides] = point_id(point)
            if key not in points:
                check(point)
        points.setdefault(key, PlannedPoint(key, point, _params(point, job.varied), job.overrides))
    if not points:
        raise SweepError("the overrides leave no point to run")
    return tuple(points.values()), id_of


@contextlib.contextmanager
def _naming_the_file(point: Point) -> Iterator[None]:
    """Add to what is wrong with a captured file the option that names it."""
    try:
        yield
    except CaptureError as error:
        option = f"workload.path={point['workload'].get('path')!r}"
        raise CaptureError(f"{option}: allowed is a file that `thpsweep capture` wrote; {error}") from error


def _params(point: Point, varied: Mapping[str, Any]) -> dict[str, Any]:
    """Name what a person asks for first, then all that differs between the points, as the point has it."""
    params = {"policy": point["policy"]["name"], "workload": point["workload"]["kind"]}
    if "degree" in point["sharing"]:
        params["sharing.degree"] = point["sharing"]["degree"]
    for key, text in varied.items():
        params.setdefault(key, _at(point, key, text))
    return params


def _at(point: Point, key: str, default: Any) -> Any:
    """Look up a dotted key; an override of a whole group has no value there, so that its own text stands for it."""
    node: Any = point
    for name in key.split("."):
        if not isinstance(node, dict) or name not in node:
            return default
        node = node[name]
    return default if isinstance(node, dict) else node
