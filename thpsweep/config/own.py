"""Options of a user's own: their schema, the values of the YAML file beside them, and a policy of each mechanism."""

import dataclasses
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from thpsweep.config.explain import explain, first_line
from thpsweep.config.files import place, values_of
from thpsweep.errors import PluginError, ThpsweepError
from thpsweep.model import plugins, registry


def with_values(name: str, node: DictConfig) -> DictConfig:
    """Give an option of the user's own the values of the YAML file beside it. Raises: ThpsweepError where some lack."""
    loaded = plugins.LOADED.get(name)  # none for a class of a notebook's
    file = Path(loaded.path).with_suffix(".yaml") if loaded else None
    if file is None or not file.is_file():
        return node
    values = values_of(file)
    known = [field.name for field in dataclasses.fields(cast(Any, OmegaConf.get_type(node)))]
    for key in values:
        if key not in known:
            raise ThpsweepError(f"{place(file, key)}: {key}: no option of {name}.py; expected {_near(key, known)}")
    try:
        merged = cast(DictConfig, OmegaConf.merge(node, values))
    except OmegaConfBaseException as error:
        raise ThpsweepError(f"{place(file, error.full_key or '')}: {explain(error)}") from error
    if missing := sorted(map(str, OmegaConf.missing_keys(merged))):
        lines = ", ".join(f"`{key}: VALUE`" for key in missing)
        raise ThpsweepError(f"{file}: no value of {', '.join(missing)}; expected {lines}, or a default in {name}.py")
    return merged


def _near(key: str, known: Sequence[str]) -> str:
    """Name the keys that one may have meant; all of them where none is like it."""
    near = difflib.get_close_matches(key, known, cutoff=0.5)
    return f"{' or '.join(near)}?" if near else f"one of {', '.join(known)}"


def spec_of_own(group: str, name: str) -> dict[str, Any]:
    """Give the spec that an option of the user's own has without any override. Raises: PluginError, OptionError."""
    cls = registry.options(group)[name]
    node = with_values(name, structured(name, cls))
    if missing := sorted(map(str, OmegaConf.missing_keys(node))):
        raise PluginError(plugins.LOADED[name].path, f"{name}.yaml beside it, or defaults, of {', '.join(missing)}")
    return registry.spec(OmegaConf.to_object(node))


def policy_of(mechanism: str) -> dict[str, Any]:
    """Make a policy of a user's own mechanism, called like it, as the shipped ones have each a file."""
    parts = [{"mechanism": mechanism}, {"trigger": "madvise"}, {"gate": "always"}, "_self_"]
    return {"defaults": parts, "name": mechanism}


def structured(name: str, option: type) -> DictConfig:
    """Make a schema of an option's fields. Raises: PluginError for a user's own of a type that no override could give."""
    try:
        made: DictConfig = OmegaConf.structured(option)
    except OmegaConfBaseException as error:
        if name not in plugins.LOADED:
            raise
        expected = "fields of type int, float, bool, str, list or dict, with defaults of that type"
        raise PluginError(plugins.LOADED[name].path, f"{expected} ({first_line(error)})") from error
    return made
