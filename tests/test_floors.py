"""Who may import whom: a module imports its own floor or lower, and each heavy library has one door."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "thpsweep"
FLOORS = {
    "units": 0,
    "outcomes": 0,
    "errors": 0,
    "streams": 0,
    "model": 1,
    "linux": 2,
    "sweep": 2,
    "answers": 3,
    "config": 4,
    "explain": 4,
    "arguments": 4,
    "application": 4,
    "cli": 4,
    "verbs": 4,
    "api": 4,
    "__main__": 4,
    "_plugins": 4,
}
DOORS = {
    "ray": {"sweep/pool.py"},
    "optuna": {"sweep/search/suggest.py"},
    "mlflow": {"sweep/tracking"},
    "hydra": {"config.py", "explain.py", "application.py", "cli.py", "api.py", "_plugins"},
    "omegaconf": {"config.py", "explain.py", "application.py", "_plugins"},
}
SOURCES = sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """List every module that a file imports, at its top or inside a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # Hydra imports the plugins under another name, so only there a relative import is the full name.
            assert node.level == 0 or "_plugins" in path.parts, f"{path}: import the defining module by its full name"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return names


def room(path: Path) -> str:
    """Name the room of a file: the first part below the package, without the ending."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_room_has_a_floor() -> None:
    assert {room(path) for path in SOURCES} - set(FLOORS) == {"__init__"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    floor = FLOORS.get(room(path), 0)
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "thpsweep" and len(parts) > 1 and parts[1] in FLOORS:
            typed_only = (
                path == PACKAGE / "__init__.py"
            )  # names for type checkers; at run time they are imported when used
            assert typed_only or FLOORS[parts[1]] <= floor, f"{path} (floor {floor}) imports {name}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_libraries_have_one_door(path: Path) -> None:
    place = str(path.relative_to(PACKAGE))
    for name in imported(path):
        allowed = DOORS.get(name.split(".")[0])
        assert allowed is None or any(place == door or place.startswith(f"{door}/") for door in allowed), (
            f"{place}: {name}"
        )


@pytest.mark.parametrize("family", ["workloads", "sharings", "mechanisms", "triggers", "gates", "machines", "metrics"])
def test_members_import_no_other_member_but_what_they_derive_from(family: str) -> None:
    # Variants, by inheritance.
    allowed = {"inplace_pmd": {"inplace"}, "shared_table": {"inplace"}, "switch_pmd": {"switch"}}
    for path in sorted((PACKAGE / "model" / family).glob("*.py")):
        for name in imported(path):
            head = f"thpsweep.model.{family}."
            if name.startswith(head):
                other = name.removeprefix(head).split(".")[0]
                assert other in {"base"} | allowed.get(path.stem, set()), f"{path.name} imports {name}"


@pytest.mark.parametrize("module", ["thpsweep", "thpsweep.cli"])
def test_importing_loads_neither_ray_nor_mlflow(module: str) -> None:
    heavy = ("ray", "mlflow", "hydra", "pandas", "matplotlib") if module == "thpsweep" else ("ray", "mlflow")
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
