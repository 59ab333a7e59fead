"""A member from a file outside the package is one of its family, known by its content; what is none is refused."""

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.model.points import point
from thpsweep.errors import OptionError, PluginError
from thpsweep.model import plugins, registry
from thpsweep.model.simulate import simulate
from thpsweep.sweep.records.point import point_id

GATE = """
import dataclasses
import numpy as np
from thpsweep.model.gates.base import Gate

@dataclasses.dataclass
class FirstOnes(Gate):
    n: int = 1

    def allow(self, state, proposal):
        return np.arange(proposal.rows.size) < self.n
"""
EMPTY = {"kind": "first_ones", "n": 0}


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget afterwards what a test has loaded."""
    monkeypatch.setattr(plugins, "LOADED", {})
    monkeypatch.setattr(registry, "_ADDED", {family: {} for family in registry.GROUPS})
    yield
    for name in [name for name in sys.modules if name.startswith(plugins.PACKAGE)]:
        del sys.modules[name]


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    file = tmp_path / "first_ones.py"
    file.write_text(GATE)
    return file


def load(file: Path) -> plugins.Plugin:
    plugin = plugins.read(str(file))
    plugins.load(plugin)
    return plugin


def with_gate(gate: dict[str, Any]) -> dict[str, Any]:
    plain = point("inplace")
    return {**plain, "policy": {**plain["policy"], "gate": registry.spec(registry.build("gate", gate))}}


def test_member_is_one_of_its_family_and_acts(gate: Path) -> None:
    load(gate)
    assert "first_ones" in registry.options("gate") and "first_ones" not in registry.options("mechanism")
    collapses = [
        simulate(with_gate(spec))["metrics"]["benefit/lru_entries_removed"] for spec in (EMPTY, {"kind": "always"})
    ]
    assert collapses[0]["mean"] == 0 < collapses[1]["mean"]


def test_changed_file_makes_another_point(gate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = []
    for text in (GATE, GATE + "# changed\n", GATE):
        monkeypatch.setattr(plugins, "LOADED", {})
        monkeypatch.setattr(registry, "_ADDED", {family: {} for family in registry.GROUPS})
        gate.write_text(text)
        load(gate)
        ids.append([point_id(with_gate(spec)) for spec in (EMPTY, {"kind": "always"})])
    assert ids[0] == ids[2]
    assert ids[0][0] != ids[1][0] and ids[0][1] == ids[1][1]


def test_hash_reaches_a_member_that_is_an_option_of_another(gate: Path) -> None:
    plugin = load(gate)
    spec = with_gate({"kind": "all_of", "gates": [{"kind": "always"}, EMPTY]})["policy"]["gate"]
    assert [inner.get("plugin") for inner in spec["gates"]] == [None, plugin.sha256] and "plugin" not in spec
    assert registry.spec(registry.build("gate", spec)) == spec


def test_point_of_another_file_is_refused(gate: Path) -> None:
    load(gate)
    with pytest.raises(OptionError, match=r"gate\.plugin"):
        registry.build("gate", {**EMPTY, "plugin": "0" * 64})
    with pytest.raises(OptionError, match=r"gate\.plugin"):
        registry.build("gate", {"kind": "always", "plugin": "0" * 64})


def test_function_takes_its_plugins_along(gate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert plugins.carrying(simulate) is simulate
    load(gate)
    travelled = pickle.loads(pickle.dumps(plugins.carrying(registry_names)))
    monkeypatch.setattr(plugins, "LOADED", {})
    monkeypatch.setattr(registry, "_ADDED", {family: {} for family in registry.GROUPS})
    assert "first_ones" in travelled({}) and "first_ones" in travelled({})


def registry_names(point: dict[str, Any]) -> list[str]:
    return list(registry.options("gate"))


def test_same_text_twice_is_one_member(gate: Path) -> None:
    load(gate)
    load(gate)
    gate.write_text(GATE + "#\n")
    with pytest.raises(PluginError, match="one file of a name"):
        load(gate)


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("missing.py", None, "can be read"),
        ("not-a-name.py", GATE, "NAME.py"),
        ("gate.txt", GATE, "NAME.py"),
        ("broken.py", "def (", "line 1: SyntaxError"),
        ("raises.py", "\nimport nowhere_to_be_found", "line 2: ModuleNotFoundError"),
        ("exits.py", "raise SystemExit(0)", "line 1: SystemExit"),
        ("empty.py", "x = 1", "exactly one public dataclass"),
        ("two.py", GATE + GATE.replace("FirstOnes", "Second"), "FirstOnes, Second"),
        ("stranger.py", "import dataclasses\n@dataclasses.dataclass\nclass A:\n    n: int", "derives from one of"),
        ("always.py", GATE, "always is taken"),
        ("reserved.py", GATE.replace("n: int", "kind: int"), "a field called kind"),
        ("abstract.py", GATE.replace("def allow", "def other"), "allow"),
        ("binary.py", "\udcff", "can be read"),
    ],
)
def test_what_is_no_member_is_refused_in_one_line(tmp_path: Path, name: str, text: str | None, wanted: str) -> None:
    if text is not None:
        (tmp_path / name).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(PluginError, match=wanted) as raised:
        load(tmp_path / name)
    assert "\n" not in str(raised.value) and name in str(raised.value)
    assert all(not added for added in registry._ADDED.values()) and not plugins.LOADED
