"""Mechanisms that exist in no kernel: which of their prices were measured, which were not, and what hangs on these.

A small standard scene is simulated with each key of the profile doubled: a key that changes nothing is none of the
mechanism's. Those that are assumed, or inferred from instruction counts, are halved, too. The events are the same each
time, and so the differences are exact.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from thpsweep.model.machines.profile import Profile
from thpsweep.model.simulate import simulate
from thpsweep.profiles import Source
from thpsweep.shipped import option

HYPOTHETICAL = ("inplace", "inplace_pmd", "switch", "switch_pmd", "incremental", "deferred", "shared_table")
SHARERS, REGIONS = 16, 2
_AT_S, _DURATION_S, _TICK_S = 60.0, 3600.0, 300.0
_LEAST = {"tlb_coalesce": 1.0}
"""No price can be less than this."""


@dataclasses.dataclass(frozen=True)
class CostAndGain:
    """What the mechanism costs and brings in the scene; payback_s is infinite where it never pays back."""

    cpu_ms: float
    net_cpu_ms: float
    payback_s: float


@dataclasses.dataclass(frozen=True)
class Assumption:
    """One price that is assumed, or inferred from instruction counts: the answer with half of it and with twice of it."""

    key: str
    source: Source
    halved: CostAndGain
    doubled: CostAndGain


@dataclasses.dataclass(frozen=True)
class Findings:
    """One mechanism: its answer, the keys that its answer hangs on by where they come from, the assumed ones tried."""

    mechanism: str
    answer: CostAndGain
    known: Sequence[str]
    assumptions: Sequence[Assumption]


def findings(
    machine: Profile,
    sources: Mapping[str, Source],
    tell: Callable[[str], None] = lambda _: None,
    mechanisms: Sequence[str] = HYPOTHETICAL,
) -> list[Findings]:
    """Try the assumptions of hypothetical mechanisms at the prices of a machine."""
    listed = []
    for mechanism in mechanisms:
        tell(mechanism)
        listed.append(_of(mechanism, machine, sources))
    return listed


def _of(mechanism: str, machine: Profile, sources: Mapping[str, Source]) -> Findings:
    def answer(key: str, price: float) -> CostAndGain:
        changed: dict[str, Any] = {key: price}
        return _answer(mechanism, dataclasses.replace(machine, **changed))

    plain = _answer(mechanism, machine)
    known, assumptions = [], []
    for key in prices(machine):
        price = float(getattr(machine, key))
        doubled = answer(key, 2 * price)
        if doubled == plain:
            continue
        source = sources.get(key, Source("assumed", "the profile does not say"))
        if source.is_assumed or source.is_inferred:
            assumptions.append(Assumption(key, source, answer(key, max(price / 2, _LEAST.get(key, 0.0))), doubled))
        else:
            known.append(key)
    return Findings(mechanism, plain, known, assumptions)


def prices(machine: Profile) -> list[str]:
    """List the keys of a profile that are figures of the machine, its memory aside."""
    return [f.name for f in dataclasses.fields(machine) if f.type is float and f.name != "memory_bytes"]


def _answer(mechanism: str, machine: Profile) -> CostAndGain:
    """Simulate the scene: the workload `prefork` as it ships, but small; every sharer asks for a collapse after a minute."""
    point: dict[str, Any] = {
        "workload": {"kind": "prefork", **option("workload", "prefork"), "regions": REGIONS},
        "sharing": {"kind": "fixed", "degree": SHARERS},
        "policy": {
            "name": mechanism,
            "mechanism": {"kind": mechanism},
            "trigger": {"kind": "madvise", "at_s": [_AT_S], "callers": "all"},
        },
        "machine": {"kind": "profile", **dataclasses.asdict(machine)},
        "run": {"seed": 1, "replicates": 1, "duration_s": _DURATION_S, "tick_s": _TICK_S},
    }
    mean = {name: value["mean"] for name, value in simulate(point)["metrics"].items()}
    payback_s = mean["tradeoff/payback_s"]
    return CostAndGain(
        mean["cost/cpu_ms"],
        mean["tradeoff/net_cpu_ms"],
        math.inf if payback_s is None or math.isnan(payback_s) else float(payback_s),
    )
