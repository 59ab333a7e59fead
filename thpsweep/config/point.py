"""Turn a composed config into checked objects, then into the dict of a point."""

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from thpsweep.config.explain import BASE, unknown_key
from thpsweep.config.schema import GROUPS, PARTS, PolicyConfig, RunConfig, SweepConfig
from thpsweep.errors import OptionError, ThpsweepError
from thpsweep.model import registry
from thpsweep.sweep.records.schema import Point


def point_of(config: DictConfig) -> Point:
    """Turn a composed config into a point: plain JSON types, nothing of `sweep`, which changes no result.

    Raises: OptionError for a value that an option refuses; OmegaConf's errors for keys and types.
    """
    _refuse_unknown_keys(config, "", nested=False)
    nodes = {name: config.get(name) for name in PARTS}
    return made_of({name: part_of(name, node) for name, node in nodes.items()})


def made_of(parts: Mapping[str, Any]) -> Point:
    """Make a point of the parts of a config: all but `sweep`, and `metrics` where there are some of the user's own."""
    left_out = {"sweep"} if parts["metrics"] else {"sweep", "metrics"}
    return cast(Point, {name: part for name, part in parts.items() if name not in left_out})


def part_of(name: str, node: DictConfig | None) -> Any:
    """Check one part of a composed config and turn it into plain JSON types. Raises: as point_of()."""
    if not isinstance(node, DictConfig):
        is_group = name in (*GROUPS, "policy")
        expected = (
            f"one of the options of group {name!r}: {name}=NAME" if is_group else f"{name}.KEY=VALUE; it has to be"
        )
        raise OptionError(name, node, expected)
    if name == "metrics":
        return _own_metrics(node)
    _refuse_unknown_keys(node, f"{name}.")
    made = OmegaConf.to_object(node)
    if isinstance(made, PolicyConfig):
        gate = {"kind": "always"} if made.gate is None else _part_of_policy("gate", made.gate)
        parts = {kind: _part_of_policy(kind, getattr(made, kind)) for kind in ("mechanism", "trigger")}
        return {"name": made.name, **parts, "gate": gate}
    if isinstance(made, RunConfig | SweepConfig):
        return dataclasses.asdict(made)
    if not dataclasses.is_dataclass(made):
        expected = f"a file with `defaults: [{BASE}NAME, _self_]`, which says what it is a variant of"
        raise ThpsweepError(f"{name}: expected {expected}")
    return registry.spec(made)


def _own_metrics(node: DictConfig) -> dict[str, Any]:
    """Turn the options of the user's own metrics into specs, by their names. Raises: ThpsweepError for other keys."""
    known = [name for name in registry.options("metric") if registry.is_added("metric", name)]
    for name in map(str, node):
        if name not in known:
            raise OptionError(
                f"metrics.{name}", node[name], f"a metric of your own: --plugin FILE.py ({known or 'none'})"
            )
    _refuse_unknown_keys(node, "metrics.")
    return {str(name): registry.spec(OmegaConf.to_object(node[name])) for name in node}


def _part_of_policy(kind: str, option: Any) -> Any:
    """Turn an option into its spec; refuse a value in its place, such as the name of an option, which is the group's."""
    if not dataclasses.is_dataclass(option):
        key, names = f"policy/{kind}", ", ".join(registry.options(kind))
        raise OptionError(f"policy.{kind}", option, f"one of the options of group {key!r}: {key}=NAME ({names})")
    return registry.spec(option)


def _refuse_unknown_keys(config: DictConfig, prefix: str, *, nested: bool = True) -> None:
    """Refuse what `+key=value` and `++key=value` added to a schema: nothing would read it."""
    kind = OmegaConf.get_type(config)
    known = [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else None
    for key in map(str, config):
        if known is not None and key not in known:
            raise ThpsweepError(unknown_key(f"{prefix}{key}", config[key], known))
        child = None if not nested or OmegaConf.is_missing(config, key) else config[key]
        if isinstance(child, DictConfig):
            _refuse_unknown_keys(child, f"{prefix}{key}.")
