"""For notebooks: a sweep as a pandas table, a simulation in one line."""

import contextlib
import copy
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from thpsweep.errors import ThpsweepError

if TYPE_CHECKING:
    import pandas as pd

    from thpsweep.sweep.records.schema import Point

COMPARED = ("cost/cpu_ms", "tradeoff/gain_cpu_ms", "tradeoff/net_cpu_ms", "cost/sharing_lost_bytes")
"""Metrics that compare() shows unless others are asked for."""


def load(sweep: str | PathLike[str], *, replicates: bool = False) -> "pd.DataFrame":
    """Read a sweep, running or not, into a table: one row per point, one column per choice and metric.

    sweep: its directory, or its journal. A metric m has its mean in column m and the ends of its 95 % interval in m_low and
    m_high. With replicates=True there is one row per replicate instead, m has its value, and rows of the same scene and
    replicate met the same events, whatever the policy. `attrs` has the units (metric -> unit) and what the sweep asked.
    Raises: SweepError where there is no sweep.

    >>> import thpsweep
    >>> table = thpsweep.load(example_sweep)
    >>> table[["policy", "sharing.degree", "cost/pte_updates"]]
        policy  sharing.degree  cost/pte_updates
    0  inplace               2            2048.0
    1   switch               2            1024.0
    2  inplace             195          199680.0
    3   switch             195           99840.0
    >>> table.attrs["units"]["cost/pte_updates"]
    'ptes'
    """
    from thpsweep.answers.analysis.tidy import tidy
    from thpsweep.sweep.records import journal

    return tidy(journal.read(Path(sweep)), replicates=replicates)


def simulate(*point: Any) -> dict[str, Any]:
    """Simulate one point, given as overrides in Hydra's words or as the dict that a journal has of it.

    Objects among them are options, of a class of your own or of one that ships: a mechanism, gate, metric, ...
    Gives what the journal would hold of it: metrics (mean, low, high), replicates, series, outcomes, facts, units.
    Raises: ThpsweepError for a point that cannot run.

    >>> import thpsweep
    >>> scene = ("workload=prefork", "workload.regions=1", "workload.hot_regions=0", "sharing.degree=195")
    >>> run = thpsweep.simulate(*scene, "policy=switch")
    >>> run["metrics"]["cost/pte_updates"]["mean"], run["units"]["cost/pte_updates"]
    (99840.0, 'ptes')
    >>> from thpsweep.model.mechanisms.inplace import Inplace
    >>> thpsweep.simulate(*scene, Inplace())["metrics"]["cost/pte_updates"]["mean"]
    199680.0
    """
    from thpsweep.model.setting import check
    from thpsweep.model.simulate import simulate as simulated

    given = _point(point)
    check(given)
    return simulated(given)


def compare(policies: Sequence[Any], *scene: Any, metrics: Sequence[str] = COMPARED) -> "pd.DataFrame":
    """Simulate policies on the same events: one row each, with means, and paired differences to the first of them.

    policies: names, overrides (`policy=copy policy.trigger.callers=root`), or objects as simulate() takes them. A metric m
    has its mean in column m, what it is more than the first policy's in m_more, the ends of its 95 % interval in
    m_more_low and m_more_high. Raises: ThpsweepError for a point that cannot run.

    >>> import thpsweep
    >>> scene = ("workload=prefork", "workload.regions=1", "workload.hot_regions=0", "sharing.degree=4")
    >>> table = thpsweep.compare(["inplace", "switch"], *scene, metrics=["cost/pte_updates"])
    >>> table[["cost/pte_updates", "cost/pte_updates_more"]]
             cost/pte_updates  cost/pte_updates_more
    policy
    inplace            4096.0                    0.0
    switch             2048.0                -2048.0
    """
    import numpy as np
    import pandas as pd

    from thpsweep.answers.analysis.paired import difference, estimate

    results = [simulate(*scene, *_chosen(policy)) for policy in policies]
    rows = []
    for policy, result in zip(policies, results, strict=True):
        row: dict[str, Any] = {"policy": policy if isinstance(policy, str) else repr(policy)}
        for metric in metrics:
            if metric not in result["replicates"]:
                known = ", ".join(result["replicates"])
                raise ThpsweepError(f"compare(): no metric {metric!r}; expected one of {known}")
            mine, first = (np.array(one["replicates"][metric]) for one in (result, results[0]))
            more = difference(mine, first)
            row |= {metric: estimate(mine).mean, f"{metric}_more": more.mean}
            row |= {f"{metric}_more_low": more.low, f"{metric}_more_high": more.high}
        rows.append(row)
    return pd.DataFrame(rows).set_index("policy")


def _chosen(policy: Any) -> list[Any]:
    """Give the overrides of a policy: of its name, of a line of them, or the object itself."""
    if not isinstance(policy, str):
        return [policy]
    return policy.split() if "=" in policy else [f"policy={policy}"]


def _point(given: tuple[Any, ...]) -> "Point":
    """Put objects into the point that the overrides, or the dict, make. Raises: ThpsweepError."""
    from thpsweep.model import registry

    objects = [one for one in given if dataclasses.is_dataclass(one) and not isinstance(one, type)]
    rest = tuple(one for one in given if not any(one is other for other in objects))
    made: Any = copy.deepcopy(rest[0]) if len(rest) == 1 and isinstance(rest[0], Mapping) else composed(rest)
    for one in objects:
        try:
            group, spec = registry.adopt(one)
        except ValueError as error:
            raise ThpsweepError(f"{type(one).__name__}: expected {error}") from error
        if group in ("mechanism", "trigger", "gate"):
            name = {"name": spec[registry.KIND]} if group == "mechanism" else {}
            made = {**made, "policy": {**made["policy"], group: spec, **name}}
        elif group == "metric":
            made = {**made, "metrics": {**made.get("metrics", {}), spec[registry.KIND]: spec}}
        else:
            made = {**made, group: spec}
    return cast("Point", made)


@contextlib.contextmanager
def _beside_any_other() -> Iterator[None]:
    """Leave the Hydra that a notebook has initialized for itself as it is: there can be one at a time."""
    from hydra.core.global_hydra import GlobalHydra

    others, GlobalHydra.instance().hydra = GlobalHydra.instance().hydra, None
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = others


def composed(overrides: tuple[Any, ...]) -> "Point":
    """Give the point that overrides make, as the command line would. Raises: ThpsweepError for what it refuses."""
    from hydra import compose, initialize_config_dir

    from thpsweep.config.explain import explain
    from thpsweep.config.files import only_values
    from thpsweep.config.point import point_of
    from thpsweep.config.register import hydra_defaults, register
    from thpsweep.shipped import conf_dir
    from thpsweep.sweep.planning.where import as_override

    if not all(isinstance(one, str) for one in overrides):
        raise ThpsweepError("simulate(): expected overrides like 'sharing.degree=16', or one point as a dict")
    register()
    try:
        with _beside_any_other(), only_values(), initialize_config_dir(str(conf_dir()), **hydra_defaults()):
            return point_of(compose("config", overrides=[as_override(one) for one in overrides]))
    except Exception as error:
        line = None if isinstance(error, ThpsweepError) else explain(error)
        if line is None:
            raise
        raise ThpsweepError(line) from error
