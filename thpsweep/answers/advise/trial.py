"""`thpsweep advise --try`: predict what a collapse does to a tree, do it, and put both side by side."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from thpsweep.answers.advise.scene import AdviseScene
from thpsweep.answers.terminal.numbers import NOTHING, count, significant
from thpsweep.linux.trial import Collapsed, TrialState
from thpsweep.model import registry
from thpsweep.model.capture.activity import MEASURED
from thpsweep.model.simulate import simulate
from thpsweep.units import HPAGE_PMD_SIZE_BYTES, NS_PER_MS, PAGE_SIZE_BYTES, size

_ASSUMED = ("root_cpu_share", "worker_cpu_share", "aging_passes_per_hour")
_STILL = (*(name for name in MEASURED if name != "pages_per_request"), *_ASSUMED)
"""Rates that are 0 while a tree is collapsed: it takes a moment."""


@dataclasses.dataclass(frozen=True)
class Line:
    """One figure, as predicted and as found, and how it is written."""

    name: str
    predicted: float
    found: float
    write: Callable[[float], str]


def still(scene: AdviseScene, only_root: bool) -> dict[str, Any]:
    """Simulate the collapse alone: no process does anything meanwhile."""
    quiet = dataclasses.replace(scene, duration_s=1.0, replicates=2)
    trigger = {"kind": "madvise", "at_s": [1.0], "callers": "root" if only_root else "all"}
    parts: dict[str, dict[str, Any]] = {"mechanism": {"kind": "copy"}, "trigger": trigger, "gate": {"kind": "always"}}
    policy = {"name": "try", **{family: registry.spec(registry.build(family, part)) for family, part in parts.items()}}
    return simulate(quiet.point(policy, quiet.workload(**dict.fromkeys(_STILL, 0.0))))


def lines(result: dict[str, Any], before: TrialState, after: TrialState, done: Collapsed) -> list[Line]:
    """Put figures beside each other. CPU time is that of the process that asked: the kernel works in its name."""
    metrics = {name: value["mean"] for name, value in result["metrics"].items()}
    outcomes = {name: n / 2 for name, n in result["outcomes"].items()}  # of two replicates
    huge = int(before.layout.huge.sum())
    made = metrics["cost/collapses"]
    grown = (after.pages - before.pages) * PAGE_SIZE_BYTES
    asked = sum(done.outcomes.values())
    return [
        Line("regions asked for", sum(outcomes.values()), asked, count),
        Line("  collapsed, or huge already", _good(outcomes), done.outcomes["collapsed"], count),
        Line("PMD-mapped regions (AnonHugePages)", huge + made, int(after.layout.huge.sum()), count),
        Line("AnonHugePages", (huge + made) * HPAGE_PMD_SIZE_BYTES, after.sums.huge_kib * 1024, size),
        Line("memory more (sharing lost, holes filled)", metrics["cost/extra_bytes_peak"], grown, size),
        Line("PSS more", metrics["cost/extra_bytes_peak"], (after.sums.pss_kib - before.sums.pss_kib) * 1024, size),
        Line(
            "pages whose sharing ended",
            metrics["cost/sharing_lost_bytes"] / PAGE_SIZE_BYTES,
            _lost(before, after),
            count,
        ),
        Line(
            "LRU entries removed", metrics["benefit/lru_entries_removed"], before.lru_entries - after.lru_entries, count
        ),
        Line("page tables more", 0.0, (after.sums.tables_kib - before.sums.tables_kib) * 1024, size),
        Line("CPU of collapsing, ms", metrics["cost/cpu_ms"], done.cpu_ns / NS_PER_MS, significant),
    ]


def _good(outcomes: dict[str, float]) -> float:
    return outcomes.get("SUCCEED", 0.0) + outcomes.get("PMD_MAPPED", 0.0)


def _lost(before: TrialState, after: TrialState) -> float:
    """Count the pages that sharers had in common and then no more: mappings of shared frames that have gone."""
    return float(_shared_ptes(before) - _shared_ptes(after))


def _shared_ptes(state: TrialState) -> int:
    """Count ptes beyond the first of each frame."""
    layout = state.layout
    extra = layout.members.sum(axis=1)[layout.cell_members] - 1
    return int((np.bitwise_count(layout.cell_slots).sum(axis=1, dtype=np.int64) * extra).sum())


def table(found: Sequence[Line]) -> Table:
    """Lay them out, with the ratio where there is one."""
    laid = Table(box=box.SIMPLE, pad_edge=False, title="Collapsed now", title_justify="left", title_style="bold")
    laid.add_column("", overflow="fold")
    for heading in ("predicted", "found", "found / predicted"):
        laid.add_column(heading, justify="right")
    for line in found:
        ratio = significant(line.found / line.predicted) if line.predicted else NOTHING
        laid.add_row(*map(Text, (line.name, line.write(line.predicted), line.write(line.found), ratio)))
    return laid


def refusals(done: Collapsed) -> str:
    """Say how many calls the kernel refused, and how."""
    refused = {name: n for name, n in done.outcomes.items() if name != "collapsed"}
    listed = ", ".join(f"{name} {n}" for name, n in refused.items())
    return f"refused by the kernel: {listed}" if refused else "the kernel refused no region"
