"""Keep a name that the user gave to one sweep, and say how another one of that name differs."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from thpsweep.errors import SweepError
from thpsweep.model.simulate import MODEL_VERSION
from thpsweep.sweep.planning.plan import Plan
from thpsweep.sweep.records import journal
from thpsweep.sweep.records.identity import code_id
from thpsweep.sweep.records.point import canonical
from thpsweep.sweep.records.schema import Point

MAX_VALUES = 8
"""Values of a key that a difference lists."""

Values = Mapping[str, Mapping[str, None]]
"""Key of the config -> the values that it takes in a sweep, in their order."""


def refuse_name_conflict(plan: Plan) -> None:
    """Refuse a sweep whose name was given to it, where another one has that name.

    Names that nobody gave are no claim: there the content in the directory's name tells sweeps apart.
    Raises: SweepError with what differs.
    """
    if not plan.named or plan.force or (plan.directory / journal.FILE_NAME).exists():
        return
    others = [path for path in plan.root.glob(f"{plan.name}-*/{journal.FILE_NAME}") if _is_of(path.parent, plan.name)]
    if not others:
        return
    other = journal.read(max(others, key=lambda path: path.stat().st_mtime))
    searches = ({} if plan.search is None else plan.search.spec, _spec(other.header.get("search", {})))
    header = other.header
    here = _values(MODEL_VERSION, code_id(), searches[0], (point.point for point in plan.points))
    points = (record["point"] for record in other.points.values())
    there = _values(header["model"], header.get("code", "unknown"), searches[1], points)
    differences = _differences(here, there) or ["  the same values in other combinations"]
    advice = "give another sweep.name, move that folder away, or run both with sweep.force=true"
    raise SweepError(
        "\n".join(
            [
                f"sweep.name={plan.name!r}: another sweep has that name, in {other.directory}; it differs in",
                *differences,
                f"  points: {len(other.points)} there, {len(plan.points)} here",
                advice,
            ]
        )
    )


def _is_of(directory: Path, name: str) -> bool:
    return re.fullmatch(rf"{re.escape(name)}-[0-9a-f]{{12}}", directory.name) is not None


def _spec(header: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: value for key, value in header.items() if key != "combinations"}


def _values(model: str, code: str, search: Mapping[str, Any], points: Iterable[Point]) -> Values:
    values: dict[str, dict[str, None]] = {"model version": {model: None}, "code": {code: None}}
    values |= {key: {value: None} for key, value in _leaves("search.", search)}
    for point in points:
        for key, value in _leaves("", point):
            values.setdefault(key, {})[value] = None
    return values


def _leaves(prefix: str, node: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _leaves(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else canonical(value)


def _differences(here: Values, there: Values) -> list[str]:
    keys = [key for key in {**there, **here} if {*here.get(key, ())} != {*there.get(key, ())}]
    return [f"  {key}: {_listed(there.get(key))} there, {_listed(here.get(key))} here" for key in keys]


def _listed(values: Mapping[str, None] | None) -> str:
    if not values:
        return "nothing"
    shown = list(values)[:MAX_VALUES]
    return ",".join(shown) + (f",... ({len(values)} values)" if len(values) > len(shown) else "")
