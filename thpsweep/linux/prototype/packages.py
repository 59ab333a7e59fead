"""A kernel, its headers and its build tools, fetched with apt into a folder of ours: the host's own apt stays as it is."""

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from thpsweep.linux.prototype.errors import PrototypeError
from thpsweep.linux.prototype.kernels import Kernel

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
        (folder / "sources.list").write_text("".join(_line(sites(), *line.split()) for line in sources))
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


def sites() -> list[str]:
    """List the addresses that apt on this machine takes packages from."""
    shown = ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"]
    done = subprocess.run(shown, capture_output=True, text=True, check=False)
    return sorted(set(done.stdout.split()))


def _line(known: Sequence[str], archive: str, suite: str) -> str:
    """Write apt's line for a suite of an archive: by its own address, or beside the main archive.

    Raises: PrototypeError.
    """
    main = next((site for site in known if site.endswith("/debian")), None)
    own = next((site for site in known if site.endswith(f"/{archive}")), None)
    site = own or (main and f"{main.removesuffix('debian')}{archive}")
    if site is None:
        raise PrototypeError("prototype: apt has no source that ends with /debian: expected one of Debian's mirrors")
    return f"deb [signed-by={KEYS}] {site} {suite} main\n"


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
