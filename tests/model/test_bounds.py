"""A number that nothing in the world has is refused by its key, before anything is computed with it."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from thpsweep import api
from thpsweep.errors import OptionError
from thpsweep.sweep.planning.check import check

SMALL = ("workload=prefork", "workload.regions=1", "run.replicates=2", "run.duration_s=300")
CHOICES = {
    "": ("workload", "run", "machine", "memory", "policy"),
    "workload=captured": ("workload",),
    "workload=dataloader": ("workload",),
    "sharing=zipf": ("sharing",),
    "memory=fragmented": ("memory",),
    "policy=deferred": ("policy",),
    "policy=incremental": ("policy",),
    "policy/gate=budget": ("policy",),
    "policy/gate=payback": ("policy",),
}


def keys_of_floats(node: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from keys_of_floats(value, f"{prefix}{key}.")
        elif isinstance(value, float):
            yield f"{prefix}{key}"


def changed(point: Any, key: str, value: float) -> Any:
    """Give a point with another number under a dotted key."""
    made = node = copy.deepcopy(point)
    *path, last = key.split(".")
    for name in path:
        node = node[name]
    node[last] = value
    return made


@pytest.mark.parametrize("choice", CHOICES)
def test_every_number_has_a_bound(choice: str) -> None:
    fixed = (*SMALL[choice.startswith("workload=captured") * 2 :], *filter(None, [choice]))
    point: Any = api.composed(fixed)
    keys = list(keys_of_floats({part: point[part] for part in CHOICES[choice]}, ""))
    assert keys
    for key in keys:
        with pytest.raises(OptionError, match=r"1e\+308: expected") as refused:
            check(changed(point, key, 1e308))
        assert refused.value.key == key
