"""Real servers for tests: PostgreSQL, MLflow with or without passwords, and one that accepts and never answers.

They listen on loopback, or on the address that a test gives them: hosts may be network namespaces, in which `wrap`
(`["ip", "netns", "exec", NAME]`) starts them. Whatever is missing for one skips the test and is named.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

LOOPBACK = "127.0.0.1"
PATIENCE_S = 300.0
"""How long a server may take to answer: MLflow takes 10 s on a machine that is idle."""


def free_port() -> int:
    """Find a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


class _Server:
    """A process that listens, and can be stopped and started again on the same port."""

    def __init__(self, host: str, wrap: Sequence[str]) -> None:
        self.host, self.port, self._wrap = host, free_port(), [*wrap]
        self._process: subprocess.Popen[bytes] | None = None

    def _start(self, command: Sequence[str], log: Path, answers: Callable[[], bool], **how: Any) -> None:
        """Start it and wait until it answers; if it ends first, or takes too long, show what it said."""
        with log.open("ab") as said:
            # A session of its own, so that its workers end with it.
            self._process = subprocess.Popen(
                [*self._wrap, *command], stdout=said, stderr=said, start_new_session=True, **how
            )
        until_s = time.monotonic() + PATIENCE_S
        while not answers():
            assert self._process.poll() is None and time.monotonic() < until_s, log.read_text()
            time.sleep(0.1)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, number)
            self._process.wait(60)
            self._process = None


class PostgresServer(_Server):
    """A private PostgreSQL cluster in a folder of its own, with one user, who has a password; not the system's."""

    USER = "thpsweep"

    def __init__(self, host: str = LOOPBACK, wrap: Sequence[str] = ()) -> None:
        super().__init__(host, wrap)
        self._programs, self.password = _postgres_programs(), secrets.token_hex(8)
        # Not below pytest's folder, which only its user may enter: the server refuses to run as root.
        self.directory = Path(tempfile.mkdtemp(prefix="thpsweep-postgres-", dir="/tmp"))
        self._as: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
        if self._as:
            shutil.chown(self.directory, "postgres", "postgres")
        (self.directory / "password").write_text(self.password)
        (self.directory / "password").chmod(0o644)
        how = ["-U", self.USER, "-A", "scram-sha-256", f"--pwfile={self.directory}/password", "-E", "UTF8"]
        self._run("initdb", "--no-sync", *how, "-D", str(self.directory / "data"), **self._as)

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [str(self._programs / "postgres"), "-D", str(self.directory / "data"), "-k", str(self.directory)]
        command += ["-h", self.host, "-p", str(self.port), "-c", f"listen_addresses={self.host}"]
        self._start(command, self.directory / "log", self._is_ready, cwd=self.directory, **self._as)

    def stop(self) -> None:
        """Break off what clients do, and stop."""
        self._end(signal.SIGINT)

    def database(self, name: str) -> str:
        """Make an empty database; give its URI, password and all."""
        self._run("createdb", *self._socket(), name)
        return f"postgresql://{self.USER}:{self.password}@{self.host}:{self.port}/{name}"

    def ask(self, database: str, sql: str) -> str:
        """Put a question to a database, past whoever else uses it."""
        return self._run("psql", "-At", *self._socket(), "-d", database, "-c", sql).strip()

    def _is_ready(self) -> bool:
        return subprocess.run([self._programs / "pg_isready", "-q", *self._socket()]).returncode == 0

    def _socket(self) -> list[str]:
        return ["-h", str(self.directory), "-p", str(self.port), "-U", self.USER]

    def _run(self, program: str, *arguments: str, **how: Any) -> str:
        command = [str(self._programs / program), *arguments]
        secret = {**os.environ, "PGPASSWORD": self.password}
        done = subprocess.run(command, capture_output=True, text=True, env=secret, cwd=self.directory, **how)
        assert done.returncode == 0, done.stderr
        return done.stdout


class MlflowServer(_Server):
    """`mlflow server`, on a SQLite database of its own unless told otherwise.

    With `password`, whoever asks has to be `admin` with that password; `uri` holds both, `open_uri` neither.
    """

    def __init__(
        self,
        directory: Path,
        backend: str | None = None,
        *,
        password: str | None = None,
        host: str = LOOPBACK,
        wrap: Sequence[str] = (),
    ) -> None:
        super().__init__(host, wrap)
        directory.mkdir(parents=True, exist_ok=True)
        self.directory, self.password = directory, password
        self._backend = backend or f"sqlite:///{directory}/server.db"
        self.open_uri = f"http://{host}:{self.port}"
        self.uri = f"http://admin:{password}@{host}:{self.port}" if password else self.open_uri

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", f"--artifacts-destination={self.directory}/artifacts"]
        command += [f"--host={self.host}", f"--port={self.port}", f"--allowed-hosts={self.host}:{self.port}"]
        command += ["--workers=1", *(["--app-name=basic-auth"] if self.password else [])]
        where = {"cwd": self.directory, "env": {**os.environ, **self._variables()}}
        self._start(command, self.directory / "server.log", self._is_healthy, **where)

    def stop(self) -> None:
        """Kill it, as a machine that goes down does."""
        self._end(signal.SIGKILL)

    def _variables(self) -> Mapping[str, str]:
        told = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_BACKEND_STORE_URI": self._backend}
        if self.password:
            pytest.importorskip("flask_wtf", reason="mlflow server --app-name basic-auth needs mlflow[auth]")
            users = self.directory / "auth.ini"
            users.write_text(
                "[mlflow]\ndefault_permission = NO_PERMISSIONS\nadmin_username = admin\nauth_cache_ttl_seconds = 60\n"
                f"database_uri = sqlite:///{self.directory}/users.db\n"
            )
            told |= {"MLFLOW_AUTH_CONFIG_PATH": str(users), "MLFLOW_AUTH_ADMIN_PASSWORD": self.password}
            told |= {"MLFLOW_FLASK_SERVER_SECRET_KEY": "one that all workers share"}
        return told

    def _is_healthy(self) -> bool:
        ask = f"import urllib.request as u; u.urlopen('{self.open_uri}/health', timeout=1)"
        return subprocess.run([*self._wrap, sys.executable, "-c", ask], capture_output=True).returncode == 0


@contextlib.contextmanager
def running(directory: Path, backend: str | None = None, **how: Any) -> Iterator[MlflowServer]:
    """Run an MLflow server, whatever the test does to it, and leave no process behind."""
    server = MlflowServer(directory, backend, **how)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def postgres(host: str = LOOPBACK, wrap: Sequence[str] = ()) -> Iterator[PostgresServer]:
    """Run a PostgreSQL server, whatever the test does to it, and leave neither process nor file behind."""
    pytest.importorskip("psycopg", reason="PostgreSQL needs thpsweep[postgresql]")
    server = PostgresServer(host, wrap)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.directory)


def _postgres_programs() -> Path:
    """Find where PostgreSQL's programs are; Debian keeps them off the path."""
    found = [Path(path).parent for path in [shutil.which("initdb")] if path]
    found += sorted(path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("no PostgreSQL server here (Debian: apt-get install postgresql)")
    return found[-1]


@contextlib.contextmanager
def silent() -> Iterator[str]:
    """Give the address of a server that never answers."""
    with socket.socket() as listening:
        listening.bind((LOOPBACK, 0))
        listening.listen(64)
        yield f"http://{LOOPBACK}:{listening.getsockname()[1]}"
