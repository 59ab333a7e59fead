"""What must be installed, said before anything begins."""

import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from thpsweep.linux.prototype.errors import PrototypeError
from thpsweep.linux.prototype.kernels import Kernel

EMULATOR = "qemu-system-x86_64"


@dataclass(frozen=True)
class Program:
    """A program, the Debian package that has it, and what it is for."""

    name: str
    package: str
    purpose: str


def programs(kernel: Kernel) -> list[Program]:
    """List what fetching, building and booting need; none of them needs root."""
    return [
        Program("apt-get", "apt", "to fetch the kernel's packages"),
        Program("dpkg-deb", "dpkg", "to unpack them"),
        Program(kernel.compiler, kernel.compiler, "to build the module and the test machine's /init"),
        Program("make", "make", "to build the module"),
        Program(EMULATOR, "qemu-system-x86", "to boot the test machine"),
    ]


def missing(kernel: Kernel) -> list[Program]:
    """List the programs that are not on the PATH."""
    return [program for program in programs(kernel) if shutil.which(program.name) is None]


def require(kernel: Kernel, names: Sequence[str] | None = None) -> None:
    """Ask for what is missing (of some programs, where named), all in one line. Raises: PrototypeError."""
    if platform.machine() != "x86_64":
        raise PrototypeError(f"prototype: this machine is {platform.machine()}, the module and its kernel are x86-64")
    lacking = [program for program in missing(kernel) if names is None or program.name in names]
    if lacking:
        each = ", ".join(f"{program.name} ({program.purpose})" for program in lacking)
        packages = " ".join(program.package for program in lacking)
        raise PrototypeError(
            f"prototype: missing {each}; on Debian: apt-get install --no-install-recommends {packages}. "
            "Everything else of thpsweep works without"
        )
