"""Check points before any of them runs, and identify them: each is built once, and what they share is encoded once."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from thpsweep.errors import CaptureError
from thpsweep.model.setting import check_seed, checked, setting
from thpsweep.sweep.records.point import PlannedPoint, canonical, hashed, parts_text, point_id
from thpsweep.sweep.records.schema import CheckedPoint, Point

SCENE = ("workload", "sharing", "run")
"""Parts that say what the processes do."""

MAX_WRITTEN = 20_000
"""Parts whose text is remembered, each kept from being freed, so that no other one gets its id()."""


@dataclasses.dataclass(frozen=True)
class _Known:
    """What points that differ in their seeds only have in common: what a CheckedPoint has, and a workload with its hash."""

    workload: dict[str, Any] | None
    facts: Mapping[str, Any]


class Checker:
    """Check points of one plan, which differ in few parts."""

    def __init__(self) -> None:
        self._written: dict[int, tuple[Any, str]] = {}
        self._known: dict[str, _Known] = {}

    def check(self, point: Point) -> tuple[str, CheckedPoint]:
        """Give the id of a point and what has to be known of it; points alike but for their seeds are built once.

        Raises: OptionError, CaptureError, ThpsweepError for one that cannot run.
        """
        parts: dict[str, Any] = {**point, "run": {**point["run"], "seed": 0}}
        text = parts_text(parts, self._write)
        if text in self._known:
            check_seed(point)
        else:
            self._known[text] = self._first(point, parts, text)
        known = self._known[text]
        if known.workload is not None:
            point = {**point, "workload": known.workload}
        return point_id(point, write=self._write), {"point": point, **known.facts}  # type: ignore[typeddict-item]

    def _first(self, point: Point, parts: Mapping[str, Any], text: str) -> "_Known":
        """Build a point; put the hash of the file that its workload may name beside the name."""
        with _naming_the_file(point):
            built = setting(point)
            content, needs = built.workload.identity(), checked(built)
        same = canonical(content)
        scene = parts_text({name: parts[name] for name in SCENE}, self._write)
        return _Known(
            {**point["workload"], **content} if content else None,
            {
                "alike": hashed(text + same),
                "scene": hashed(scene + same),
                "state_bytes": needs["state_bytes"],
                "work": needs["work"],
            },
        )

    def _write(self, part: Any) -> str:
        """Write a part of a point; one that several points have, once."""
        written = self._written.get(id(part))
        if written is None:
            if len(self._written) >= MAX_WRITTEN:
                self._written.clear()
            written = self._written[id(part)] = part, canonical(part)
        return written[1]


def check(point: Point) -> CheckedPoint:
    """Check one point. Raises: as Checker.check()."""
    return Checker().check(point)[1]


def planned_point(point: Point, params: Mapping[str, Any], overrides: tuple[str, ...] = ()) -> PlannedPoint:
    """Check and identify one point. Raises: as Checker.check()."""
    key, made = Checker().check(point)
    return PlannedPoint(key, made, params, overrides)


@contextlib.contextmanager
def _naming_the_file(point: Point) -> Iterator[None]:
    """Add to what is wrong with a captured file the option that names it."""
    try:
        yield
    except CaptureError as error:
        option = f"workload.path={point['workload'].get('path')!r}"
        raise CaptureError(f"{option}: expected a file that `thpsweep capture` wrote; {error}") from error
