"""Where a sweep's runs are recorded: a database or a server, checked before anything runs; no MLflow here."""

import contextlib
import dataclasses
import fcntl
import os
import shlex
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from thpsweep.errors import OptionError, SweepError, ThpsweepError
from thpsweep.sweep.tracking import secrets

KEY = "sweep.tracking_uri"

SERVERS = ("http", "https")
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
"""What MLflow keeps runs in. It has given up folders of files (mlruns), and we never tested Databricks."""

ALLOWED = "null (mlflow.db in sweep.dir), http(s)://HOST:PORT, sqlite:////FILE, postgresql://, mysql:// or mssql://"
NO_SECRET = "a URI without password, token or the like; one that has it in the environment: '${oc.env:NAME}'"

SQLITE_NAME = "mlflow.db"
LOCK_NAME = ".mlflow.lock"


@dataclasses.dataclass(frozen=True)
class Target:
    """A tracking URI, and the folder for artefacts of experiments that are made there."""

    uri: str
    artefacts: Path

    @property
    def is_server(self) -> bool:
        """Whether a server does the writing."""
        return urlsplit(self.uri).scheme in SERVERS

    @property
    def file(self) -> Path | None:
        """The SQLite database; None for anything else."""
        return _file_of(self.uri) if self.uri.startswith("sqlite:///") else None

    @property
    def artefacts_uri(self) -> str:
        """Where a database's new experiments keep their artefacts; a server decides that itself."""
        return self.artefacts.as_uri()

    @property
    def without_user(self) -> str:
        """The URI without user and password: what a browser is told."""
        return secrets.without(self.uri)

    def shown(self, text: str) -> str:
        """Take what may be secret in the URI out of a text that a person or a log will see."""
        return secrets.masked(text, self.uri)

    def why(self, problem: BaseException) -> str:
        """Say in a line why it cannot be reached or used: the system's reason, which MLflow wraps in a page of others."""
        if isinstance(problem, ThpsweepError):
            return self.shown(str(problem))
        reasons = [cause for cause in _causes(problem) if isinstance(cause, OSError)]
        if self.is_server and reasons and (text := reasons[-1].strerror or str(reasons[-1])):
            return f"{self.without_user}: {text}"
        if isinstance(problem, PermissionError) and problem.filename:
            return f"{problem.filename}: {problem.strerror}; expected a user who may write there"
        # SQLAlchemy's errors have that of the driver in `orig`; their own text, which MLflow repeats, is the statement.
        original = next((orig for cause in _causes(problem) if (orig := getattr(cause, "orig", None))), problem)
        text = " ".join(str(original).partition("[SQL:")[0].split())
        return f"{type(original).__name__}: {self.shown(text)[:300]}"

    def shown_by(self, root: Path, directory: Path) -> str:
        """Say how a person gets to see the runs of a sweep in `directory`, whose root is `root`."""
        if self.is_server:
            return self.without_user
        if self.file != root / SQLITE_NAME:
            return f"thpsweep ui {shlex.quote(str(directory))}"
        return "thpsweep ui" if root == Path("sweeps").absolute() else f"thpsweep ui --dir {shlex.quote(str(root))}"

    @contextlib.contextmanager
    def locked(self, directory: Path) -> Iterator[None]:
        """Let one process at a time write: a SQLite file, as it has room for one, else the runs of one sweep."""
        where = self.file.parent if self.file else directory
        where.mkdir(parents=True, exist_ok=True)
        with (where / LOCK_NAME).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _causes(problem: BaseException) -> Iterator[BaseException]:
    """Give an error and what led to it, the innermost last."""
    seen: set[int] = set()
    cause: BaseException | None = problem
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def target(root: Path, uri: str | None, *, literal: bool = True, key: str = KEY) -> Target:
    """Check a tracking URI; None is mlflow.db in `root`. `literal`: it was typed, and so may be journaled.

    A server need not answer now: a sweep goes on without MLflow, and catches up.
    Raises: OptionError naming `key`, without the password.
    """
    root = root.absolute()
    uri = uri_of(root / SQLITE_NAME) if uri is None else _checked(uri, literal, key)
    return Target(uri, root / "artifacts")


