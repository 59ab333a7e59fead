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
    "shipped": 0,
    "model": 1,
    "profiles": 2,
    "linux": 2,
    "sweep": 2,
    "answers": 3,
    "kit": 3,
    "config": 4,
    "arguments": 4,
    "application": 4,
    "cli": 4,
    "usage": 4,
    "verbs": 4,
    "api": 4,
    "__main__": 4,
    "_plugins": 4,
}
INNER = {
    "model": [
        {"bits", "checks", "registry"},
        {"draws", "plugins"},
        {"state"},
        {"machines"},
        {"mm", "memories"},
        {"capture"},
        {"workloads", "sharings"},
        {"events", "accounting"},
        {"mechanisms", "metrics"},
        {"gates", "collapse"},
        {"triggers"},
        {"setting", "scenario"},
        {"results"},
        {"simulate"},
    ],
    "sweep": [{"records"}, {"tracking"}, {"planning"}, {"local", "search"}, {"ray", "driver"}],
    "answers": [{"analysis"}, {"picture", "terminal"}, {"charts", "advise"}, {"report"}],
    "linux": [
        {"proc"},
        {"live", "prototype"},
        {"activity", "calibrate"},
        {"capture", "validate"},
        {"collapse"},
        {"trial"},
    ],
    "config": [{"schema", "explain", "files"}, {"own", "point", "plan", "recorded"}, {"register"}],
}
"""Inside a room: what stands together in a set does not import each other."""

DOORS = {
    "ray": {"sweep/ray/pool.py", "sweep/ray/start.py"},
    "optuna": {"sweep/search/suggest.py"},
    "mlflow": {"sweep/tracking"},
    "hydra": {"config", "application.py", "cli.py", "api.py", "_plugins"},
    "omegaconf": {"config", "application.py", "_plugins"},
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


def inner(room: str, part: str) -> int | None:
    """Give the floor of a part within its room; None where the part is none of it."""
    return next((floor for floor, parts in enumerate(INNER[room]) if part in parts), None)


@pytest.mark.parametrize("room", INNER)
def test_every_part_of_a_room_has_a_floor(room: str) -> None:
    places = [path.relative_to(PACKAGE).with_suffix("").parts for path in SOURCES]
    parts = {place[1] for place in places if place[0] == room}
    assert parts - {"__init__"} == set().union(*INNER[room])


def upward(path: Path, names: set[str]) -> list[str]:
    """List the imports of a file that go up, or across, inside its room."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    if parts[0] not in INNER or parts[1] == "__init__":
        return []
    head, mine = f"thpsweep.{parts[0]}.", inner(parts[0], parts[1])
    others = {(name, name.removeprefix(head).split(".")[0]) for name in names if name.startswith(head)}
    floors = [(name, part, inner(parts[0], part)) for name, part in others]
    return [name for name, part, floor in floors if floor is not None and part != parts[1] and floor >= (mine or 0)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_inside_a_room_go_down(path: Path) -> None:
    assert upward(path, imported(path)) == []


def test_an_arrow_that_goes_up_or_across_is_found() -> None:
    file = PACKAGE / "model" / "mm" / "rmap.py"
    assert upward(file, {"thpsweep.model.state.family", "thpsweep.model.mm.fault"}) == []
    for name in ("thpsweep.model.mechanisms.copy", "thpsweep.model.memories.base", "thpsweep.model.simulate"):
        assert upward(file, {name}) == [name]


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """Give modules that import each other in a circle, if there are any."""
    left = dict(arrows)
    while leaves := [name for name, targets in left.items() if not targets & left.keys()]:
        for name in leaves:
            del left[name]
    return sorted(left)


def test_no_module_imports_itself_through_others() -> None:
    module = {".".join(("thpsweep", *path.relative_to(PACKAGE).with_suffix("").parts)): path for path in SOURCES}
    arrows = {name: {other for other in imported(path) if other in module} for name, path in module.items()}
    assert circle(arrows) == []
    arrows["thpsweep.model.bits"] = {"thpsweep.model.mm.rmap"}
    assert {"thpsweep.model.bits", "thpsweep.model.mm.rmap"} <= set(circle(arrows))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_libraries_have_one_door(path: Path) -> None:
    place = str(path.relative_to(PACKAGE))
    for name in imported(path):
        allowed = DOORS.get(name.split(".")[0])
        assert allowed is None or any(place == door or place.startswith(f"{door}/") for door in allowed), (
            f"{place}: {name}"
        )


@pytest.mark.parametrize(
    "group",
    ["workloads", "sharings", "memories", "mechanisms", "triggers", "gates", "machines", "metrics"],
)
def test_options_import_no_other_option_but_what_they_derive_from(group: str) -> None:
    # Variants, by inheritance; shared steps.
    allowed = {
        "inplace_pmd": {"inplace", "pmd_step"},
        "shared_table": {"inplace"},
        "switch_pmd": {"switch", "pmd_step"},
        "repricing": {"benefit", "tradeoff"},
        "intervals": {"student"},
    }
    for path in sorted((PACKAGE / "model" / group).glob("*.py")):
        for name in imported(path):
            head = f"thpsweep.model.{group}."
            if name.startswith(head):
                other = name.removeprefix(head).split(".")[0]
                assert other in {"base", "visit"} | allowed.get(path.stem, set()), f"{path.name} imports {name}"


@pytest.mark.parametrize("module", ["thpsweep", "thpsweep.cli"])
def test_importing_loads_neither_ray_nor_mlflow(module: str) -> None:
    heavy = ("ray", "mlflow", "hydra", "pandas", "matplotlib") if module == "thpsweep" else ("ray", "mlflow")
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
