"""A kernel, its headers and its build tools, fetched with apt into a folder of ours: the host's own apt stays as it is."""

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from thpsweep.linux.prototype.errors import PrototypeError
from thpsweep.linux.prototype.kernels import MIRROR, Kernel

KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_DEPENDS = re.compile(r"^Depends:.*?\blinux-headers-(\d[^ ,]*-cloud-amd64)\b", re.MULTILINE)
_WAIT_S = 600


class Apt:
    """Be an apt with its own sources, lists and cache, all in one folder. Needs no root."""

    def __init__(self, folder: Path, sources: Sequence[str]) -> None:
        if not KEYS.exists():
            raise PrototypeError(
                f"prototype: no {KEYS}, with which apt checks Debian's packages (debian-archive-keyring)"
            )
        for name in ("lists/partial", "archives/partial"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        lines = (f"deb [signed-by={KEYS}] {MIRROR}/{line} main\n" for line in sources)
        (folder / "sources.list").write_text("".join(lines))
        chosen = {
            "Dir::Etc::sourcelist": folder / "sources.list",
            "Dir::Etc::sourceparts": "-",
            "Dir::State::lists": folder / "lists",
            "Dir::Cache": folder,
            "Dir::Cache::archives": folder / "archives",
            "APT::Architecture": "amd64",
            "Acquire::Languages": "none",
            "APT::Update::Error-Mode": "any",
            "Acquire::Retries": "3",
        }
        if os.geteuid() == 0:
            chosen["APT::Sandbox::User"] = "root"  # the folder may be one that the user _apt cannot reach
        self._folder = folder
        self._options = [part for key, value in chosen.items() for part in ("-o", f"{key}={value}")]

    def update(self) -> None:
        """Bring the lists up to date."""
        self._run("apt-get", "update", "-qq")

    def version(self, headers: str) -> str:
        """Find which kernel a meta-package stands for ("6.12.117+deb12-cloud-amd64")."""
        shown = self._run("apt-cache", "show", "--no-all-versions", headers)
        found = _DEPENDS.search(shown)
        if found is None:
            raise PrototypeError(
                f"prototype: Debian's {headers} names no kernel: expected a dependency on linux-headers-*"
            )
        return found[1]

    def download(self, packages: Sequence[str], into: Path) -> None:
        """Download packages, checked by apt."""
        into.mkdir(parents=True, exist_ok=True)
        self._run("apt-get", "download", "-qq", *packages, cwd=into)

    def _run(self, program: str, *arguments: str, cwd: Path | None = None) -> str:
        command = [program, *self._options, *arguments]
        env = {**os.environ, "LC_ALL": "C"}
        try:
            done = subprocess.run(
                command, cwd=cwd or self._folder, env=env, capture_output=True, text=True, timeout=_WAIT_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise PrototypeError(f"prototype: {program} {arguments[0]} took longer than {_WAIT_S} s") from None
        if done.returncode:
            said = next(
                (line for line in done.stderr.splitlines() if line.startswith("E:")), done.stderr.strip()[-200:]
            )
            raise PrototypeError(f"prototype: {program} {' '.join(arguments[:1])} failed: {said}")
        return done.stdout


def wanted(kernel: Kernel, version: str) -> list[str]:
    """Name the packages of a kernel: image, headers, build tools."""
    base = version.removesuffix("-cloud-amd64")
    return [
        kernel.image.format(version),
        f"linux-headers-{version}",
        f"linux-headers-{base}-common",
        f"linux-kbuild-{base}",
        *kernel.tools,
    ]


def unpack(debs: Path, into: Path) -> None:
    """Unpack packages side by side; nothing of them is run."""
    for deb in sorted(debs.glob("*.deb")):
        done = subprocess.run(["dpkg-deb", "-x", str(deb), str(into)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise PrototypeError(f"prototype: {deb.name} cannot be unpacked: {done.stderr.strip()[-200:]}")
