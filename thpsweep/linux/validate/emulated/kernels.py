"""The kernels that can be validated against, and the packages of each."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from thpsweep.errors import OptionError
from thpsweep.linux.prototype.cache import Unpacked, folder, kept
from thpsweep.linux.prototype.kernels import KERNELS
from thpsweep.linux.prototype.packages import Apt, unpack


@dataclass(frozen=True)
class DebianKernel:
    """A kernel of Debian: the suites that have it, the meta-package that names the newest, and what has its files."""

    name: str
    sources: tuple[str, ...]
    meta: str
    packages: tuple[str, ...]


DEBIAN = {
    kernel.name: kernel
    for kernel in (
        DebianKernel(
            "debian-6.1",
            ("debian bookworm", "debian-security bookworm-security"),
            "linux-headers-cloud-amd64",
            ("linux-image-{}-unsigned",),
        ),
        DebianKernel("debian-6.12", KERNELS["6.12"].sources, KERNELS["6.12"].headers, (KERNELS["6.12"].image,)),
        DebianKernel(
            "debian-7.3", KERNELS["7.3"].sources, KERNELS["7.3"].headers, (KERNELS["7.3"].image, "linux-modules-{}")
        ),
    )
}


def debian(name: str) -> DebianKernel:
    """Choose one by its name. Raises: OptionError."""
    if name not in DEBIAN:
        raise OptionError("--kernel", name, "one of " + ", ".join(DEBIAN))
    return DEBIAN[name]


def fetched(kernel: DebianKernel, say: Callable[[str], None]) -> Unpacked:
    """Give a kernel and its modules, fetched if it is not there yet. Raises: PrototypeError."""
    of_prototype = KERNELS.get(kernel.name.removeprefix("debian-"))
    known = kept(of_prototype) if of_prototype else None
    place = folder() / "images" / kernel.name
    for marker in sorted(place.glob("*/complete")):
        known = known or Unpacked(marker.parent.name, marker.parent / "root")
    return known or _fetch(kernel, place, say)


def _fetch(kernel: DebianKernel, place: Path, say: Callable[[str], None]) -> Unpacked:
    apt = Apt(place / "apt", kernel.sources)
    say(f"lists of Debian's packages, for {kernel.name}")
    apt.update()
    version = apt.version(kernel.meta)
    whole, part = place / version, place / f"{version}.part"
    shutil.rmtree(part, ignore_errors=True)
    say(f"linux {version}: image and modules")
    apt.download([package.format(version) for package in kernel.packages], part / "debs")
    unpack(part / "debs", part / "root")
    shutil.rmtree(part / "debs")
    (part / "complete").touch()
    part.rename(whole)
    return Unpacked(version, whole / "root")
