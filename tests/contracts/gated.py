"""Small families behind gates, for the tests of gates."""

import numpy as np

from tests.model.points import option
from tests.model.replay import Replay
from tests.reference.families import Family as Drawn
from tests.reference.families import random_family, random_script
from thpsweep.model import registry
from thpsweep.model.collapse.scan import VisitConditions
from thpsweep.model.gates.base import Clock, Gate, Guard, Proposal
from thpsweep.model.mechanisms.visit import ScanLimits
from thpsweep.model.triggers.base import Collapser
from thpsweep.outcomes import ScanResult

MECHANISMS = [name for name, cls in registry.options("mechanism").items() if cls.active]
SHARED = 3
PTES = 512 * SHARED
MACHINE = registry.build("machine", option("machine", "milan_vm"))
WORKLOAD = registry.build(
    "workload", {**option("workload", "prefork"), "worker_life_s": 600.0, "reclaim": "classic", "root_cpu_share": 0.25}
)


def plain(n_regions: int = 1, n_sharers: int = SHARED) -> Replay:
    """Make a family in which everybody maps everything."""
    members = tuple(range(n_sharers))
    cells = [(region, members, list(range(512)), 0) for region in range(n_regions)]
    return Replay(Drawn(n_regions, n_sharers, cells, {}, set(), set(members)), {})


def aged(seed: int) -> Replay:
    """Make a family that has lived through random events, without a collapse."""
    drawn = random_family(seed, swapped_share=0.0, folio_share=0.0)
    replay = Replay(drawn, {})
    for tick in random_script(seed, drawn, 2)["ticks"]:
        replay.tick({**tick, "triggers": []})
    return replay


def calm(rows: np.ndarray, tick: int, khugepaged: bool) -> VisitConditions:
    """Meet nothing: all young, no reference."""
    full = np.full(rows.size, 512)
    return VisitConditions(full, np.zeros(rows.size, bool), full)


def refusing() -> Gate:
    return registry.build("gate", {"kind": "max_ptes", "max_ptes": 0})


def guarded(replay: Replay, gate: Gate, mechanism: str = "inplace") -> Collapser:
    """Put a gate between the scans and the attempts of a mechanism."""
    guard = Guard(gate, MACHINE, WORKLOAD, Clock(), gate.begin(replay.family.n_replicates))
    made = registry.build("mechanism", {"kind": mechanism})
    return Collapser(replay.family, replay.counts, made, calm, guard)


def visit(collapser: Collapser, rows: list[int], now_s: float = 0.0, khugepaged: bool = False) -> list[str]:
    """Scan rows of distinct regions and attempt what passes; name the outcomes."""
    assert collapser.guard is not None
    collapser.guard.clock.now_s = now_s
    found = collapser.scan(np.array(rows), ScanLimits(), 0, khugepaged)
    return [ScanResult(int(result)).name for result in collapser.attempt(found, ScanLimits())]


def proposal(replay: Replay, mechanism: str = "inplace", row: int = 0) -> Proposal:
    """Propose one attempt."""
    made = registry.build("mechanism", {"kind": mechanism})
    return Proposal(replay.family, replay.counts, made, np.array([row]), ScanLimits(), MACHINE, WORKLOAD, 0.0)


def passes(gate: Gate, asked: Proposal) -> bool:
    """Ask a gate in its first state about one attempt."""
    return bool(gate.allow(gate.begin(asked.family.n_replicates), asked)[0])
