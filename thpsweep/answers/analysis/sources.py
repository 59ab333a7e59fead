"""Where each price comes from: what the machine profile's YAML says behind each figure."""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from thpsweep.errors import ThpsweepError

KINDS = ("measured", "derived", "documented", "assumed", "given in the command", "unknown")
"""How a figure can be known. documented: read from the CPU or a manual. derived: arithmetic on measured figures."""

SUFFIXES = {"_ns": "ns", "_bytes": "bytes"}

_LINE = re.compile(r"^(\w+):\s*([^#]*?)\s*#\s*(.+)$")


@dataclasses.dataclass(frozen=True)
class Source:
    """A figure of the profile, how it is known, and what its line says."""

    key: str
    value: float
    unit: str
    kind: str
    said: str


def sources(machine: Mapping[str, Any], file: Path | None) -> list[Source]:
    """Explain each figure of a point's machine by the profile that it was taken from.

    Raises: ThpsweepError where the file is no profile.
    """
    lines = dict(_lines(file)) if file else {}
    found = []
    for key, value in machine.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            kind, said = _known(value, lines.get(key), file)
            unit = next((unit for suffix, unit in SUFFIXES.items() if key.endswith(suffix)), "")
            found.append(Source(key, float(value), unit, kind, said))
    return found


def profile_file(name: str) -> Path | None:
    """Find a profile that ships by its name: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).absolute().parents[2]
    places = (top / "conf" / "machine" / f"{name}.yaml" for top in (package, package.parent))
    return next((path for path in places if path.is_file()), None)


def _known(value: float, line: tuple[float, str] | None, file: Path | None) -> tuple[str, str]:
    if file is None:
        return "unknown", "the profile does not ship: thpsweep report SWEEP --machine FILE.yaml explains it"
    if line is None:
        return "unknown", f"nothing said in {file.name}"
    if line[0] != value:
        return "given in the command", f"instead of {line[0]:g} ({line[1]})"
    word, _, rest = line[1].partition(":")
    if word in KINDS and rest:
        return word, rest.strip()
    return (word, line[1]) if word in KINDS else ("documented", line[1])


def _lines(file: Path) -> Iterator[tuple[str, tuple[float, str]]]:
    try:
        text = file.read_text(encoding="utf-8")
        values = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        raise ThpsweepError(
            f"--machine {file}: expected a machine profile ({str(problem).splitlines()[0]})"
        ) from problem
    if not isinstance(values, dict):
        raise ThpsweepError(f"--machine {file}: expected a machine profile, with a source behind each figure")
    for line in text.splitlines():
        matched = _LINE.match(line)
        if matched and isinstance(values.get(matched[1]), int | float):
            yield matched[1], (values[matched[1]], matched[3])
