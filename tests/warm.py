"""Commands as processes of their own that need not import everything first: forks of one process that has.

warm.run(["plan", "workload=prefork"], cwd, environment) -> subprocess.CompletedProcess
"""

import atexit
import functools
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MODULES = (
    "hydra._internal.hydra",
    "hydra.core.plugins",
    "thpsweep.answers.terminal.preview",
    "thpsweep.api",
    "thpsweep.application",
    "thpsweep.cli",
    "thpsweep.config.files",
    "thpsweep.config.explain",
    "thpsweep.model.simulate",
    "thpsweep.sweep.driver.drive",
)
"""What commands import; nothing that reads the environment when it is imported, as MLflow and Ray do."""


def run(
    arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], timeout_s: float = 120.0
) -> "subprocess.CompletedProcess[str]":
    """Run `thpsweep` to its end, as a process of its own."""
    server = _server()
    assert server.stdin is not None and server.stdout is not None
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        files = [f"/proc/{os.getpid()}/fd/{file.fileno()}" for file in (out, err)]
        asked = {"arguments": list(arguments), "cwd": str(cwd), "environment": dict(environment), "files": files}
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
        pid = int(server.stdout.readline())
        ready, _, _ = select.select([server.stdout], [], [], timeout_s)
        if not ready:
            os.kill(pid, signal.SIGKILL)
        code = int(server.stdout.readline())
        said = [file.seek(0) or file.read() for file in (out, err)]
    assert ready, f"{arguments}: not within {timeout_s} s: {said}"
    return subprocess.CompletedProcess(list(arguments), code, *said)


@functools.cache
def _server() -> "subprocess.Popen[str]":
    """Start the process that forks; it ends with this one, whose end closes its pipe."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen([sys.executable, "-m", "tests.warm"], cwd=ROOT, env=environment, **pipes)
    atexit.register(server.kill)
    return server


def serve() -> dict[str, Any] | None:
    """Fork for each line of stdin; give a child what it was asked, the server nothing, at the end."""
    for name in MODULES:
        __import__(name)
    for line in sys.stdin:
        asked: dict[str, Any] = json.loads(line)
        child = os.fork()
        if not child:
            return asked
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return None


def become(asked: Mapping[str, Any]) -> None:
    """Be the command that was asked for."""
    for number, name in enumerate(("/dev/null", *asked["files"])):
        file = os.open(name, os.O_RDWR)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["cwd"])
    sys.path[0], sys.argv = asked["cwd"], ["thpsweep", *asked["arguments"]]
    runpy.run_module("thpsweep", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    found = serve()
    if found is not None:
        become(found)
