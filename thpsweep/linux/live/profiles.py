"""Machine profiles as files: the YAML of conf/machine/ read without Hydra."""

from pathlib import Path
from typing import Any

import yaml

from thpsweep.errors import LiveError
from thpsweep.model import registry
from thpsweep.model.machines.profile import Profile

_NAME = "milan_vm.yaml"


def default_file() -> Path:
    """Find the profile that ships: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).absolute().parents[2]
    found = (top / "conf" / "machine" / _NAME for top in (package, package.parent))
    file = next((path for path in found if path.is_file()), None)
    if file is None:
        raise LiveError(f"no conf/machine/{_NAME} beside or inside {package}: the installation is incomplete")
    return file


def load(path: Path) -> Profile:
    """Read and check a profile. Raises: LiveError naming the file; OptionError naming the key."""
    try:
        found = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise LiveError(f"{path}: not a machine profile ({str(error).splitlines()[0]})") from error
    if not isinstance(found, dict):
        raise LiveError(f"{path}: not a machine profile: allowed are the keys of conf/machine/{_NAME}")
    fields: dict[str, Any] = {str(key): value for key, value in found.items() if key != "defaults"}
    made = registry.build("machine", {"kind": "profile", **fields})
    assert isinstance(made, Profile)
    return made
