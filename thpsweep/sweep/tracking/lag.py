"""Say how far MLflow lags behind a journal, changing nothing; SQLite is asked directly, as MLflow takes seconds to start."""

import sqlite3
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from thpsweep.sweep.tracking import lookup, messages, sql_reader
from thpsweep.sweep.tracking.index import JournalIndex
from thpsweep.sweep.tracking.lookup import Reader
from thpsweep.sweep.tracking.reconcile import standing
from thpsweep.sweep.tracking.target import Target

DEADLINE_S = 20.0
"""How long a server or another database may take to answer, MLflow's own start of a few seconds included."""


class NoAnswer(Exception):
    """MLflow could not be asked; the text says why."""


@dataclass(frozen=True)
class Lag:
    """How the runs that are there differ from a journal's results: numbers of points."""

    missing: int = 0
    doubled: int = 0
    deleted: int = 0
    in_trash: str = ""
    """Says that a user deleted the experiment, if so."""

    def __str__(self) -> str:
        if self.in_trash:
            return self.in_trash
        differs = ", ".join(
            [f"{_runs(self.missing)} behind"] * (self.missing > 0)
            + [f"{_runs(self.doubled)} too many"] * (self.doubled > 0)
        )
        deleted = f"; {_runs(self.deleted)} deleted there" if self.deleted else ""
        return f"MLflow is {differs}{deleted}" if differs else f"MLflow is in step{deleted}"


@dataclass
class Questions:
    """Ask MLflow about sweeps; a target that did not answer once is not asked again."""

    deadline_s: float = DEADLINE_S
    _silent: dict[str, str] = field(default_factory=dict)

    def describe(self, target: Target, directory: Path) -> str:
        """Compare the runs that are there with the journal of a sweep, in words."""
        if target.uri in self._silent:
            return self._silent[target.uri]
        try:
            return self._answer(target, directory)
        except (NoAnswer, sqlite3.Error) as problem:
            reason = problem if isinstance(problem, NoAnswer) else f"{type(problem).__name__}: {problem}"
            self._silent[target.uri] = f"MLflow cannot be asked ({target.shown(str(reason))[:200]})"
            return self._silent[target.uri]

    def _answer(self, target: Target, directory: Path) -> str:
        if target.file is None:
            return _through_mlflow(messages.Order(directory, target), self.deadline_s)
        if not target.file.exists():
            return str(Lag(missing=len(_index(directory).results)))
        with sql_reader.reading(target.file) as reader:
            return str(compare(reader, _index(directory)))


def compare(reader: Reader, index: JournalIndex) -> Lag:
    """Count the points that have no run of their latest result, too many, or one that a user deleted."""
    try:
        place = lookup.place(reader, index.header, index.directory.name)
    except lookup.InTrashError as trash:
        return Lag(in_trash=trash.fact)
    runs = lookup.point_runs(reader, place.own.id, index).runs if place.own else {}
    states = [standing(runs.get(point, ()), result.finished) for point, result in index.results.items()]
    return Lag(
        missing=sum(not state.complete for state in states),
        doubled=sum(len(state.surplus) for state in states if state.complete),
        deleted=sum(state.deleted for state in states),
    )


def _index(directory: Path) -> JournalIndex:
    index = JournalIndex(directory)
    index.read_on()
    return index


def _through_mlflow(order: messages.Order, deadline_s: float) -> str:
    """Ask in a process of its own: what MLflow waits for, nothing else can break off. Raises: NoAnswer."""
    try:
        answer = subprocess.run(
            messages.command("thpsweep.sweep.tracking.lag"),
            input=order.encode(),
            capture_output=True,
            text=True,
            timeout=deadline_s,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise NoAnswer(f"{order.target.without_user}: no answer within {deadline_s:.0f} s") from None
    lines = answer.stdout.splitlines()
    if answer.returncode or not lines:
        raise NoAnswer(lines[-1] if lines else f"the process that asks ended with {answer.returncode}")
    return lines[-1]


def main() -> None:
    """Read an order from standard input; write the answer, or why there is none, to standard output."""
    order = messages.Order.decode(sys.stdin.read())
    try:
        from thpsweep.sweep.tracking.client import api_reader, quiet

        with quiet():
            print(compare(api_reader(order.target), _index(order.directory)))
    except Exception as problem:  # whatever a database or a server may raise: it is passed on in a line
        print(order.target.why(problem))
        sys.exit(1)


def _runs(n: int) -> str:
    return f"{n} run" if n == 1 else f"{n} runs"
