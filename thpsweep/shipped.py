"""What ships as a file: conf/ and its options. Each is found by name wherever a file of its kind is asked for."""

from pathlib import Path
from typing import Any

from thpsweep.errors import ThpsweepError

DEFAULT_MACHINE = "milan_vm"


def conf_dir() -> Path:
    """Find the conf/ that belongs to this code: inside the package in a wheel, beside it in a checkout."""
    here = Path(__file__).absolute().parent
    for found in (here / "conf", here.parent / "conf"):
        if (found / "config.yaml").is_file():
            return found
    raise ThpsweepError(f"no conf/config.yaml beside or inside {here}: the installation is incomplete")


def options(group: str) -> list[str]:
    """List the options of a group that ship."""
    return sorted(file.stem for file in (conf_dir() / group).glob("*.yaml"))


def option_file(group: str, name: str) -> Path | None:
    """Find the file of an option that ships; None where none has the name."""
    return conf_dir() / group / f"{name}.yaml" if name in options(group) else None


def option(group: str, name: str) -> dict[str, Any]:
    """Read the values of an option that ships, its defaults list aside."""
    import yaml  # few commands read a file without Hydra

    file = conf_dir() / group / f"{name}.yaml"
    content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return {key: value for key, value in content.items() if key != "defaults"}


def machine_file(flag: str, given: str | None) -> Path:
    """Find a machine profile by path, or by the name of one that ships; the default one where none is given.

    Raises: ThpsweepError where there is none.
    """
    name = given or DEFAULT_MACHINE
    file = option_file("machine", name) or Path(name).expanduser()
    if not file.is_file():
        raise ThpsweepError(f"{flag} {given}: expected an existing file, or one of {', '.join(options('machine'))}")
    return file
