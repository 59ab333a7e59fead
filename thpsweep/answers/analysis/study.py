"""A sweep as scenes and contenders: what the processes do, and what competes on the same events."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from thpsweep.answers.analysis import frame
from thpsweep.answers.analysis.frame import Row
from thpsweep.answers.analysis.paired import Values
from thpsweep.errors import ThpsweepError
from thpsweep.model import plugins, registry
from thpsweep.model.metrics.repricing import Recording, recording
from thpsweep.sweep.records import run_record
from thpsweep.sweep.records.journal import Sweep

NET, COST, GAIN, PAYBACK = ("tradeoff/net_cpu_ms", "cost/cpu_ms", "tradeoff/gain_cpu_ms", "tradeoff/payback_s")
BREAK_EVEN = "tradeoff/break_even_walk_share"
"""The share of cycles in page walks at which a contender gains what it costs."""

BASELINE_PEAK = "cost/memory_bytes_peak_baseline"
WORST_HOLD = "derived/worst_lock_hold_ms"
DEGREE = "sharing.degree"

UNRANKED = {
    "retract": "`retract` is an upper bound: anon memory has no page cache to hold the folio meanwhile",
    "shared_table": "`shared_table` has a baseline of its own, where forks share page tables",
}
"""Mechanisms that are shown but do not compete -> why."""

ENDLESS = ("workload.worker_life_s",)
"""Times whose 0 means that it never ends."""

Key = tuple[tuple[str, Any], ...]
"""What was chosen, key by key."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A finished point: the scene, who contends in it, and the values of each metric. Shapes: (n_replicates,)."""

    id: str
    scene: Key
    contender: str
    row: Row
    point: Mapping[str, Any]
    values: Mapping[str, Values]
    priced: Recording | str
    """What prices it anew, or why that may not be."""

    @property
    def keeps_sharing(self) -> bool:
        """Whether no memory is left double at the end: none was copied privately, or all of it has healed."""
        return frame.double_bytes(self.row) == 0

    @property
    def fits(self) -> bool:
        """Whether the machine has the memory that it takes."""
        return frame.fits(self.row)

    @property
    def baseline_fits(self) -> bool:
        """Whether it has the memory that the processes take without any collapse."""
        return bool(self.values.get(BASELINE_PEAK, np.zeros(1)).max() <= self.row["memory_bytes"])

    @property
    def ranked(self) -> bool:
        """Whether it competes."""
        return self.row["mechanism"] not in UNRANKED

    def choice(self, key: str) -> Any:
        """Look up what was chosen."""
        return self.row.get(key)


@dataclasses.dataclass(frozen=True)
class Study:
    """All finished points. Factors are the keys that differ, with their levels in order; scenes come in that order too."""

    entries: tuple[Entry, ...]
    factors: Mapping[str, tuple[Any, ...]]
    units: Mapping[str, str]
    n_points: int

    @property
    def scene_factors(self) -> list[str]:
        """Factors that belong to the scene."""
        return [key for key in self.factors if not is_policy(key)]

    @property
    def contenders(self) -> list[str]:
        """Who contends, in the order of the sweep."""
        return list(dict.fromkeys(entry.contender for entry in self.entries))

    def scenes(self) -> dict[Key, list[Entry]]:
        """Gather the entries of each scene."""
        found: dict[Key, list[Entry]] = {}
        for entry in self.entries:
            found.setdefault(entry.scene, []).append(entry)
        return found

    def numeric(self) -> list[str]:
        """List the factors with numbers as levels, those with most levels first."""
        keys = [key for key, levels in self.factors.items() if all(is_number(level) for level in levels)]
        return sorted(keys, key=lambda key: -len(self.factors[key]))

    def grid(self, metric: str, entries: Sequence[Entry]) -> tuple[list[str], Values] | None:
        """Lay a metric on the grid of all factors that differ among the entries; nothing where a cell is empty.

        Shapes: -> names, (levels of each, ..., n_replicates).
        """
        keys = [key for key in self.factors if len({_word(entry.choice(key)) for entry in entries}) > 1]
        levels = [list(dict.fromkeys(_word(entry.choice(key)) for entry in entries)) for key in keys]
        shape = tuple(map(len, levels))
        if not keys or int(np.prod(shape)) != len(entries):
            return None
        laid = np.full((*shape, entries[0].values[metric].size), np.nan)
        for entry in entries:
            if entry.values[metric].size != laid.shape[-1]:
                return None
            laid[tuple(have.index(_word(entry.choice(key))) for key, have in zip(keys, levels, strict=True))] = (
                entry.values[metric]
            )
        return (keys, laid) if np.isfinite(laid).all() else None


