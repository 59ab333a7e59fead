"""Tell whether two processes would compute the same: what the numbers of a point depend on, besides the point."""

import functools
import hashlib
import importlib.metadata
import sys
from collections.abc import Mapping
from pathlib import Path

import thpsweep
from thpsweep.model.simulate import MODEL_VERSION

Identity = dict[str, str]
"""Versions by name; plain text, so that whoever reads it needs none of them."""


@functools.cache
def source_hash() -> str:
    """Hash every source file of the package, names included. Units: 12 hexadecimal digits of SHA-256."""
    top = Path(thpsweep.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(top.rglob("*.py")):
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


def difference(found: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    """Say what another process has that this one has not; nothing where both would compute the same."""
    if "problem" in found:
        return found["problem"]
    unlike = [name for name in wanted if found.get(name) != wanted[name]]
    return ", ".join(f"{name} {found.get(name, 'unknown')} there and {wanted[name]} here" for name in unlike)
