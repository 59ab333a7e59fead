"""Machine profiles as files: the YAML of conf/machine/ read without Hydra, the source behind each figure included."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from thpsweep.errors import ThpsweepError
from thpsweep.model import registry
from thpsweep.model.machines.profile import Profile
from thpsweep.shipped import machine_file

KINDS = ("measured", "derived", "documented", "assumed")
"""How a figure can be known. derived: arithmetic on measured figures. documented: read from the CPU or a manual."""

_LINE = re.compile(r"^(?P<key>\w+): *(?P<value>[^#\n]*?) *# *(?P<text>\S.*)$")
_FIRST_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Source:
    """Where a figure comes from: one of KINDS, and all that its line says."""

    kind: str
    text: str

    @property
    def is_assumed(self) -> bool:
        """Whether any part of it is an assumption."""
        return "assumed" in self.text or self.kind == "assumed"

    @property
    def is_inferred(self) -> bool:
        """Whether it is inferred from counts of instructions: no hardware has timed it."""
        return self.text.startswith("derived from instruction counts")

    @property
    def about(self) -> str:
        """What the line says beside the kind."""
        word, colon, rest = self.text.partition(":")
        return rest.strip() if colon and word in KINDS else self.text


def sources(file: Path) -> dict[str, Source]:
    """Read where the figures of a profile come from: the comments behind them. Raises: ThpsweepError."""
    is_figure = {key for key, value in figures(file).items() if is_number(value)}
    lines = map(_LINE.match, file.read_text(encoding="utf-8").splitlines())
    return {line["key"]: _source(line["text"]) for line in lines if line and line["key"] in is_figure}


def _source(text: str) -> Source:
    first = _FIRST_WORD.match(text)
    return Source(first[0] if first and first[0] in KINDS else "documented", text)


def figures(file: Path) -> dict[str, Any]:
    """Read the values of a profile. Raises: ThpsweepError."""
    expected = f"{file}: expected a machine profile, with the keys of conf/machine/*.yaml"
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ThpsweepError(f"{expected} ({str(error).splitlines()[0]})") from error
    if not isinstance(found, dict):
        raise ThpsweepError(expected)
    return {str(key): value for key, value in found.items() if key != "defaults"}


def load(file: Path) -> Profile:
    """Read and check a profile. Raises: ThpsweepError naming the file; OptionError naming the key."""
    made = registry.build("machine", {"kind": "profile", **figures(file)})
    assert isinstance(made, Profile)
    return made


def default_file() -> Path:
    """Find the profile that is used where none is named."""
    return machine_file("", None)


def is_number(value: object) -> bool:
    """Tell numbers from words and from yes and no."""
    return isinstance(value, int | float) and not isinstance(value, bool)
