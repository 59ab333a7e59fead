"""Captured layouts: those that ship with the package, and files of a user's own."""

import functools
from pathlib import Path

from thpsweep.errors import OptionError
from thpsweep.model.layout import Layout, content_hash

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
"""Captured layouts that ship with the package; a path may name one of them without its folder and ending."""


def samples() -> list[str]:
    """List the captured layouts that ship with the package."""
    return sorted(file.stem for file in SAMPLES.glob("*.npz"))


def check_name(key: str, path: object) -> None:
    """Refuse what cannot name a file."""
    if not isinstance(path, str) or not path:
        raise OptionError(key, path, "a captured file, or one of " + ", ".join(samples()))


def find(key: str, path: str) -> Path:
    """Find a captured file by path or by a sample's name. Raises: OptionError where there is none."""
    shipped = SAMPLES / f"{path}.npz"
    found = shipped if shipped.is_file() and path in samples() else Path(path).expanduser()
    if not found.is_file():
        raise OptionError(key, path, "an existing file, or one of " + ", ".join(samples()))
    return found


def load(file: Path) -> Layout:
    """Read a captured file; one that has not changed is read once. Raises: CaptureError."""
    return _load(str(file), content_hash(file))


@functools.lru_cache(maxsize=4)
def _load(path: str, sha256: str) -> Layout:
    del sha256
    return Layout.load(Path(path))
