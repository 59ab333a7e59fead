"""An option of a group that a user wrote in a file outside the package: read it, tell it by its content, carry it.

Only the command line and the environment name such a file; a YAML file cannot. It is one module like those in a group's
folder, and its name is the option's. Its text travels with the points to the workers, which may be on other machines.
"""

import dataclasses
import functools
import hashlib
import reprlib
import sys
import traceback
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from thpsweep.errors import PluginError
from thpsweep.model import registry

Function = Callable[[Sequence[dict[str, Any]]], Sequence[Any]]

PACKAGE = "thpsweep_plugins"
"""Where the modules stand in sys.modules; there is no such folder."""


@dataclasses.dataclass(frozen=True)
class Plugin:
    """The text of a file, and its name without the ending."""

    name: str
    path: str
    text: str

    @functools.cached_property
    def sha256(self) -> str:
        """Hash the text, which tells a changed file from what it was."""
        return hashlib.sha256(self.text.encode()).hexdigest()


LOADED: dict[str, Plugin] = {}
"""What this process has loaded, by name. As with modules, there is one of a name in a process."""


def read(path: str) -> Plugin:
    """Read a file. Raises: PluginError."""
    name = Path(path).stem
    if Path(path).suffix != ".py" or not name.isidentifier():
        raise PluginError(path, "NAME.py, a Python file that is named for its option")
    try:
        return Plugin(name, path, Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise PluginError(path, f"a file that can be read ({error})") from error


def load(plugin: Plugin) -> str:
    """Run the file, add its option to its group, and name that; the same text a second time changes nothing.

    Raises: PluginError where it cannot be run, does not define one option, or has a name that is taken.
    """
    if plugin.name in LOADED:
        if LOADED[plugin.name].sha256 != plugin.sha256:
            raise PluginError(plugin.path, f"one file of a name; {plugin.name} is {LOADED[plugin.name].path} already")
        return registry.group_of_added(plugin.name)
    module = _run(plugin)
    try:
        group = registry.add(plugin.name, registry.option_of(module), plugin.sha256)
    except ValueError as error:
        del sys.modules[module.__name__]
        raise PluginError(plugin.path, str(error)) from error
    LOADED[plugin.name] = plugin
    return group


def _run(plugin: Plugin) -> types.ModuleType:
    module = types.ModuleType(f"{PACKAGE}.{plugin.name}")
    module.__file__ = plugin.path
    sys.modules[module.__name__] = module  # where dataclasses look up what annotations name
    try:
        exec(compile(plugin.text, plugin.path, "exec"), vars(module))
    except (Exception, SystemExit) as error:
        del sys.modules[module.__name__]
        line = error.lineno if isinstance(error, SyntaxError) else traceback.extract_tb(error.__traceback__)[-1].lineno
        problem = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
        expected = f"a module that can be run (line {line}: {type(error).__name__}: {problem})"
        raise PluginError(plugin.path, expected) from error
    return module


MOST_VALUES = 8
"""Values that are told of the place where a plugin failed."""


def located(error: BaseException) -> str:
    """Give an error's message; where it came through a plugin, with " at FILE:LINE in FUNCTION() (name=value, ...)"."""
    paths = {plugin.path for plugin in LOADED.values()}
    frames = [
        (frame, line) for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename in paths
    ]
    if not frames:
        return str(error)
    frame, line = frames[-1]
    values = {name: value for name, value in frame.f_locals.items() if not name.startswith("__")}
    told = ", ".join(f"{name}={_short(value)}" for name, value in list(values.items())[:MOST_VALUES])
    problem = " ".join(str(error).split())
    return f"{problem} at {frame.f_code.co_filename}:{line} in {frame.f_code.co_name}() ({told})"


def _short(value: object) -> str:
    """Write a value in a few characters; of an array its type, shape, and ends."""
    if isinstance(value, np.ndarray):
        ends = f", {value.min()}..{value.max()}" if value.size and value.dtype.kind in "iuf" else ""
        return f"{value.dtype}{list(value.shape)}{ends}"
    if isinstance(value, bool | int | float | str | None):
        return reprlib.repr(value)
    return f"<{type(value).__name__}>"


@dataclasses.dataclass(frozen=True)
class Carrying:
    """A function of points that takes along the plugins which they may name, wherever it is called."""

    function: Function
    plugins: tuple[Plugin, ...]

    def __call__(self, points: Sequence[dict[str, Any]]) -> Sequence[Any]:
        prepare(self)
        return self.function(points)


def prepare(function: Function) -> None:
    """Load what a function has taken along: from then on points that name it can be looked at. Raises: PluginError."""
    if isinstance(function, Carrying):
        for plugin in function.plugins:
            load(plugin)


def carrying(function: Function) -> Function:
    """Make a function fit for another process: there it first loads what this process has loaded."""
    return Carrying(function, tuple(LOADED.values())) if LOADED else function
