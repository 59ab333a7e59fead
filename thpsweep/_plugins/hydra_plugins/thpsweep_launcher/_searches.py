"""Between Hydra's sweepers and our searches: intervals become axes, everything else combinations."""

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override
from omegaconf import DictConfig, OmegaConf

from thpsweep.config.plan import plan_of
from thpsweep.errors import OptionError, SweepError
from thpsweep.sweep.planning.axes import Job, zips
from thpsweep.sweep.planning.plan import Plan
from thpsweep.sweep.planning.search import Search
from thpsweep.sweep.search import breakeven as search_breakeven
from thpsweep.sweep.search import pareto as search_pareto

from ._compose import Composer
from ._overrides import jobs
from ._points import Planner

INTERVAL = "KEY=interval(LOW,HIGH) or KEY=tag(log,interval(LOW,HIGH))"


def planner(kind: str, options: Mapping[str, Any]) -> Planner:
    """Check the options of a search, and plan with them; what is not given is as it is for its sweeper."""
    from . import SEARCHES

    if kind not in SEARCHES:
        raise OptionError("hydra.sweeper.search", kind, "null, " + " or ".join(SEARCHES))
    defaults = OmegaConf.create({"hydra": {"sweeper": {"options": OmegaConf.structured(SEARCHES[kind])}}})
    merged = OmegaConf.merge(defaults, {"hydra": {"sweeper": {"options": dict(options)}}})
    every: Any = OmegaConf.to_container(merged.hydra.sweeper.options)
    made: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in every.items()}
    for name in ("_target_", "params"):
        del made[name]
    if kind == "pareto":
        return functools.partial(pareto, search_pareto.ParetoOptions(**made))
    return functools.partial(breakeven, search_breakeven.BreakevenOptions(**made))


def breakeven(
    options: search_breakeven.BreakevenOptions, master: DictConfig, overrides: Sequence[Override], composer: Composer
) -> Plan:
    """Plan a search along the one interval, for each combination of the other values."""
    intervals, others = _parted(overrides)
    if len(intervals) != 1:
        named = ", ".join(intervals) or "none"
        raise SweepError(f"hydra/sweeper=breakeven: {named}; expected one {INTERVAL}, the axis to bisect")
    ((key, bounds),) = intervals.items()
    combinations = jobs(others, zips(OmegaConf.to_object(master.sweep.zip)))
    return _plan(master, composer, search_breakeven.breakeven(key, bounds, combinations, composer.point, options))


def pareto(
    options: search_pareto.ParetoOptions, master: DictConfig, overrides: Sequence[Override], composer: Composer
) -> Plan:
    """Plan a search over all intervals, and over the values of all other swept keys."""
    if master.sweep.zip:
        raise OptionError("sweep.zip", OmegaConf.to_object(master.sweep.zip), "nothing for hydra/sweeper=pareto")
    intervals, others = _parted(overrides)
    choices = [override for override in others if override.is_sweep_override()]
    if not intervals and not choices:
        raise SweepError(
            f"hydra/sweeper=pareto: nothing to search; expected {INTERVAL}, and KEY=A,B,... to choose from"
        )
    (job,) = jobs([override for override in others if not override.is_sweep_override()])
    found = [_choice(override) for override in choices]
    return _plan(master, composer, search_pareto.pareto(job, intervals, found, composer.point, options))


def _choice(override: Override) -> search_pareto.Choice:
    key = override.get_key_element()
    each = {job.overrides[0].partition("=")[2]: job.overrides[0] for job in jobs([override])}
    ((label, _),) = jobs([override])[0].varied.items()
    return search_pareto.Choice(key.lstrip("+"), label, each)


def _parted(overrides: Sequence[Override]) -> tuple[dict[str, tuple[float, float, bool]], list[Override]]:
    """Part intervals, (low, high, on a log scale) by key, from the rest; of one key the last override counts."""
    last = {override.get_key_element().lstrip("+"): override for override in overrides}
    intervals: dict[str, tuple[float, float, bool]] = {}
    for key, override in last.items():
        value = override.value()
        if isinstance(value, IntervalSweep):
            if value.tags - {"log"}:
                text = (override.input_line or "").partition("=")[2]
                raise OptionError(key, text, f"{INTERVAL}; not the tag {min(value.tags - {'log'})}")
            assert value.start is not None and value.end is not None
            intervals[key] = (float(value.start), float(value.end), "log" in value.tags)
    return intervals, [override for key, override in last.items() if key not in intervals]


def _plan(master: DictConfig, composer: Composer, search: Search) -> Plan:
    """Make a plan around a search: all of it but the points is as for a grid."""
    if master.sweep.where is not None:
        raise OptionError("sweep.where", master.sweep.where, "null for a search, which chooses its points itself")
    for key in ("grids", "if_exists"):
        if master.sweep[key]:
            raise OptionError(f"sweep.{key}", OmegaConf.to_object(master.sweep[key]), "nothing for a search")
    first = search.points[0]
    plan = plan_of(master, master.hydra, [Job(first.overrides, {})], composer.point)
    typed = [text for text in map(str, master.hydra.overrides.hydra) if re.match(r"\+*hydra[./]sweeper\b", text)]
    return dataclasses.replace(
        plan,
        overrides=(*typed, *plan.overrides),  # with the sweeper's own, so that they repeat the search
        points=tuple(search.points),
        n_jobs=len(search.points),
        id_of={},
        search=search,
    )
