"""A result belongs to the code that computed it: an edit of what can change a number changes the key, no other edit does."""

import ast
import shutil
from pathlib import Path

import pytest

import thpsweep
from thpsweep.sweep.records.identity import code_hash, code_id

TOP = Path(thpsweep.__file__).parent
GROUPS = ("workloads", "sharings", "mechanisms", "triggers", "gates", "machines", "memories")


def module_file(name: str) -> Path | None:
    """Find the file of a module of this package."""
    path = TOP.joinpath(*name.split(".")[1:])
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def imported(file: Path) -> set[Path]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return set(filter(None, (module_file(name) for name in names if name.startswith("thpsweep."))))


def reached() -> set[Path]:
    """Follow imports from the simulation and from all options, which are found by scanning their folders."""
    found: set[Path] = set()
    waiting = {
        TOP / "model" / "simulate.py",
        *(file for group in GROUPS for file in (TOP / "model" / group).glob("*.py")),
    }
    while waiting:
        file = waiting.pop()
        found.add(file)
        waiting |= imported(file) - found
    return found


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("copy") / "thpsweep"
    shutil.copytree(TOP, top, ignore=shutil.ignore_patterns("__pycache__", "samples", "*.npz"))
    return top


def test_a_copy_has_the_same_key(copy: Path) -> None:
    assert code_hash(copy) == code_id()


def test_an_edit_changes_the_key_where_it_can_change_a_number_and_nowhere_else(copy: Path) -> None:
    before = code_hash(copy)
    moves = set()
    for file in sorted(copy.rglob("*.py")):
        content = file.read_bytes()
        file.write_bytes(content + b"\n")
        if code_hash(copy) != before:
            moves.add(file.relative_to(copy))
        file.write_bytes(content)
    assert code_hash(copy) == before
    # What says what is wrong computes no number, and plugins have a hash of their own in the point.
    silent = {Path("errors.py"), Path("streams.py"), Path("__init__.py")}
    wanted = {file.relative_to(TOP) for file in reached()} - silent
    assert wanted - moves == set(), "can change a number, but not the key"
    rest = {path for path in moves - wanted if path.name != "__init__.py"}
    assert all(path.parts[0] == "model" for path in rest), rest


def test_a_new_file_and_a_new_name_change_it(copy: Path) -> None:
    before = code_hash(copy)
    new = copy / "model" / "metrics" / "new.py"
    new.write_text("")
    assert code_hash(copy) != before
    new.unlink()
    (copy / "model" / "bits.py").rename(copy / "model" / "bytes.py")
    assert code_hash(copy) != before
    (copy / "model" / "bytes.py").rename(copy / "model" / "bits.py")
    assert code_hash(copy) == before
