"""Find the members of a family (workloads, mechanisms, ...) by scanning its folder; turn them into plain dicts and back.

A member is a module in the family's folder that defines one dataclass derived from the family's base; its name is the
module's name. Nothing is registered by hand, and a dict can only name a member that is there: no path, no import string.
"""

import dataclasses
import functools
import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from typing import Any

from thpsweep.errors import OptionError

_FOLDERS = {
    "workload": "thpsweep.model.workloads",
    "sharing": "thpsweep.model.sharings",
    "mechanism": "thpsweep.model.mechanisms",
    "trigger": "thpsweep.model.triggers",
    "gate": "thpsweep.model.gates",
    "machine": "thpsweep.model.machines",
    "memory": "thpsweep.model.memories",
}
FAMILIES = tuple(_FOLDERS)
"""Names of the families; a member's key in a point is the family's name."""


@functools.cache
def members(family: str) -> dict[str, type]:
    """Map each member's name to its dataclass, in alphabetical order."""
    package = importlib.import_module(_FOLDERS[family])
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__) if module.name != "base")
    return {name: _member_class(f"{package.__name__}.{name}") for name in names}


def _member_class(module_name: str) -> type:
    module = importlib.import_module(module_name)
    own = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and dataclasses.is_dataclass(value) and value.__module__ == module_name
        if not value.__name__.startswith("_")
    ]
    if len(own) != 1:
        raise TypeError(f"{module_name} must define exactly one public dataclass, found {[c.__name__ for c in own]}")
    return own[0]


def build(family: str, spec: Mapping[str, Any]) -> Any:
    """Make a checked member from {"kind": name, **fields}.

    Raises: OptionError for an unknown kind, an unknown or missing field, or a value that the member refuses.
    """
    known = members(family)
    kind = spec.get("kind")
    if kind not in known:
        raise OptionError(f"{family}.kind", kind, "one of " + ", ".join(known))
    cls = known[kind]
    fields = {key: value for key, value in spec.items() if key != "kind"}
    names = [field.name for field in dataclasses.fields(cls)]
    for key in fields:
        if key not in names:
            raise OptionError(f"{family}.{key}", fields[key], f"one of the options of {kind}: " + ", ".join(names))
    for field in dataclasses.fields(cls):
        has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if field.name not in fields and not has_default:
            raise OptionError(f"{family}.{field.name}", None, f"required by {kind}")
    return cls(**fields)


def spec(member: Any) -> dict[str, Any]:
    """Turn a member into {"kind": name, **fields} of plain JSON types."""
    kind = type(member).__module__.rpartition(".")[2]
    return {"kind": kind, **dataclasses.asdict(member)}
