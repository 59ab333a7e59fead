"""Scenes whose net gains are formulas of prices, so that what the draws have to say of them is known."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from thpsweep.answers.analysis.inputs import Inputs
from thpsweep.answers.analysis.ranges import Range
from thpsweep.answers.analysis.study import BREAK_EVEN, NET, Entry, Key
from thpsweep.errors import ThpsweepError
from thpsweep.model.metrics.repricing import Recording
from thpsweep.profiles import default_file, load

SCENE: Key = (("sharing.degree", 2),)
Formula = Callable[[Mapping[str, Any]], Any]
"""Gives net gains from the values of keys. Shapes: () or (n_draws, 1) -> anything that goes with (n_draws, n_replicates)."""


@dataclasses.dataclass(frozen=True)
class Planted(Recording):
    """A recording that is priced by a formula."""

    net: Formula = lambda values: 0.0
    known: Mapping[str, float] = dataclasses.field(default_factory=dict)
    n_replicates: int = 2
    share: Formula | None = None

    def cpu(self, values=None):
        refused = [key for key in values or {} if key not in self.known]
        if refused:
            raise ThpsweepError(f"{refused[0]}: not a price")
        given = {**self.known, **(values or {})}
        shape = np.broadcast_shapes((self.n_replicates,), *(np.shape(value) for value in given.values()))
        found = {NET: np.broadcast_to(self.net(given), shape)}
        return found | ({BREAK_EVEN: np.broadcast_to(self.share(given), shape)} if self.share else {})


def entry(name: str, net: Formula, known: Mapping[str, float], scene: Key = SCENE, **row: Any) -> Entry:
    """Make a finished point of a contender."""
    share = row.pop("share", None)
    row = {"mechanism": "inplace", "memory_bytes": 1e9, "policy": name, **dict(scene), **row}
    nothing = dict.fromkeys(field.name for field in dataclasses.fields(Recording))
    priced = Planted(**{**nothing, "machine": load(default_file())}, net=net, known=known, share=share)
    values = {name: np.asarray(value, np.float64) for name, value in priced.cpu().items()}
    point = {"machine": {"name": "milan_vm"}, "workload": {}, "run": {"duration_s": 3600.0}}
    return Entry(f"{name}-{scene}", scene, name, row, point, values, priced)


def planted_inputs(entries: list[Entry], ranges: Mapping[str, tuple[float, float, float]]) -> Inputs:
    """Give each key a value and the ends of its range."""
    known = {key: Range(key, value, low, high, "assumed", "planted") for key, (value, low, high) in ranges.items()}
    scenes: dict[Key, list[Entry]] = {}
    for one in entries:
        scenes.setdefault(one.scene, []).append(one)
    return Inputs(tuple(ranges), (), (), scenes, {one.id: known for one in entries}, "")
