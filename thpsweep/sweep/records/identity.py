"""Tell whether two processes would compute the same: what the numbers of a point depend on, besides the point."""

import functools
import hashlib
import importlib.metadata
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import thpsweep
from thpsweep.model.simulate import MODEL_VERSION

Identity = dict[str, str]
"""Versions by name; plain text, so that a reader needs none of them."""


COMPUTES = ("model", "outcomes.py", "units.py")
"""What the numbers of a point are computed by: the model, the schema of machine profiles in it, and what it imports."""

COMPUTES_NOTHING = ("model/scenario",)
"""Parts of those that no simulation of a point goes through."""


@functools.cache
def code_id() -> str:
    """Hash the source files that can change a number: part of what identifies a result. Units: 12 hexadecimal digits."""
    return code_hash(Path(thpsweep.__file__).parent)


def code_hash(top: Path) -> str:
    """Hash those of the package in a folder."""
    return _hash(top, [file for name in COMPUTES for file in _python_files(top / name) if _computes(top, file)])


def _computes(top: Path, file: Path) -> bool:
    return not any(file.is_relative_to(top / name) for name in COMPUTES_NOTHING)


def _python_files(path: Path) -> list[Path]:
    return [path] if path.is_file() else list(path.rglob("*.py"))


@functools.cache
def source_hash() -> str:
    """Hash every source file of the package, names included. Units: 12 hexadecimal digits of SHA-256."""
    top = Path(thpsweep.__file__).parent
    return _hash(top, _python_files(top))


def _hash(top: Path, files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in sorted(files):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(top).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def identity() -> Identity:
    """Describe this process. NumPy draws the random numbers and SciPy makes intervals of them."""
    return {
        "Python": "{}.{}".format(*sys.version_info[:2]),
        "thpsweep": thpsweep.__version__,
        "model": MODEL_VERSION,
        "source": source_hash(),
        "numpy": importlib.metadata.version("numpy"),
        "scipy": importlib.metadata.version("scipy"),
    }


def difference(theirs: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    """Say what another process has that this one has not; nothing where both would compute the same."""
    if "problem" in theirs:
        return theirs["problem"]
    unlike = [name for name in wanted if theirs.get(name) != wanted[name]]
    return ", ".join(f"{name} {theirs.get(name, 'unknown')} there and {wanted[name]} here" for name in unlike)
