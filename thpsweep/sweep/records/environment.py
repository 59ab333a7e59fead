"""Remember what a sweep was run with: the code, the packages, the machine; nothing of the environment's variables."""

import datetime
import functools
import getpass
import importlib.metadata
import json
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import thpsweep

FILE_NAME = "environment.jsonl"
"""One line a time that the sweep was started in another environment than before."""

MAX_DIFF_CHARACTERS = 100_000
"""Of a longer diff the beginning is kept."""


def record(directory: Path) -> None:
    """Add the environment of this process to a sweep's directory, unless its last line says the same."""
    now = environment()
    before = latest(directory)
    if {**before, "started": None} != {**now, "started": None}:
        with (directory / FILE_NAME).open("a") as file:
            file.write(json.dumps(now) + "\n")


def latest(directory: Path) -> dict[str, Any]:
    """Give what the sweep was last run with; nothing where that is unknown."""
    file = directory / FILE_NAME
    lines = file.read_text().splitlines() if file.exists() else []
    for line in reversed(lines):
        try:
            found: dict[str, Any] = json.loads(line)
        except ValueError:  # torn when the machine went down
            continue
        return found
    return {}


def environment() -> dict[str, Any]:
    """Describe this process; text, numbers and lists only."""
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "thpsweep": thpsweep.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": os.uname().nodename,
        "user": _user(),
        "cpus": len(os.sched_getaffinity(0)),
        "packages": _packages(),
        **_checkout(),
    }


@functools.cache
def _packages() -> dict[str, str]:
    """Give the versions of what thpsweep requires."""
    try:
        required = importlib.metadata.requires("thpsweep") or []
    except importlib.metadata.PackageNotFoundError:  # a checkout that was not installed
        return {}
    names = sorted(re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in required if "extra ==" not in text)
    return {name: importlib.metadata.version(name) for name in names}


@functools.cache
def _checkout() -> dict[str, Any]:
    """Give the commit that this package is checked out from, and what was changed since; nothing if it is installed."""
    top = Path(thpsweep.__file__).parent
    # First: a package in a virtual environment inside some other checkout is not part of that checkout.
    if _git(top, "ls-files", "--error-unmatch", "__init__.py") is None:
        return {}
    commit, changes, diff = (
        (_git(top, *command) or "").strip()
        for command in (["rev-parse", "HEAD"], ["status", "--porcelain"], ["diff", "HEAD", "--", ":/"])
    )
    cut = f"\n[{len(diff)} characters in all]" if len(diff) > MAX_DIFF_CHARACTERS else ""
    return {"commit": commit, "changes": changes.splitlines(), "diff": diff[:MAX_DIFF_CHARACTERS] + cut}


def _git(top: Path, *command: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(top), *command], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.decode(errors="replace")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user id has no name
        return str(os.getuid())
