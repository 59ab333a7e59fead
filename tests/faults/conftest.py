"""Drivers that are processes of their own, and what they leave behind."""

import collections
import contextlib
import dataclasses
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sweep.conftest import degrees, make_point, migrated
from thpsweep.sweep.ray import process

__all__ = ["degrees", "make_point", "migrated"]

ROOT = Path(__file__).parents[2]


@dataclasses.dataclass
class Place:
    """A sweep's root, with a mark that all processes carry which are started for it."""

    root: Path
    points: Path
    mark: str

    def start(self, launcher: str, function: str, **variables: str) -> "subprocess.Popen[str]":
        """Start a driver in a session of its own, as a terminal does."""
        command = [sys.executable, "-m", "tests.faults.driver", str(self.points), str(self.root), launcher, function]
        return self.run(command, **variables)

    def run(self, command: list[str], **variables: str) -> "subprocess.Popen[str]":
        """Start a command; `variables` are of its environment."""
        own = {"PYTHONPATH": str(ROOT), "HOME": str(self.root.parent), "THPSWEEP_MARK": self.mark}
        environment = {**os.environ, **own, **variables}
        pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, **pipes)

    def finish(self, launcher: str, function: str) -> str:
        """Run a driver to its end, which has to be good; give what it said."""
        driver = self.start(launcher, function)
        _, said = driver.communicate(timeout=240)
        assert driver.returncode == 0, said
        return said

    def lines(self) -> list[dict[str, Any]]:
        """Read the whole records of the journal, without our own reader."""
        found = [line for file in self.root.glob("*/journal.jsonl") for line in file.read_bytes().split(b"\n")[:-1]]
        return [json.loads(line) for line in found if line.strip()]

    def count(self) -> int:
        """Count results."""
        return sum(file.read_bytes().count(b'{"type": "result"') for file in self.root.glob("*/journal.jsonl"))

    def results(self) -> dict[str, Any]:
        """Give each point's result; nobody may have two."""
        found = [record for record in self.lines() if record["type"] == "result"]
        twice = [key for key, n in collections.Counter(record["id"] for record in found).items() if n > 1]
        assert twice == []
        assert {record["state"] for record in found} <= {"done"}
        return {record["id"]: record["result"] for record in found}

    def processes(self, title: bytes = b"") -> list[int]:
        """List the processes that carry the mark."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (folder / "environ").read_bytes():
                    found += [int(folder.name)] if title in (folder / "cmdline").read_bytes() else []
            except OSError:  # it has ended, or is somebody else's
                continue
        return found

    def children(self, parent: int, title: str) -> list[int]:
        """List the children of a process whose program is called so."""
        found = []
        for task in Path(f"/proc/{parent}/task").iterdir():
            for child in (task / "children").read_text().split():
                with contextlib.suppress(OSError):
                    program = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")[0]
                    found += [int(child)] if program.endswith(f"/{title}".encode()) else []
        return found

    def of_ray(self, driver: int, title: str) -> list[int]:
        """List the processes of a driver's Ray that are called so; it is held by a child of the driver's."""
        return [pid for child in process.children(driver) for pid in self.children(child, title)]

    def working(self) -> list[int]:
        """List the processes that carry the mark, but for Ray's two agents, which outlive a killed raylet by 60 s.

        They try for so long to tell a GCS that is gone, too (ray/_private/process_watcher.py, report_raylet_error_logs).
        """
        return sorted({*self.processes()} - {*self.processes(b"gent")})

    def wait(self, until: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """Wait for something to become true."""
        end_s = time.monotonic() + timeout_s
        while not until():
            assert time.monotonic() < end_s, f"not within {timeout_s} s"
            time.sleep(0.005)


MakePlace = Callable[..., Place]


@pytest.fixture
def make_place(tmp_path: Path, degrees: Callable[..., list[Any]]) -> Iterator[MakePlace]:
    """Make a place with so many points, which differ in their seed and now and then in their degree."""
    places = []

    def place(name: str, n_points: int) -> Place:
        root = tmp_path / name / "sweeps"
        root.mkdir(parents=True)
        found = [
            {**task["point"], "run": {**task["point"]["run"], "seed": seed}}
            for seed in range(n_points)
            for _, task in degrees(2 + seed % 7)
        ]
        (tmp_path / name / "points.json").write_text(json.dumps(found))
        places.append(Place(root, tmp_path / name / "points.json", secrets.token_hex(16)))
        return places[-1]

    yield place
    for made in places:  # nothing is left running, whatever became of the driver
        made.wait(lambda made=made: made.working() == [], timeout_s=30.0)
