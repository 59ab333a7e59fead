"""Cgroups for tests: made where the kernel lets this process make them, and gone afterwards."""

import contextlib
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from thpsweep.linux.proc.cgroups import Hierarchy, hierarchies


@contextlib.contextmanager
def limited(memory_bytes: int, cpus: float) -> Iterator[list[Path]]:
    """Make a cgroup with limits in each hierarchy that has a say, below this process's own. Skips where that cannot be."""
    name, made = f"thpsweep-{secrets.token_hex(4)}", list[Path]()
    v2 = {"memory.max": str(memory_bytes), "cpu.max": f"{int(cpus * 100_000)} 100000"}
    v1 = {
        "memory": {"memory.limit_in_bytes": str(memory_bytes)},
        "cpu": {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": str(int(cpus * 100_000))},
    }
    try:
        for controller in ("memory", "cpu"):
            where = _hierarchy(controller)
            directory = where.directory / name
            if directory not in made:
                directory.mkdir()
                made.append(directory)
            files = (
                v1[controller] if where.kind == "cgroup" else {k: v for k, v in v2.items() if k.startswith(controller)}
            )
            for file, text in files.items():
                (directory / file).write_text(text)
    except OSError as problem:
        _remove(made)
        pytest.skip(f"no cgroups of our own can be made: {problem}")
    try:
        yield made
    finally:
        _remove(made)


def joining(cgroups: Sequence[Path], *command: str) -> list[str]:
    """Make a command that runs in cgroups."""
    files = " ".join(str(path / "cgroup.procs") for path in cgroups)
    return ["sh", "-c", f'for f in {files}; do echo 0 >"$f" || exit 99; done; exec "$@"', "sh", *command]


def _hierarchy(controller: str) -> Hierarchy:
    found = hierarchies(controller)
    v1 = [where for where in found if where.kind == "cgroup"]
    v2 = [where for where in found if where.kind == "cgroup2" and _has(where.directory, controller)]
    if not v1 and not v2:
        pytest.skip(f"no cgroup hierarchy with the {controller} controller")
    return (v1 or v2)[0]


def _has(directory: Path, controller: str) -> bool:
    with contextlib.suppress(OSError):
        return controller in (directory / "cgroup.subtree_control").read_text().split()
    return False


def _remove(made: Sequence[Path]) -> None:
    for directory in made:
        for process in (directory / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                os.kill(int(process), 9)
        with contextlib.suppress(OSError):
            directory.rmdir()
