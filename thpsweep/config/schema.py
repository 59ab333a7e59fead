"""The schema of conf/: what a user can declare. An option is a dataclass of its own, in the model."""

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from thpsweep.errors import OptionError
from thpsweep.sweep.planning.axes import zips
from thpsweep.sweep.planning.where import Where
from thpsweep.sweep.tracking.labels import Labels, labels

GROUPS = {
    "workload": "workload",
    "sharing": "sharing",
    "mechanism": "policy/mechanism",
    "trigger": "policy/trigger",
    "gate": "policy/gate",
    "machine": "machine",
    "memory": "memory",
}
"""Group of the model -> group of the config. One below policy/ needs no YAML: its options have defaults of their own."""


@dataclass
class PolicyConfig:
    """A way to collapse, what starts it, what may hold it back, and the name of it all. No gate is `always`."""

    name: str = MISSING
    mechanism: Any = MISSING
    trigger: Any = MISSING
    gate: Any = None


@dataclass
class RunConfig:
    """How long and how often one point is simulated."""

    seed: int = MISSING
    replicates: int = MISSING
    duration_s: float = MISSING
    tick_s: float = MISSING


@dataclass
class SweepConfig:
    """Where a sweep is recorded, what its points are and what each may take; none of it changes a result."""

    dir: str = MISSING
    name: str | None = None
    question: str | None = None
    track: bool = MISSING
    zip: list[Any] = dataclasses.field(default_factory=list)
    grids: list[Any] = dataclasses.field(default_factory=list)
    if_exists: list[str] = dataclasses.field(default_factory=list)
    drop: list[str] = dataclasses.field(default_factory=list)
    where: str | None = None
    objective: Any = None
    objective_never: float | None = None
    tracking_uri: str | None = None
    force: bool = MISSING
    deadline_s: float | None = MISSING
    memory_bytes: int | None = MISSING
    tags: dict[str, Any] = dataclasses.field(default_factory=dict)
    note: str | None = None
    run_name: str | None = None

    def __post_init__(self) -> None:
        if not self.dir:
            raise OptionError("sweep.dir", self.dir, "a folder")
        for key in ("deadline_s", "memory_bytes"):
            value = getattr(self, key)
            if value is not None and value != MISSING and not 0 < value < math.inf:
                raise OptionError(f"sweep.{key}", value, "null or a number above 0")
        if self.name is not None and not re.fullmatch(r"[\w][\w.-]{0,99}", self.name):
            raise OptionError("sweep.name", self.name, "a folder's name of letters, digits, '_', '-' and '.'")
        self.labels  # noqa: B018 raises where they are none
        zips(self.zip)
        if self.where is not None:
            Where(self.where)
        objectives = self.objective if isinstance(self.objective, list) else [self.objective or ""]
        if not objectives or not all(isinstance(metric, str) for metric in objectives):
            raise OptionError("sweep.objective", self.objective, "null, a metric of the results, or a list of them")

    @property
    def labels(self) -> Labels:
        """What runs are called and tagged in MLflow. Raises: OptionError."""
        return labels(self.tags, self.note, self.run_name)


@dataclass
class Config:
    """All that a user can declare."""

    workload: Any = MISSING
    sharing: Any = MISSING
    policy: PolicyConfig = MISSING
    machine: Any = MISSING
    memory: Any = MISSING
    run: RunConfig = MISSING
    metrics: Any = dataclasses.field(default_factory=dict)
    sweep: SweepConfig = MISSING


PARTS = tuple(field.name for field in dataclasses.fields(Config))
"""What a config consists of. The parts make a point, but for `sweep`, which changes no result."""
