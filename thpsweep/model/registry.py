"""Find the options of a group (workloads, mechanisms, ...) by scanning its folder; turn them into plain dicts and back.

An option is a module in the group's folder that defines one dataclass derived from the group's base; its name is the
module's name. A dict can only name an option that is there: no path, no import string. Options from elsewhere are added by
`plugins.py`, on the command line's word only.
"""

import dataclasses
import functools
import hashlib
import importlib
import inspect
import pkgutil
import re
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
    "metric": "thpsweep.model.metrics",
}
GROUPS = tuple(_FOLDERS)
"""Names of the groups; an option's key in a point is the group's name."""

_SHARED = {"base", "blocks", "visit", "pmd_step", "intervals", "student", "repricing"}
"""Modules in those folders that define no option, but what several options have in common."""

KIND, PLUGIN = "kind", "plugin"
"""Keys of a spec beside the option's fields: its name, and the hash of the file that it came from, if not ours."""


_ROOTS = {
    "workload": "base.Workload",
    "sharing": "base.Sharing",
    "mechanism": "base.Mechanism",
    "trigger": "base.Trigger",
    "gate": "base.Gate",
    "machine": "profile.Profile",
    "memory": "base.Memory",
    "metric": "base.Metric",
}
"""What the options of a group derive from, in its folder."""

_ADDED: dict[str, dict[str, tuple[type, str]]] = {group: {} for group in GROUPS}
"""Options from outside the package, by group and name, each with the hash of its source."""


def options(group: str) -> dict[str, type]:
    """Map each option's name to its dataclass, in alphabetical order."""
    added = {name: cls for name, (cls, _) in _ADDED[group].items()}
    return dict(sorted({**shipped(group), **added}.items())) if added else shipped(group)


@functools.cache
def shipped(group: str) -> dict[str, type]:
    """Map the names of the options that ship to their dataclasses, in alphabetical order."""
    package = importlib.import_module(_FOLDERS[group])
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__) if module.name not in _SHARED)
    return {name: option_of(importlib.import_module(f"{package.__name__}.{name}")) for name in names}


def option_of(module: types.ModuleType) -> type:
    """Find the one public dataclass that a module defines. Raises: ValueError where there is none, or another."""
    own = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and "__dataclass_fields__" in vars(value) and value.__module__ == module.__name__
        if not value.__name__.startswith("_")
    ]
    plain = [
        value.__name__
        for value in vars(module).values()
        if inspect.isclass(value) and value.__module__ == module.__name__ and "__dataclass_fields__" not in vars(value)
    ]
    if plain and not own:
        raise ValueError(f"@dataclasses.dataclass above class {', '.join(plain)}, which is no dataclass of its own")
    if len(own) != 1:
        names = ", ".join(cls.__name__ for cls in own) or "none"
        raise ValueError(f"a module that defines exactly one public dataclass; {module.__name__} defines {names}")
    return own[0]


def add(name: str, option: type, sha256: str) -> str:
    """Add an option from outside the package to the group that it derives from, and name that.

    Raises: ValueError where it derives from none, where its name is taken, or where it has a field that specs need.
    """
    roots = {group: _root(group) for group in GROUPS}
    group = next((group for group, root in roots.items() if issubclass(option, root)), None)
    if group is None:
        known = ", ".join(f"{root.__module__}.{root.__name__}" for root in roots.values())
        raise ValueError(f"a dataclass that derives from one of {known}")
    if name in options(group):
        raise ValueError(f"a name that no {group} has yet; {name} is taken: rename the file")
    for field in dataclasses.fields(option):
        if field.name in (KIND, PLUGIN):
            raise ValueError(f"a dataclass without a field called {field.name}")
    if inspect.isabstract(option):
        missing = sorted(vars(option)["__abstractmethods__"])
        raise ValueError(f"a dataclass that defines {', '.join(missing)}")
    if hasattr(option, "check_class"):
        option.check_class()
    _ADDED[group][name] = (option, sha256)
    return group


