"""Turn overrides into points, all of them checked before the first one runs."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from thpsweep.errors import SweepError
from thpsweep.sweep.planning.axes import Job
from thpsweep.sweep.planning.check import Checker
from thpsweep.sweep.planning.limits import PointLimits
from thpsweep.sweep.planning.notice import noting
from thpsweep.sweep.planning.search import Search
from thpsweep.sweep.planning.where import Where
from thpsweep.sweep.records.point import PlannedPoint, content_id
from thpsweep.sweep.records.schema import Point
from thpsweep.sweep.tracking.labels import Labels
from thpsweep.sweep.tracking.target import Target

_MISSING = object()


@dataclasses.dataclass(frozen=True)
class Plan:
    """All points of a sweep, each once, in the order of the overrides.

    `named` says that the user gave it its name, `force` that another sweep may have that name too. A search finds its
    points as it goes; those that are here then are some that it may ask, by which it is checked.
    """

    root: Path
    name: str
    overrides: tuple[str, ...]
    points: tuple[PlannedPoint, ...]
    config: str
    tracked: bool
    n_jobs: int
    id_of: Mapping[tuple[str, ...], str]
    target: Target
    n_filtered: int = 0
    limits: PointLimits = dataclasses.field(default_factory=PointLimits)
    named: bool = False
    force: bool = False
    search: Search | None = None
    known_as: str | None = None
    labels: Labels = Labels()  # noqa: RUF009 it is immutable

    @property
    def id(self) -> str:
        """Identify the sweep by its points, so that the same command finds what it has done already.

        A search is known by what it searches for, too: points that it finds are not known beforehand. So are those of
        the later batches of another sweeper, and `known_as` identifies them all.
        """
        if self.known_as is not None:
            return self.known_as
        points = sorted(point.id for point in self.points)
        return content_id(points if self.search is None else {"search": dict(self.search.spec), "points": points})

    @property
    def claimed(self) -> str | None:
        """Give the name if the user gave it."""
        return self.name if self.named else None

    @property
    def duplicates(self) -> int:
        """Combinations of overrides whose point was there already."""
        return self.n_jobs - self.n_filtered - len(self.points)

    @property
    def left_out(self) -> str:
        """Say how many combinations are no points, and why: what to add to the number of points, or nothing."""
        filtered = f", {self.n_filtered} filtered by sweep.where" if self.n_filtered else ""
        return filtered + (f", {self.duplicates} duplicates dropped" if self.duplicates else "")

    @property
    def counted(self) -> str:
        """Say how many points there are."""
        return "1 point" if len(self.points) == 1 else f"{len(self.points):,} points"

    @property
    def directory(self) -> Path:
        """Where the sweep's journal and artefacts are."""
        return self.root / f"{self.name}-{self.id[:12]}"


@dataclasses.dataclass(frozen=True)
class Planned:
    """Checked points, each once; the point's id of each job's overrides; how many jobs were filtered."""

    points: tuple[PlannedPoint, ...]
    id_of: Mapping[tuple[str, ...], str]
    n_filtered: int


def planned(jobs: Iterable[Job], compose: Callable[[Sequence[str]], Point], where: str | None = None) -> Planned:
    """Compose every job, keep those that `where` holds for, check them, and merge those that make the same point.

    Raises: ThpsweepError for the first point that cannot run.
    """
    composed = [(job, compose(job.overrides)) for job in noting(list(jobs), "composing")]
    kept = _filtered(composed, where)
    points: dict[str, PlannedPoint] = {}
    id_of: dict[tuple[str, ...], str] = {}
    checker = Checker()
    named = dict.fromkeys(key for job, _ in kept for key in job.varied)  # also those of the other grids of a union
    for job, point in noting(kept, "checking"):
        key, checked = checker.check(point)
        id_of[job.overrides] = key
        if key not in points:
            points[key] = PlannedPoint(key, checked, _params(checked["point"], {**named, **job.varied}), job.overrides)
    return Planned(tuple(points.values()), id_of, len(composed) - len(kept))


def _filtered(composed: list[tuple[Job, Point]], where: str | None) -> list[tuple[Job, Point]]:
    if where is not None:
        chosen = Where(where).chosen([point for _, point in composed])
        composed = [pair for pair, is_chosen in zip(composed, chosen, strict=True) if is_chosen]
    if not composed:
        raise SweepError("no point is left to run" + (f": sweep.where={where!r} holds for none" if where else ""))
    return composed


def _params(point: Point, varied: Mapping[str, Any]) -> dict[str, Any]:
    """Name what a person asks for first, then all that differs between the points, as the point has it, if it does."""
    params = {"policy": point["policy"]["name"], "workload": point["workload"]["kind"]}
    if "degree" in point["sharing"]:
        params["sharing.degree"] = point["sharing"]["degree"]
    for key, text in varied.items():
        value = _at(point, key, _MISSING if text is None else text)
        if value is not _MISSING:
            params.setdefault(key, value)
    return params


def _at(point: Point, key: str, default: Any) -> Any:
    """Look up a dotted key; an override of a whole group has no value there, so that its own text stands for it."""
    node: Any = point
    for name in key.split("."):
        if not isinstance(node, dict) or name not in node:
            return default
        node = node[name]
    return default if isinstance(node, dict) else node
