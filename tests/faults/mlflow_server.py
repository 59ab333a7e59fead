"""A real MLflow server on this machine, and one that accepts connections and never answers."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path


def free_port() -> int:
    """Find a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """`mlflow server` on a SQLite database of its own, which can be stopped and started again."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.port = directory, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        where = [f"--backend-store-uri=sqlite:///{self.directory}/server.db"]
        where += [f"--artifacts-destination={self.directory}/artifacts", "--serve-artifacts"]
        listen = ["--host=127.0.0.1", f"--port={self.port}", "--workers=1"]
        with (self.directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *where, *listen],
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
                start_new_session=True,  # its workers end with it
            )
        until_s = time.monotonic() + 90
        while not self._answers():
            assert self._process.poll() is None, (self.directory / "server.log").read_text()
            assert time.monotonic() < until_s, (self.directory / "server.log").read_text()
            time.sleep(0.2)

    def stop(self) -> None:
        """Kill it, as a machine that goes down does."""
        if self._process is not None:
            os.killpg(self._process.pid, 9)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@contextlib.contextmanager
def running(directory: Path) -> Iterator[Server]:
    """Run a server, whatever the test does to it, and leave no process behind."""
    directory.mkdir(parents=True, exist_ok=True)
    server = Server(directory)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def silent() -> Iterator[str]:
    """Give the address of a server that never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
