"""What a study rests on: prices and rates that its counts can be priced anew with, and how far off each may be."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from thpsweep import profiles
from thpsweep.answers.analysis.ranges import Range, captured_range, machine_ranges, rate_range
from thpsweep.answers.analysis.study import Entry, Key, Study
from thpsweep.errors import ThpsweepError
from thpsweep.model.capture.files import find, is_same, load
from thpsweep.model.machines.profile import Profile
from thpsweep.model.metrics.repricing import Recording

FileOf = Callable[[str], Path | None]
"""Finds the profile of a machine by its name; None where it does not ship."""


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The keys that vary, with the range of each at each point, and what does not vary. fixed: keys whose value the counts
    depend on, so that another one needs a simulation of its own; swept: keys that the sweep itself varies."""

    keys: tuple[str, ...]
    fixed: tuple[str, ...]
    swept: tuple[str, ...]
    scenes: Mapping[Key, list[Entry]]
    ranges: Mapping[str, Mapping[str, Range]]
    """By the id of a point, by key."""
    left_out: str
    """Which points were left out, and why; nothing where none was."""

    def of(self, entry: Entry) -> Mapping[str, Range]:
        """Give the ranges at a point."""
        return self.ranges[entry.id]


def inputs(study: Study, file_of: FileOf) -> Inputs | str:
    """Find what can vary; or say why nothing can. Raises: ThpsweepError where a profile states a wrong range."""
    priced = [entry for entry in study.entries if isinstance(entry.priced, Recording)]
    if not priced:
        return next((str(entry.priced) for entry in study.entries), "no point is done")
    known: dict[Any, dict[str, Range]] = {}
    every = {entry.id: _ranges(entry, file_of, known) for entry in priced}
    keys, fixed = _apart(priced[0], every[priced[0].id])
    swept = tuple(key for key in keys if key in study.factors)
    scenes: dict[Key, list[Entry]] = {}
    for entry in priced:
        scenes.setdefault(entry.scene, []).append(entry)
    drawn = tuple(key for key in keys if key not in swept)
    return Inputs(drawn, fixed, swept, scenes, every, _left_out(study, len(priced)))


def _ranges(entry: Entry, file_of: FileOf, known: dict[Any, dict[str, Range]]) -> dict[str, Range]:
    """Give the ranges of a point's figures; those of the same machine and workload are made once."""
    assert isinstance(entry.priced, Recording)
    machine, workload = entry.priced.machine, entry.point["workload"]
    rates = _numbers(workload)
    same = (dataclasses.astuple(machine), tuple(rates.items()), workload.get("sha256"))
    if same not in known:
        of_machine = _of_machine(machine, file_of, known)
        stated = {key: rate_range(key, value) for key, value in rates.items()}
        known[same] = of_machine | stated | _captured(workload, rates)
    return known[same]


def _captured(workload: Mapping[str, Any], rates: Mapping[str, float]) -> dict[str, Range]:
    """Give the range of each rate that is the captured file's, as far as that is at hand and unchanged."""
    if "sha256" not in workload or not is_same(workload["path"], workload["sha256"]):
        return {}
    activity = load(find("workload.path", workload["path"])).activity
    seen = {} if activity is None else activity.rates
    return {
        key: captured_range(key, rate)
        for key, value in rates.items()
        if (rate := seen.get(key.partition(".")[2])) is not None and rate.value == value
    }


def _of_machine(machine: Profile, file_of: FileOf, known: dict[Any, dict[str, Range]]) -> dict[str, Range]:
    same = dataclasses.astuple(machine)
    if same not in known:
        known[same] = machine_ranges(machine, file_of(machine.name))
    return known[same]


def _numbers(workload: Mapping[str, Any]) -> dict[str, float]:
    """List the numbers among a workload's options, by their full keys."""
    return {f"workload.{key}": float(value) for key, value in workload.items() if profiles.is_number(value)}


def _apart(entry: Entry, ranges: Mapping[str, Range]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Tell keys that a recording can be priced with from those that it refuses."""
    assert isinstance(entry.priced, Recording)
    keys, fixed = [], []
    for key, one in ranges.items():
        try:
            entry.priced.cpu({key: one.value})
        except ThpsweepError:
            fixed.append(key)
        else:
            keys.append(key)
    return tuple(keys), tuple(fixed)


def _left_out(study: Study, n_priced: int) -> str:
    reasons = list(dict.fromkeys(entry.priced for entry in study.entries if isinstance(entry.priced, str)))
    if not reasons:
        return ""
    n = len(study.entries) - n_priced
    return f"{n} of {len(study.entries)} points are left out, since their counts cannot be priced anew: {'; '.join(reasons)}"
