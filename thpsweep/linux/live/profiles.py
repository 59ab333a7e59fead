"""Machine profiles as files: the YAML of conf/machine/ read without Hydra."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from thpsweep.errors import LiveError
from thpsweep.model import registry
from thpsweep.model.machines.profile import Profile

_NAME = "milan_vm.yaml"
_LINE = re.compile(r"^(?P<key>\w+):[^#]*#\s*(?P<text>.+)$")


@dataclass(frozen=True)
class Source:
    """Where a figure comes from: what the comment behind it says first ("measured", "derived", "assumed"), and all of it."""

    kind: str
    text: str

    @property
    def is_assumed(self) -> bool:
        """Whether any part of it is an assumption."""
        return "assumed" in self.text or self.kind == "assumed"


def default_file() -> Path:
    """Find the profile that ships: inside the package in a wheel, beside it in a checkout."""
    return _conf_file("machine", _NAME)


def shipped(group: str, name: str) -> dict[str, Any]:
    """Read the values of an option that ships, its defaults list aside."""
    content: dict[str, Any] = yaml.safe_load(_conf_file(group, f"{name}.yaml").read_text())
    return {key: value for key, value in content.items() if key != "defaults"}


def sources(path: Path) -> dict[str, Source]:
    """Read where the figures of a profile come from: the comments behind them."""
    found = (_LINE.match(line) for line in path.read_text().splitlines())
    return {m["key"]: Source(m["text"].split(":")[0].split(" ")[0].lower(), m["text"]) for m in found if m}


def _conf_file(group: str, name: str) -> Path:
    package = Path(__file__).absolute().parents[2]
    found = (top / "conf" / group / name for top in (package, package.parent))
    file = next((path for path in found if path.is_file()), None)
    if file is None:
        raise LiveError(f"no conf/{group}/{name} beside or inside {package}: the installation is incomplete")
    return file


def load(path: Path) -> Profile:
    """Read and check a profile. Raises: LiveError naming the file; OptionError naming the key."""
    try:
        found = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise LiveError(f"{path}: not a machine profile ({str(error).splitlines()[0]})") from error
    if not isinstance(found, dict):
        raise LiveError(f"{path}: not a machine profile: expected the keys of conf/machine/{_NAME}")
    fields: dict[str, Any] = {str(key): value for key, value in found.items() if key != "defaults"}
    made = registry.build("machine", {"kind": "profile", **fields})
    assert isinstance(made, Profile)
    return made
