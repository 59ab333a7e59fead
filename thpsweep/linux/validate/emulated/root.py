"""The file system of a test machine: this Python with what `thpsweep validate` needs, at the places where it is here."""

import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

import thpsweep
from thpsweep.linux.live.build import actor_binary
from thpsweep.linux.prototype.errors import PrototypeError
from thpsweep.shipped import conf_dir

GUEST = Path(__file__).with_name("guest.py")
PACKAGES = ("numpy", "numpy.libs", "yaml", "rich", "markdown_it", "mdurl", "pygments")
"""What validate imports beside the standard library; a package's libraries lie beside it."""

PROGRAMS = ("mount", "umount", "mkswap", "swapon", "swapoff")
SITE, CACHE = "site", "cache"
_LEFT_OUT = {"test", "tests", "idlelib", "tkinter", "ensurepip", "lib2to3", "turtledemo", "site-packages", "pydoc_data"}
_LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x")


def files(modules: list[bytes]) -> dict[str, Path | bytes]:
    """Gather all files, by their name in the machine. Raises: PrototypeError where a program is missing."""
    python = Path(os.path.realpath(sys.executable))
    found: dict[str, Path | bytes] = {"init": _init(python), "guest.py": GUEST}
    found |= {f"modules/{number:02d}.ko": content for number, content in enumerate(modules)}
    for path in _stdlib():
        found[_same_place(path)] = path
    found |= _site()
    actor = actor_binary()
    found[f"{CACHE}/thpsweep/{actor.name}"] = actor
    binaries = [python, actor, *_programs()]
    found |= {_same_place(path): path for path in binaries}
    extensions = [path for path in found.values() if isinstance(path, Path) and ".so" in path.name]
    found |= {_same_place(path): path for path in _libraries([*binaries, *extensions])}
    return found


def _init(python: Path) -> bytes:
    return f"#!{python} -sP\nexec(compile(open('/guest.py').read(), '/guest.py', 'exec'))\n".encode()


def _same_place(path: Path) -> str:
    return str(path).lstrip("/")


def _stdlib() -> Iterator[Path]:
    home = Path(sysconfig.get_paths()["stdlib"])
    for path in home.rglob("*"):
        folders = path.relative_to(home).parts
        if path.is_file() and not _LEFT_OUT.intersection(folders) and not folders[0].startswith("config-"):
            yield path


def _site() -> dict[str, Path | bytes]:
    """Give the packages, ours with its conf/, in one folder."""
    found: dict[str, Path | bytes] = {}
    beside = Path(str(_package("numpy"))).parent
    for name in PACKAGES:
        home = beside / name if "." in name else _package(name)
        found |= {f"{SITE}/{name}/{path.relative_to(home)}": path for path in _code(home)}
    ours = Path(thpsweep.__file__).parent
    found |= {f"{SITE}/thpsweep/{path.relative_to(ours)}": path for path in _code(ours)}
    return found | {f"{SITE}/conf/{path.relative_to(conf_dir())}": path for path in _code(conf_dir())}


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise PrototypeError(f"validate: no package {name}: expected an installation of thpsweep")
    return Path(spec.origin).parent


def _code(home: Path) -> Iterator[Path]:
    for path in home.rglob("*"):
        if path.is_file() and not _LEFT_OUT.intersection(path.relative_to(home).parts[:-1]):
            yield path


def _programs() -> list[Path]:
    places = [*os.environ.get("PATH", "").split(":"), "/usr/sbin", "/sbin", "/usr/bin"]
    found = []
    for name in PROGRAMS:
        path = next((Path(place, name) for place in places if Path(place, name).is_file()), None)
        if path is None:
            raise PrototypeError(f"validate: no {name} on the PATH: expected util-linux (package mount)")
        found.append(path)
    return found


def _libraries(binaries: Iterable[Path]) -> set[Path]:
    """List what the loader would load for these, the loader included."""
    done = subprocess.run(["ldd", *map(str, binaries)], capture_output=True, text=True, check=False)
    return {Path(place) for place in _LIBRARY.findall(done.stdout)}