def study(sweep: Sweep, *, repriced: bool = True) -> Study:
    """Read all finished points of a sweep; what prices them anew takes memory, and is left out where nothing does."""
    rows = [row for row in frame.rows(sweep) if row["state"] == "done"]
    common = [
        key for key in ("workload", "sharing", DEGREE, "policy") if len({_word(row.get(key)) for row in rows}) > 1
    ]
    keys = [*common, *frame.varied(rows)]
    factors = {key: _levels(key, (row.get(key) for row in rows)) for key in keys}
    units: dict[str, str] = {}
    entries = []
    for row in rows:
        record = sweep.results[row["id"]]["result"]
        units |= record["units"]
        entries.append(_entry(row, keys, record, sweep.points[row["id"]]["point"], repriced))
    return Study(tuple(entries), factors, {**units, WORST_HOLD: "ms"}, len(sweep.points))


def is_policy(key: str) -> bool:
    """Tell choices of how to collapse from those of the scene."""
    return key.split(".")[0].split("/")[0] in ("policy", "mechanism", "trigger", "gate")


def is_number(value: Any) -> bool:
    """Tell numbers from words and from yes and no."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def named(key: str) -> str:
    """Shorten a key for people: its last part, in words."""
    return key.rpartition(".")[2].replace("_", " ")


def scene_name(scene: Key) -> str:
    """Write a scene as its choices."""
    return ", ".join(_choice(key, value) for key, value in scene) or "the only scene"


def _choice(key: str, value: Any) -> str:
    if key == DEGREE and is_number(value):
        return "1 sharer" if value == 1 else f"{value:,} sharers"
    return f"{named(key)} {level_name(key, value)}"


def _entry(row: Row, keys: Sequence[str], record: Mapping[str, Any], point: Mapping[str, Any], repriced: bool) -> Entry:
    values = {name: np.array(found, np.float64) for name, found in record["replicates"].items()}
    holds = [found for name, found in values.items() if name.startswith("cost/lock_hold_") and name.endswith("_max_ms")]
    if holds:
        values[WORST_HOLD] = np.max(holds, axis=0)
    try:
        priced: Recording | str = recording(point, record) if repriced else "read without prices"
    except ThpsweepError as refusal:
        priced = _without_its_file(point["policy"]["mechanism"]) or str(refusal)
    scene = tuple((key, row.get(key)) for key in keys if not is_policy(key))
    return Entry(row["id"], scene, _contender(row, keys), row, point, values, priced)


def _without_its_file(mechanism: Mapping[str, Any]) -> str:
    """Ask for the file of a mechanism of a user's own, where it is not loaded, or is another one than then."""
    name, sha256 = mechanism[registry.KIND], mechanism.get(registry.PLUGIN)
    loaded = plugins.LOADED.get(name)
    if sha256 is None or (loaded is not None and loaded.sha256 == sha256):
        return ""
    return f"expected --plugin {name}.py, the file of `{name}`, as it was when the sweep was run"


def _contender(row: Row, keys: Sequence[str]) -> str:
    more = [key for key in keys if is_policy(key) and key != "policy" and row.get(key) is not None]
    return " ".join([row["policy"], *(f"{key.rpartition('.')[2]}={run_record.as_text(row[key])}" for key in more)])


def level_name(key: str, level: Any) -> str:
    """Write a level for people."""
    return "endless" if key in ENDLESS and level == 0 else _word(level)


def _levels(key: str, values: Iterator[Any]) -> tuple[Any, ...]:
    """List distinct values: numbers in order, then words as they come."""
    found = list({_word(value): value for value in values if value is not None}.values())

    def order(value: Any) -> tuple[bool, float]:
        return not is_number(value), np.inf if value == 0 and key in ENDLESS else value if is_number(value) else 0.0

    return tuple(sorted(found, key=order))


def _word(value: Any) -> str:
    return run_record.as_text(value)
