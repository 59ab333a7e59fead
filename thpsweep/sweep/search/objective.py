"""The metrics that a search can go by."""

import functools
import json

from thpsweep.errors import OptionError
from thpsweep.model.simulate import simulate
from thpsweep.sweep.records.schema import Point

NOTHING = {
    "name": "none",
    "mechanism": {"kind": "none"},
    "trigger": {"kind": "madvise", "at_s": [0.0]},
    "gate": {"kind": "always"},
}


def refuse_unknown(option: str, metric: str, point: Point) -> str:
    """Refuse a metric that results do not have; give the unit of one that they have. Raises: OptionError."""
    run = point["run"]
    tick = {**run, "replicates": 1, "duration_s": run["tick_s"]}
    known = _units(json.dumps({**point, "policy": NOTHING, "run": tick}, sort_keys=True))
    if metric not in known:
        raise OptionError(option, metric, "a metric of the results: " + ", ".join(sorted(known)))
    return known[metric]


@functools.lru_cache(maxsize=1)
def _units(point_json: str) -> dict[str, str]:
    """Look the metrics up in a result: of one replicate, one tick, and nothing that collapses."""
    result = simulate(json.loads(point_json))
    return {name: result["units"][name] for name in result["metrics"]}
