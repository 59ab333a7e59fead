"""An empty folder in which commands are run as a user does."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests import warm

ROOT = Path(__file__).parents[1]
SMALL = ["workload=prefork", "workload.regions=1", "run.replicates=2", "run.duration_s=300", "sweep.track=false"]


class Place:
    """An empty folder to run commands in."""

    def __init__(self, path: Path) -> None:
        self.work, self.home = path / "work", path / "home"
        self.work.mkdir()
        self.home.mkdir()  # Ray keeps its token there

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a command."""
        command = [sys.executable, "-m", "thpsweep", *arguments]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=self.work, env=self._environment, **pipes)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        return warm.run(arguments, self.work, self._environment)

    @property
    def _environment(self) -> dict[str, str]:
        variables = {**os.environ, "HOME": str(self.home), "PYTHONPATH": str(ROOT)}
        variables.pop("HYDRA_FULL_ERROR", None)
        return variables

    def results(self) -> dict[str, Any]:
        """Read all whole result records, last one of a point first, without our own reader."""
        lines = [line for file in self.work.glob("*/*/journal.jsonl") for line in file.read_text().split("\n")[:-1]]
        return {r["id"]: r["result"] for r in map(json.loads, lines) if r["type"] == "result"}
