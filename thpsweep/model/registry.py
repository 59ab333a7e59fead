"""Find the members of a family (workloads, mechanisms, ...) by scanning its folder; turn them into plain dicts and back.

A member is a module in the family's folder that defines one dataclass derived from the family's base; its name is the
module's name. A dict can only name a member that is there: no path, no import string. Members from elsewhere are added by
`plugins.py`, on the command line's word only.
"""

import dataclasses
import functools
import importlib
import inspect
import pkgutil
import types
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

_SHARED = {"base", "pmd_step"}
"""Modules in those folders that define no member, but what several members have in common."""

KIND, PLUGIN = "kind", "plugin"
"""Keys of a spec beside the member's fields: its name, and the hash of the file that it came from, if not ours."""


_ROOTS = {
    "workload": "base.Workload",
    "sharing": "base.Sharing",
    "mechanism": "base.Mechanism",
    "trigger": "base.Trigger",
    "gate": "base.Gate",
    "machine": "profile.Profile",
    "memory": "base.Memory",
}
"""What the members of a family derive from, in its folder."""

_ADDED: dict[str, dict[str, tuple[type, str]]] = {family: {} for family in FAMILIES}
"""Members from outside the package, by family and name, each with the hash of its source."""


def members(family: str) -> dict[str, type]:
    """Map each member's name to its dataclass, in alphabetical order."""
    added = {name: cls for name, (cls, _) in _ADDED[family].items()}
    return dict(sorted({**_shipped(family), **added}.items())) if added else _shipped(family)


@functools.cache
def _shipped(family: str) -> dict[str, type]:
    package = importlib.import_module(_FOLDERS[family])
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__) if module.name not in _SHARED)
    return {name: member_of(importlib.import_module(f"{package.__name__}.{name}")) for name in names}


def member_of(module: types.ModuleType) -> type:
    """Find the one public dataclass that a module defines. Raises: ValueError where there is none, or another."""
    own = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and dataclasses.is_dataclass(value) and value.__module__ == module.__name__
        if not value.__name__.startswith("_")
    ]
    if len(own) != 1:
        found = ", ".join(cls.__name__ for cls in own) or "none"
        raise ValueError(f"a module that defines exactly one public dataclass; {module.__name__} defines {found}")
    return own[0]


def add(name: str, member: type, sha256: str) -> None:
    """Add a member from outside the package to the family that it derives from.

    Raises: ValueError where it derives from none, where its name is taken, or where it has an option that specs need.
    """
    roots = {family: _root(family) for family in FAMILIES}
    family = next((family for family, root in roots.items() if issubclass(member, root)), None)
    if family is None:
        known = ", ".join(f"{root.__module__}.{root.__name__}" for root in roots.values())
        raise ValueError(f"a dataclass that derives from one of {known}")
    if name in members(family):
        raise ValueError(f"a name that no {family} has yet; {name} is taken: rename the file")
    for field in dataclasses.fields(member):
        if field.name in (KIND, PLUGIN):
            raise ValueError(f"a dataclass without an option called {field.name}")
    if inspect.isabstract(member):
        missing = sorted(vars(member)["__abstractmethods__"])
        raise ValueError(f"a dataclass that defines {', '.join(missing)}")
    _ADDED[family][name] = (member, sha256)


def is_added(family: str, name: str) -> bool:
    """Tell members from outside the package from those that are shipped."""
    return name in _ADDED[family]


def _root(family: str) -> type:
    module, _, name = _ROOTS[family].partition(".")
    found: type = getattr(importlib.import_module(f"{_FOLDERS[family]}.{module}"), name)
    return found


def build(family: str, spec: Mapping[str, Any]) -> Any:
    """Make a checked member from {"kind": name, **fields}.

    Raises: OptionError for an unknown kind, an unknown or missing field, or a value that the member refuses.
    """
    known = members(family)
    kind = spec.get(KIND)
    if kind not in known:
        raise OptionError(f"{family}.kind", kind, "one of " + ", ".join(known))
    cls = known[kind]
    if PLUGIN in spec and spec[PLUGIN] != _ADDED[family].get(kind, (cls, None))[1]:
        raise OptionError(f"{family}.{PLUGIN}", spec[PLUGIN], f"the hash of the file that {kind} was loaded from")
    fields = {key: value for key, value in spec.items() if key not in (KIND, PLUGIN)}
    names, required = _options(cls)
    for key in fields:
        if key not in names:
            raise OptionError(f"{family}.{key}", fields[key], f"one of the options of {kind}: " + ", ".join(names))
    for name in required:
        if name not in fields:
            raise OptionError(f"{family}.{name}", None, f"required by {kind}")
    return cls(**fields)


@functools.cache
def _options(cls: type) -> tuple[dict[str, None], list[str]]:
    """Name the options of a member, in their order, and those without a default."""
    missing, fields = dataclasses.MISSING, dataclasses.fields(cls)
    required = [each.name for each in fields if each.default is missing and each.default_factory is missing]
    return {field.name: None for field in fields}, required


def spec(member: Any) -> dict[str, Any]:
    """Turn a member into {"kind": name, **fields} of plain JSON types; one of a plugin has the plugin's hash, too."""
    package, _, kind = type(member).__module__.rpartition(".")
    plain = {KIND: kind, **dataclasses.asdict(member)}
    if not any(_ADDED.values()):
        return plain
    shipped = (family for family, folder in _FOLDERS.items() if folder == package)
    family = next(shipped, None) or next(
        f for f, added in _ADDED.items() if added.get(kind, (None,))[0] is type(member)
    )
    signed: dict[str, Any] = _signed(family, plain)
    return signed


def _signed(family: str, value: Any) -> Any:
    """Add the plugin's hash to each spec of an added member, be it an option of another one."""
    if isinstance(value, list):
        return [_signed(family, item) for item in value]
    if not isinstance(value, dict):
        return value
    inner = {key: _signed(family, item) for key, item in value.items()}
    kind = inner.get(KIND)
    return {**inner, PLUGIN: _ADDED[family][kind][1]} if isinstance(kind, str) and is_added(family, kind) else inner
