"""Compile the actor, the small C program that live processes run, at its first use."""

import contextlib
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from thpsweep.errors import LiveError

_SOURCE = Path(__file__).with_name("actor.c")
_COMPILERS = ("cc", "gcc", "clang")


def compiler() -> str | None:
    """Find a C compiler."""
    paths = (shutil.which(name) for name in _COMPILERS)
    return next((path for path in paths if path), None)


def actor_binary() -> Path:
    """Give the compiled actor, from the user's cache where this source has been compiled before.

    Raises: LiveError where there is no compiler, or it fails.
    """
    digest = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:16]
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    binary = home / "thpsweep" / f"actor-{digest}"
    if not os.path.exists(binary):  # unlike Path.exists(), false where the folder may not be looked into
        _compile(binary)
    return binary


def _compile(binary: Path) -> None:
    cc = compiler()
    if cc is None:
        raise LiveError(f"no C compiler ({', '.join(_COMPILERS)}) in PATH: live processes need one, once")
    with contextlib.suppress(OSError):
        binary.parent.mkdir(parents=True, exist_ok=True)
    if not (os.path.isdir(binary.parent) and os.access(binary.parent, os.W_OK)):
        raise LiveError(f"{binary.parent}: cannot be written: set XDG_CACHE_HOME to a folder that can")
    fresh = binary.with_name(f"{binary.name}.{os.getpid()}")
    command = [cc, "-O2", "-pthread", "-o", str(fresh), str(_SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LiveError(f"{' '.join(command)} failed: {done.stderr.strip()}")
    fresh.rename(binary)  # at once, so that two who compile at the same time do no harm
