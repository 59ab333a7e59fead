"""Files of a user's own, forgotten after each test."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from thpsweep.model import plugins, registry

Load = Callable[[str, str], plugins.Plugin]


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Begin and end without any plugin."""
    monkeypatch.setattr(plugins, "LOADED", {})
    monkeypatch.setattr(registry, "_ADDED", {group: {} for group in registry.GROUPS})
    yield
    for name in [name for name in sys.modules if name.startswith(plugins.PACKAGE)]:
        del sys.modules[name]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Write a file NAME.py and load it."""

    def write_and_load(name: str, text: str) -> plugins.Plugin:
        file = tmp_path / f"{name}.py"
        file.write_text(text)
        plugin = plugins.read(str(file))
        plugins.load(plugin)
        return plugin

    return write_and_load
