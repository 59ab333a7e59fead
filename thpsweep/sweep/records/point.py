"""Identify a point and its scene by what they contain: the same content has the same id on every machine."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from thpsweep.model.simulate import MODEL_VERSION
from thpsweep.sweep.records.identity import code_id
from thpsweep.sweep.records.schema import CheckedPoint, Point, PointRecord


@dataclasses.dataclass(frozen=True)
class PlannedPoint:
    """A checked point of a sweep. `params` is what tells it from the others, for people."""

    id: str
    checked: CheckedPoint
    params: Mapping[str, Any]
    overrides: tuple[str, ...] = ()

    @property
    def point(self) -> Point:
        """Give the point alone."""
        return self.checked["point"]

    def record(self, index: int, note: Mapping[str, Any] | None = None) -> PointRecord:
        """Make the point's record; `note` is what a search has to know of it."""
        made: PointRecord = {
            "type": "point",
            "id": self.id,
            "index": index,
            "params": dict(self.params),
            "point": self.point,
        }
        return made if note is None else {**made, "search": dict(note)}


def canonical(value: Any) -> str:
    """Write a value as JSON in exactly one way: sorted keys, no spaces, floats by their shortest exact form."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def content_id(value: Any) -> str:
    """Hash a JSON value. Units: 64 hexadecimal digits of SHA-256."""
    return hashed(canonical(value))


def hashed(text: str) -> str:
    """Hash a text. Units: 64 hexadecimal digits of SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()


def point_id(
    point: Point, model: str = MODEL_VERSION, code: str | None = None, write: Callable[[Any], str] = canonical
) -> str:
    """Identify a point: all that its result depends on, the code that computes it included.

    The hash of a captured file, where the plan has put one, stands for its path: a file that moved is the same point, a
    changed one another. `write` is `canonical`, or remembers what it wrote of the parts that points have in common.
    """
    parts: dict[str, Any] = dict(point)
    if "sha256" in point["workload"]:
        parts["workload"] = {key: value for key, value in point["workload"].items() if key != "path"}
    return hashed(f"{model} {code or code_id()} {parts_text(parts, write)}")


def parts_text(parts: Mapping[str, Any], write: Callable[[Any], str] = canonical) -> str:
    """Write a dict part by part, sorted by name."""
    return "\0".join(f"{name}={write(parts[name])}" for name in sorted(parts))


def scene_id(point: Point) -> str:
    """Identify what the processes do: the same for all policies and machines, so that their runs can be paired."""
    return content_id([point["workload"], point["sharing"], point["run"]])
