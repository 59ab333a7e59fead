"""Where each price of a simulated machine comes from: what the profile's YAML says behind each figure."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thpsweep import profiles

GIVEN, UNKNOWN = "given in the command", "unknown"
KINDS = (*profiles.KINDS, GIVEN, UNKNOWN)
"""How a price can be known: as the profile says, or not from the profile."""

SUFFIXES = {"_ns": "ns", "_bytes": "bytes"}


@dataclasses.dataclass(frozen=True)
class Price:
    """A figure of a simulated machine, how it is known, and what the profile's line says."""

    key: str
    value: float
    unit: str
    kind: str
    about: str


def prices(machine: Mapping[str, Any], file: Path | None) -> list[Price]:
    """Explain each figure of a point's machine by the profile that it was taken from.

    Raises: ThpsweepError where the file is no profile.
    """
    written = profiles.figures(file) if file else {}
    known = profiles.sources(file) if file else {}
    found = []
    for key, value in machine.items():
        if profiles.is_number(value):
            unit = next((unit for suffix, unit in SUFFIXES.items() if key.endswith(suffix)), "")
            kind, about = _known(value, written.get(key), known.get(key), file)
            found.append(Price(key, float(value), unit, kind, about))
    return found


def _known(value: float, written: Any, source: profiles.Source | None, file: Path | None) -> tuple[str, str]:
    if file is None:
        return UNKNOWN, "the profile does not ship: thpsweep report SWEEP --machine FILE.yaml explains it"
    if source is None:
        return UNKNOWN, f"nothing said in {file.name}"
    if written != value:
        return GIVEN, f"instead of {written:g} ({source.text})"
    return source.kind, source.about