def adopt(option: Any) -> tuple[str, dict[str, Any]]:
    """Take in an object of a user's own class, as a notebook has it, or of one that ships: its group and its spec.

    A class of the same name that was adopted before is replaced by the new one. Raises: ValueError for no option.
    """
    cls = type(option)
    for group, folder in _FOLDERS.items():
        if cls.__module__.startswith(f"{folder}."):
            return group, spec(option)
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
    try:
        text = inspect.getsource(cls)
    except (OSError, TypeError):  # typed at a prompt, where no text is kept
        text = repr(cls)
    for added in _ADDED.values():
        if name in added and added[name][0].__module__ == cls.__module__:
            del added[name]
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    return add(name, cls, sha256), {KIND: name, **dataclasses.asdict(option), PLUGIN: sha256}


def group_of_added(name: str) -> str:
    """Find the group of an option from outside the package."""
    return next(group for group, added in _ADDED.items() if name in added)


def is_added(group: str, name: str) -> bool:
    """Tell options from outside the package from those that are shipped."""
    return name in _ADDED[group]


def _root(group: str) -> type:
    module, _, name = _ROOTS[group].partition(".")
    root: type = getattr(importlib.import_module(f"{_FOLDERS[group]}.{module}"), name)
    return root


def build(group: str, spec: Mapping[str, Any]) -> Any:
    """Make a checked option from {"kind": name, **fields}.

    Raises: OptionError for an unknown kind, an unknown or missing field, or a value that the option refuses.
    """
    known = options(group)
    kind = spec.get(KIND)
    if kind not in known:
        raise OptionError(f"{group}.kind", kind, "one of " + ", ".join(known))
    cls = known[kind]
    if PLUGIN in spec and spec[PLUGIN] != _ADDED[group].get(kind, (cls, None))[1]:
        raise OptionError(f"{group}.{PLUGIN}", spec[PLUGIN], f"the hash of the file that {kind} was loaded from")
    fields = {key: value for key, value in spec.items() if key not in (KIND, PLUGIN)}
    names, required = _fields(cls)
    for key in fields:
        if key not in names:
            raise OptionError(f"{group}.{key}", fields[key], f"one of the fields of {kind}: " + ", ".join(names))
    for name in required:
        if name not in fields:
            raise OptionError(f"{group}.{name}", None, f"required by {kind}")
    return cls(**fields)


@functools.cache
def _fields(cls: type) -> tuple[dict[str, None], list[str]]:
    """Name the fields of an option, in their order, and those without a default."""
    missing, fields = dataclasses.MISSING, dataclasses.fields(cls)
    required = [each.name for each in fields if each.default is missing and each.default_factory is missing]
    return {field.name: None for field in fields}, required


def spec(option: Any) -> dict[str, Any]:
    """Turn an option into {"kind": name, **fields} of plain JSON types; one of a plugin has the plugin's hash, too."""
    package, _, kind = type(option).__module__.rpartition(".")
    plain = {KIND: kind, **dataclasses.asdict(option)}
    if not any(_ADDED.values()):
        return plain
    group = next((group for group, folder in _FOLDERS.items() if folder == package), None)
    if group is None:
        group, plain[KIND] = _added_as(option)
    signed: dict[str, Any] = _signed(group, plain)
    return signed


def _added_as(option: Any) -> tuple[str, str]:
    """Find the group and the name under which a class was added. Raises: ValueError for one that was not."""
    for group, added in _ADDED.items():
        for name, (known, _) in added.items():
            if type(option) is known:
                return group, name
    raise ValueError(f"an option of thpsweep, a plugin or adopt(); {type(option).__name__} is none")


def _signed(group: str, value: Any) -> Any:
    """Add the plugin's hash to each spec of an added option, be it a field of another one."""
    if isinstance(value, list):
        return [_signed(group, item) for item in value]
    if not isinstance(value, dict):
        return value
    inner = {key: _signed(group, item) for key, item in value.items()}
    kind = inner.get(KIND)
    return {**inner, PLUGIN: _ADDED[group][kind][1]} if isinstance(kind, str) and is_added(group, kind) else inner
