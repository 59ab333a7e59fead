"""Run thpsweep and its UI as a user does, in a folder of a test."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.servers import PATIENCE_S, free_port

ROOT = Path(__file__).parents[2]
THPSWEEP = [sys.executable, "-m", "thpsweep"]


def run(cwd: Path, *arguments: str) -> None:
    """Run a command to its end."""
    subprocess.run([*THPSWEEP, *arguments], cwd=cwd, env=environment(cwd), check=True, capture_output=True)


class Server(NamedTuple):
    """What the command said when it began, and the session of its processes."""

    output: str
    session: int

    def commands(self) -> list[str]:
        """List the command lines of its processes."""
        lines = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it may end meanwhile
                if os.getsid(int(process.name)) == self.session:
                    lines.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        return lines


@contextlib.contextmanager
def served(cwd: Path, *arguments: str) -> Iterator[Server]:
    """Serve the UI of the sweeps in a folder."""
    log = cwd / "ui.log"
    with log.open("wb") as output:
        command = [*THPSWEEP, "ui", "--port", str(free_port()), *arguments]
        ui = subprocess.Popen(
            command, cwd=cwd, env=environment(cwd), stdout=output, stderr=output, start_new_session=True
        )
    try:
        until_s = time.monotonic() + PATIENCE_S
        while "startup complete" not in log.read_text():
            assert ui.poll() is None and time.monotonic() < until_s, log.read_text()
            time.sleep(0.2)
        yield Server(log.read_text(), ui.pid)
    finally:
        os.killpg(ui.pid, signal.SIGKILL)  # the server has workers
        ui.wait()


def environment(cwd: Path) -> dict[str, str]:
    """Give variables by which a command finds this checkout, and nothing of the user's home."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(cwd)}
