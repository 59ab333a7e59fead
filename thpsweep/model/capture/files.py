"""Captured layouts: those that ship with the package, and files of a user's own."""

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from thpsweep.errors import OptionError
from thpsweep.model.capture.layout import Layout, content_hash

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
"""Captured layouts that ship with the package; a path may name one of them without its folder and ending."""

PROVIDED: dict[str, Layout] = {}
"""Layouts that came with the points, by the path that these name: a worker elsewhere has no such file. One process, one
sweep; as with modules, there is one of a name in a process."""


def samples() -> list[str]:
    """List the captured layouts that ship with the package."""
    return sorted(file.stem for file in SAMPLES.glob("*.npz"))


def check_name(key: str, path: object) -> None:
    """Refuse what cannot name a file."""
    if not isinstance(path, str) or not path:
        raise OptionError(key, path, "a captured file, or one of " + ", ".join(samples()))


def find(key: str, path: str) -> Path:
    """Find a captured file by path or by a sample's name. Raises: OptionError where there is none."""
    if str(Path(path)) in PROVIDED:
        return Path(path)
    shipped = SAMPLES / f"{path}.npz"
    file = shipped if shipped.is_file() and path in samples() else Path(path).expanduser()
    if not file.is_file():
        raise OptionError(key, path, "an existing file, or one of " + ", ".join(samples()))
    return file


def is_same(path: str, sha256: str) -> bool:
    """Tell whether a captured file is still there, and what it was."""
    try:
        file = find("workload.path", path)
    except OptionError:
        return False
    return str(file) not in PROVIDED and content_hash(file) == sha256


def load(file: Path) -> Layout:
    """Read a captured file; one that has not changed is read once. Raises: CaptureError."""
    if str(file) in PROVIDED:
        return PROVIDED[str(file)]
    return _load(str(file), content_hash(file))


@functools.lru_cache(maxsize=4)
def _load(path: str, sha256: str) -> Layout:
    del sha256
    return Layout.load(Path(path))


def named_by(points: Iterable[Mapping[str, Any]]) -> list[str]:
    """List the captured files that points name."""
    parts = (point[part] for point in points for part in ("workload", "sharing"))
    return sorted({part["path"] for part in parts if isinstance(part.get("path"), str)})


def read_attachment(path: str) -> tuple[str, Layout]:
    """Read what a path names, for processes that have no such file: `provide` takes it there. Raises: as find, load."""
    return str(Path(path)), load(find("workload.path", path))


def provide(layouts: Iterable[tuple[str, Layout]]) -> None:
    """Let paths name layouts that came with the points."""
    PROVIDED.update(layouts)