def check_database(file: Path) -> None:
    """Find out at once what MLflow would find out after a minute of trying again. Raises: SweepError."""
    try:
        with contextlib.closing(sqlite3.connect(file)) as connection:
            connection.execute("SELECT count(*) FROM experiments").fetchone()
    except sqlite3.DatabaseError as error:
        if any(words in str(error) for words in ("unable to open", "locked", "readonly")):
            raise SweepError(f"{file}: cannot be used now ({error})") from error
        raise SweepError(f"{file}: not an MLflow database ({error}); move it away") from error


def uri_of(file: Path) -> str:
    """Write a file's name as SQLAlchemy reads it, whose releases take %20 and ? in it for something else, or do not."""
    plain = f"sqlite:///{file}"
    if _file_of(plain) == file:
        return plain
    import sqlalchemy

    # MLflow takes it literally once, and makes an empty folder of this name beside ours.
    quoted: str = sqlalchemy.URL.create("sqlite", database=str(file)).render_as_string()
    if _file_of(quoted) != file:
        raise OptionError("sweep.dir", str(file.parent), "a path without ?, by which no database is found")
    return quoted


def _file_of(uri: str) -> Path:
    if not set("%?") & set(uri):
        return Path(uri.removeprefix("sqlite:///"))
    import sqlalchemy

    return Path(sqlalchemy.make_url(uri).database or "")


def _checked(uri: str, literal: bool, key: str) -> str:
    try:
        parts = urlsplit(uri)
        _ = parts.port  # raises where it is none
    except ValueError as problem:
        # The problem names what it took for a port, which may be a part of a password.
        expected = f"{ALLOWED}; in a password / ? # @ are written %2F %3F %23 %40"
        raise OptionError(key, "(a URI that cannot be read)", expected) from problem
    shown = secrets.masked(uri, uri)
    scheme = parts.scheme.partition("+")[0]
    if scheme not in (*SERVERS, *DATABASES):
        raise OptionError(key, shown, ALLOWED)
    if literal and secrets.values(uri):
        raise OptionError(key, shown, NO_SECRET)
    if scheme == "sqlite":
        return _checked_file(uri, key)
    if not parts.hostname and "host=" not in parts.query:  # ?host=/FOLDER is a database's socket
        raise OptionError(key, shown, f"{ALLOWED}; the host is missing")
    if scheme in DATABASES:
        _check_driver(uri, shown, key)
    return uri


def _checked_file(uri: str, key: str) -> str:
    name = uri.removeprefix("sqlite:///")
    path = _file_of(uri)
    if name == uri or not name or ":memory:" in name or "?" in name:
        raise OptionError(key, uri, "sqlite:////ABSOLUTE/FILE")
    if not path.is_absolute():  # MLflow takes it from wherever a command runs, so that runs would be spread
        raise OptionError(key, uri, f"an absolute path: sqlite:///{path.absolute()}")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise OptionError(key, uri, "a file in a folder that exists and can be written to")
    if path.exists() and not path.is_file():
        raise OptionError(key, uri, "a file, or a name that is free")
    return uri


def _check_driver(uri: str, shown: str, key: str) -> None:
    import sqlalchemy

    try:
        sqlalchemy.make_url(uri).get_dialect().import_dbapi()
    except ImportError as problem:
        extra = "; pip install 'thpsweep[postgresql]'" if uri.startswith("postgresql:") else ""
        allowed = f"a database whose Python driver is installed ({problem}{extra})"
        raise OptionError(key, shown, allowed) from problem
    except sqlalchemy.exc.ArgumentError as problem:
        raise OptionError(key, shown, f"a database that SQLAlchemy knows ({problem})") from problem
