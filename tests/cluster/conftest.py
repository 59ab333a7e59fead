"""A Ray cluster of three hosts, for as long as a file of tests lasts."""

import dataclasses
import json
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.hosts import Host, missing, switched
from tests.sweep.conftest import degrees, make_point

__all__ = ["degrees", "make_point"]

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
STORE_BYTES, MEMORY_BYTES = 100_000_000, 3_000_000_000
"""What each host gives Ray, of the one machine that they all are on."""


@dataclasses.dataclass
class Cluster:
    """Hosts that are on, by number; number 1 is Ray's head."""

    files: Path
    switch_on: Callable[[int], Host]
    hosts: dict[int, Host] = dataclasses.field(default_factory=dict)

    @property
    def head(self) -> Host:
        """Give the host that Ray's head runs on."""
        return self.hosts[1]

    def begin(self, number: int, *more: str, cpus: int = 1, **variables: str) -> "Any":
        """Switch a host on and let Ray start there; give the process, whose end says that it did."""
        host = self.hosts[number] = self.switch_on(number)
        role = ["head", host.address] if number == 1 else ["join", self.head.address, host.address]
        usual = [f"--num-cpus={cpus}", f"--object-store-memory={STORE_BYTES}", f"--memory={MEMORY_BYTES}"]
        return host.start(ROOT / "jobs/local.sh", *role, *usual, *more, **variables)

    def join(self, number: int, *more: str, cpus: int = 1, **variables: str) -> Host:
        """Switch a host on and wait until Ray has started there."""
        finished(self.begin(number, *more, cpus=cpus, **variables))
        return self.hosts[number]

    def start(self, *numbers: int, head: tuple[str, ...] = ()) -> None:
        """Start a cluster of the head and others, which have a CPU each."""
        self.join(1, *head)
        for process in [self.begin(number) for number in numbers if number != 1]:
            finished(process)


def finished(process: Any, timeout_s: float = 120.0) -> str:
    """Wait for the good end of a command; give what it said."""
    said, _ = process.communicate(timeout=timeout_s)
    assert process.returncode == 0, said
    return str(said)


@pytest.fixture(scope="module")
def make_cluster() -> Iterator[Callable[[], Cluster]]:
    """Give clusters whose hosts share a folder; it has a short name, since sockets have their path in it."""
    if lacking := missing():
        pytest.skip(f"needs {lacking}")
    files = Path(tempfile.mkdtemp(prefix="thpc", dir="/tmp"))
    (files / "home").mkdir()
    (files / "token").write_text(secrets.token_hex(32))
    (files / "token").chmod(0o600)
    environment = {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HOME": str(files / "home"),
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(files / "token"),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    try:
        with switched(files, environment) as switch_on:
            yield lambda: Cluster(files, switch_on)
    finally:
        shutil.rmtree(files, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster(make_cluster: Callable[[], Cluster]) -> Cluster:
    """Give a cluster of three hosts with a CPU each, which no test of the file breaks."""
    made = make_cluster()
    made.start(1, 2, 3)
    return made


def lines(root: Path) -> list[dict[str, Any]]:
    """Read the whole records of the only journal below a root, without our own reader."""
    found = [line for file in root.glob("*/journal.jsonl") for line in file.read_bytes().split(b"\n")[:-1]]
    return [json.loads(line) for line in found if line.strip()]


def results(root: Path) -> dict[str, str]:
    """Give the result of each point, every bit of its floats; nobody may have two."""
    found = [record for record in lines(root) if record["type"] == "result"]
    assert {record["state"] for record in found} == {"done"}
    assert len({record["id"] for record in found}) == len(found)
    return {record["id"]: json.dumps(record["result"], sort_keys=True) for record in found}


def n_results(root: Path) -> int:
    """Count results while a sweep runs."""
    return sum(file.read_bytes().count(b'{"type": "result"') for file in root.glob("*/journal.jsonl"))
