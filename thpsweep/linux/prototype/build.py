"""The module and the test machine's /init, built from the sources beside this file."""

import dataclasses
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from thpsweep.linux.prototype.cache import Unpacked
from thpsweep.linux.prototype.errors import PrototypeError
from thpsweep.linux.prototype.kernels import Kernel

HERE = Path(__file__).parent
MODULE, GUEST = HERE / "module", HERE / "guest"
_SHOWN_LINES = 3


@dataclass(frozen=True)
class Built:
    """What a test machine is made of, and what make was told."""

    image: Path
    module: Path
    init: Path
    options: Sequence[str] = ()


def build(kernel: Kernel, unpacked: Unpacked, into: Path, module: Path = MODULE) -> Built:
    """Build in a folder of its own. Raises: PrototypeError with the compiler's first errors."""
    source = into / "module"
    shutil.copytree(module, source)
    options = (f"H={unpacked.headers}", f"CC={kernel.compiler}", *kernel.make)
    _make(source, *options)
    _make(GUEST, f"OUT={into}", f"CC={kernel.compiler}")
    return Built(unpacked.image, source / "shcollapse.ko", into / "init", options)


def rebuild(built: Built, source: Path) -> Built:
    """Build a changed copy of the module's folder; the kernel and /init stay. Raises: PrototypeError."""
    _make(source, *built.options)
    return dataclasses.replace(built, module=source / "shcollapse.ko")


def _make(folder: Path, *arguments: str) -> None:
    command = ["make", "-s", "-j2", "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PrototypeError(f"prototype: {folder.name} does not build: {_errors(done.stderr)}")


def _errors(said: str) -> str:
    lines: Sequence[str] = said.splitlines()
    worst = (
        [line for line in lines if "error:" in line or line.startswith("ERROR:")]
        or [line for line in lines if "***" in line]
        or lines
    )
    return "; ".join(line.strip() for line in worst[:_SHOWN_LINES])
