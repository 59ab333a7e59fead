"""From the runs of a policy and its baseline to one result a point, in plain JSON types."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from thpsweep.model.accounting.series import UNITS, report
from thpsweep.model.bits import Floats, Ints
from thpsweep.model.metrics.base import Pair, Run, computed
from thpsweep.model.metrics.intervals import intervals
from thpsweep.model.metrics.repricing import counted
from thpsweep.model.setting import Setting
from thpsweep.outcomes import SENTENCES, ScanResult

Result = dict[str, Any]


def results(built: Setting, policy: Run, baseline: Run, outcomes: Ints) -> list[Result]:
    """Price the difference of two runs on the same events, and fold each point's replicates into means and intervals.

    Shapes: outcomes (n_points * n_replicates, number of results), point by point -> one result a point.
    """
    n_points, duration_s = len(built.seeds), built.n_ticks * built.tick_s
    shares, payer = built.mechanism.shares_tables, built.trigger.payer
    known = built.machine, built.workload, built.n_sharers, duration_s, built.tick_s
    pair = Pair(policy, baseline, *known, shares, payer)
    metrics = computed(pair, built.metrics)
    own = computed(pair, built.own_metrics, metrics)
    metrics |= own
    names = [*(f"cost/{counter}" for counter in built.mechanism.counters), *own]
    every = np.array([values for values, _ in metrics.values()], np.float64)
    by_point = np.ascontiguousarray(every.reshape(len(metrics), n_points, -1).swapaxes(0, 1))
    parts = zip(
        by_point,
        zip(*[iter(intervals(by_point.reshape(-1, built.replicates)))] * len(metrics), strict=True),
        outcomes.reshape(n_points, built.replicates, -1).sum(axis=1),
        _slices(n_points, built.replicates),
        report(policy.series, baseline.series, built.tick_s, n_points),
        counted(pair, n_points, fed_back=built.gate.by_price),
        strict=True,
    )
    sentences = {result.name: SENTENCES[result] for result in ScanResult} | dict(built.mechanism.outcomes)
    facts = {"sharers": built.n_sharers, **built.workload.describe(built.n_sharers)}
    units = {name: unit for name, (_, unit) in metrics.items()} | {"time_s": "s"} | UNITS
    return [
        {
            "metrics": dict(zip(metrics, means, strict=True)),
            "replicates": dict(zip(metrics, values.tolist(), strict=True)),
            "series": series,
            "outcomes": (met := _met(numbers, sentences)),
            "facts": facts
            | _notes(built, pair, dict(zip(metrics, values, strict=True)), mine)
            | _refused(met, sentences),
            "units": units,
            "counted": counts,
            **({"own": names} if names else {}),
        }
        for values, means, numbers, mine, series, counts in parts
    ]


def _slices(n_points: int, replicates: int) -> list[slice]:
    """Tell which replicates are each point's."""
    return [slice(number * replicates, (number + 1) * replicates) for number in range(n_points)]


def _met(numbers: Ints, names: Collection[str]) -> dict[str, int]:
    """Name the outcomes that attempts had: the kernel's, then the mechanism's own. Shapes: (number of results,)."""
    return {name: number for name, number in zip(names, numbers.tolist(), strict=False) if number}


def _notes(built: Setting, pair: Pair, values: Mapping[str, Floats], mine: slice) -> dict[str, str]:
    """Gather what metrics have to say about a point, whose replicates are `mine`."""
    notes: dict[str, str] = {}
    for metric in (*built.metrics, *built.own_metrics):
        notes |= metric.notes(pair, values, mine)
    return notes


def _refused(met: Mapping[str, int], sentences: Mapping[str, str]) -> dict[str, str]:
    """Say in words why nothing was collapsed; nothing where something was, or nothing was tried."""
    if not met or "SUCCEED" in met:
        return {}
    most = max(met, key=lambda name: met[name])
    return {"note_refused": f"nothing was collapsed: {sentences[most]} ({most})"}
