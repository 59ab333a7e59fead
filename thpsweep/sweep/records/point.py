"""Identify a point and its scene by what they contain: the same content has the same id on every machine."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from thpsweep.model.simulate import MODEL_VERSION

Point = dict[str, Any]
"""Scene, policy, machine and run of one simulation: nested dicts of plain JSON types."""


@dataclasses.dataclass(frozen=True)
class PlannedPoint:
    """A checked point of a sweep. `params` is what tells it from the others, for people."""

    id: str
    point: Point
    params: Mapping[str, Any]
    overrides: tuple[str, ...]


def canonical(value: Any) -> str:
    """Write a value as JSON in exactly one way: sorted keys, no spaces, floats by their shortest exact form."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def content_id(value: Any) -> str:
    """Hash a JSON value. Units: 64 hexadecimal digits of SHA-256."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def point_id(point: Point, model: str = MODEL_VERSION) -> str:
    """Identify a point: all that its result depends on, the version of the model included.

    The hash of a captured file, where the plan has put one, stands for its path: a file that moved is the same point, a
    changed one another.
    """
    has_content = "sha256" in point["workload"]
    workload = {key: value for key, value in point["workload"].items() if key != "path" or not has_content}
    return content_id({"point": {**point, "workload": workload}, "model": model})


def scene_id(point: Point) -> str:
    """Identify what the processes do: the same for all policies and machines, so that their runs can be paired."""
    return content_id([point["workload"], point["sharing"], point["run"]])
