"""The folder where kernels are kept: fetched once, whole or not there at all."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from thpsweep.linux.prototype.errors import PrototypeError
from thpsweep.linux.prototype.kernels import Kernel
from thpsweep.linux.prototype.packages import Apt, unpack, wanted

Say = Callable[[str], None]
"""Takes a line about what goes on."""


@dataclass(frozen=True)
class Unpacked:
    """An unpacked kernel, of a version such as "6.12.117+deb12-cloud-amd64"."""

    version: str
    root: Path

    @property
    def image(self) -> Path:
        """The kernel itself, where this version's package has it."""
        places = (f"boot/vmlinuz-{self.version}", f"usr/lib/modules/{self.version}/vmlinuz*")
        found = [path for place in places for path in sorted(self.root.glob(place))]
        if not found:
            raise PrototypeError(
                f"prototype: no {' or '.join(places)} in {self.root}: delete the folder, it is fetched again"
            )
        return found[0]

    @property
    def headers(self) -> Path:
        """Where the module is built against."""
        return self.root / f"usr/src/linux-headers-{self.version}"


def folder() -> Path:
    """Tell where kernels are kept: $XDG_CACHE_HOME/thpsweep/prototype, else in ~/.cache."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "thpsweep" / "prototype"


def kept(kernel: Kernel) -> Unpacked | None:
    """Find a kernel that was fetched before."""
    for marker in sorted((folder() / kernel.name).glob("*/complete")):
        return Unpacked(marker.parent.name, marker.parent / "root")
    return None


def fetched(kernel: Kernel, say: Say) -> Unpacked:
    """Give a kernel, fetched if it is not there yet. Raises: PrototypeError."""
    known = kept(kernel)
    if known is not None:
        return known
    place = folder() / kernel.name
    try:
        return _fetch(kernel, place, say)
    except OSError as problem:
        raise PrototypeError(
            f"prototype: {place}: {problem.strerror or problem}; XDG_CACHE_HOME names another folder"
        ) from None


def _fetch(kernel: Kernel, place: Path, say: Say) -> Unpacked:
    apt = Apt(place / "apt", kernel.sources)
    say(f"lists of Debian's packages, for Linux {kernel.name}")
    apt.update()
    version = apt.version(kernel.headers)
    whole, part = place / version, place / f"{version}.{os.getpid()}"
    for left in place.glob(f"{version}.[0-9]*"):  # by a process that was killed
        if not Path("/proc", left.suffix[1:]).exists():
            shutil.rmtree(left, ignore_errors=True)
    try:
        say(f"linux {version}: image, headers, build tools (about 50 MB)")
        apt.download(wanted(kernel, version), part / "debs")
        unpack(part / "debs", part / "root")
        shutil.rmtree(part / "debs")
        _relocate(part / "root", whole / "root", version)
        if kernel.tools:
            _use_own_libraries(part / "root", whole / "root")
        (part / "complete").touch()
        if not whole.exists():  # else another process was faster
            part.rename(whole)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Unpacked(version, whole / "root")


def _relocate(root: Path, final: Path, version: str) -> None:
    """Let the headers' Makefile name the places where they will lie, instead of /usr/src."""
    makefile = root / f"usr/src/linux-headers-{version}" / "Makefile"
    makefile.write_text(makefile.read_text().replace("/usr/src/", f"{final.absolute()}/usr/src/"))


def _use_own_libraries(root: Path, final: Path) -> None:
    """Start the kernel's build tools, which a newer Debian linked, with that Debian's libc."""
    libraries = final.absolute() / "usr/lib/x86_64-linux-gnu"
    for tool in sorted((root / "usr/lib").glob("linux-kbuild-*/**/*")):
        if (
            tool.is_symlink()
            or not tool.is_file()
            or tool.read_bytes()[:4] != b"\x7fELF"
            or not os.access(tool, os.X_OK)
        ):
            continue
        real = tool.with_name(f"{tool.name}.elf")
        tool.rename(real)
        there = final.absolute() / real.relative_to(root)
        loader = f'"{libraries}/ld-linux-x86-64.so.2" --library-path "{libraries}" --argv0 "$0"'
        tool.write_text(f'#!/bin/sh\nexec {loader} "{there}" "$@"\n')
        tool.chmod(0o755)
