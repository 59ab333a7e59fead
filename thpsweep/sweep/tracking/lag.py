"""Say how far MLflow lags behind a journal, changing nothing; SQLite is asked directly, as MLflow takes seconds to start."""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thpsweep.sweep.tracking import messages
from thpsweep.sweep.tracking.reconcile import Recorded, standing
from thpsweep.sweep.tracking.target import Target

DEADLINE_S = 20.0
"""How long a server or another database may take to answer, MLflow's own start of a few seconds included."""

RUNS = """
    SELECT experiments.lifecycle_stage, experiments.name, point.value, finished.value, runs.run_uuid, runs.status,
        runs.lifecycle_stage
    FROM tags sweep
    JOIN runs own ON own.run_uuid = sweep.run_uuid
    JOIN experiments ON experiments.experiment_id = own.experiment_id
    LEFT JOIN tags parent ON parent.key = 'mlflow.parentRunId' AND parent.value = sweep.run_uuid
    LEFT JOIN runs ON runs.run_uuid = parent.run_uuid
    LEFT JOIN tags point ON point.key = 'thpsweep.point' AND point.run_uuid = runs.run_uuid
    LEFT JOIN tags finished ON finished.key = 'thpsweep.finished' AND finished.run_uuid = runs.run_uuid
    WHERE sweep.key = 'thpsweep.sweep' AND sweep.value = ?
"""

Rows = Iterable[Sequence[Any]]
"""Stage and name of the experiment; point and finishing time; id, status and stage of a run, or of none."""


class NoAnswer(Exception):
    """MLflow could not be asked; the text says why."""


@dataclass(frozen=True)
class Lag:
    """How the runs that are there differ from a journal's results: numbers of points."""

    missing: int
    doubled: int
    deleted: int
    in_trash: str
    """The name of the experiment, if a user deleted it."""

    def __str__(self) -> str:
        if self.in_trash:
            return f"the experiment {self.in_trash!r} was deleted in MLflow"
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

    def describe(self, target: Target, sweep: str, finished: Mapping[str, str]) -> str:
        """Compare the runs that are there with when each point's result came in, in words."""
        if target.uri in self._silent:
            return self._silent[target.uri]
        try:
            return str(compare(self._rows(target, sweep), finished))
        except (NoAnswer, sqlite3.Error) as problem:
            reason = problem if isinstance(problem, NoAnswer) else f"{type(problem).__name__}: {problem}"
            self._silent[target.uri] = f"MLflow cannot be asked ({target.shown(str(reason))[:200]})"
            return self._silent[target.uri]

    def _rows(self, target: Target, sweep: str) -> Rows:
        return _in_file(target.file, sweep) if target.file else _through_mlflow(target, sweep, self.deadline_s)


def compare(rows: Rows, finished: Mapping[str, str]) -> Lag:
    """Count the points that have no run of their latest result, too many, or one that a user deleted."""
    every = [(stage == "active", name, row) for stage, name, *row in rows]
    # Where a sweep is in an experiment that is there, one in the trash is of no interest.
    active = [row for is_active, _, row in every if is_active]
    names = [name for is_active, name, _ in every if not is_active]
    runs: dict[str, list[Recorded]] = {}
    unknown = 0
    for point, at, run_id, status, stage in active:
        if point is None or at is None:  # the sweep's own run with none below, or one whose tags a user removed
            unknown += run_id is not None and stage != "active"
            continue
        runs.setdefault(point, []).append(Recorded(run_id, at, status != "RUNNING", stage == "active"))
    found = [standing(runs.get(point, ()), at) for point, at in finished.items()]
    # `sync` recognises those that lost their tags by their params, and gives them back where they are not in the trash.
    taken = min(unknown, sum(each.current is None and not each.deleted for each in found))
    return Lag(
        missing=sum(not each.complete for each in found) - taken,
        doubled=sum(len(each.surplus) for each in found if each.complete),
        deleted=sum(each.deleted for each in found) + taken,
        in_trash="" if active or not names else names[0],
    )


def _in_file(file: Path, sweep: str) -> Rows:
    if not file.exists():
        return []
    # SQLite's own mode=ro leaves -wal and -shm behind, which only a connection that may write puts away.
    mode = "rw" if os.access(file, os.W_OK) and os.access(file.parent, os.W_OK) else "ro"
    if mode == "ro" and not file.with_name(f"{file.name}-wal").exists():
        mode = "ro&immutable=1"  # else it would have to make -wal and -shm, which whoever may only read cannot
    with contextlib.closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode={mode}", uri=True)) as connection:
        connection.execute("PRAGMA query_only = 1")
        return connection.execute(RUNS, [sweep]).fetchall()


def _through_mlflow(target: Target, sweep: str, deadline_s: float) -> Rows:
    """Ask in a process of its own: what MLflow waits for, nothing else can break off. Raises: NoAnswer."""
    question = json.dumps([messages.Order(Path(), target).encode(), sweep])
    try:
        answer = subprocess.run(
            messages.command("thpsweep.sweep.tracking.lag"),
            input=question,
            capture_output=True,
            text=True,
            timeout=deadline_s,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise NoAnswer(f"{target.without_user}: no answer within {deadline_s:.0f} s") from None
    lines = answer.stdout.splitlines()
    if answer.returncode or not lines:
        raise NoAnswer(lines[-1] if lines else f"the process that asks ended with {answer.returncode}")
    rows: Rows = json.loads(lines[-1])
    return rows


def main() -> None:
    """Read a question from standard input; write the answer, or why there is none, to standard output."""
    order, sweep = json.load(sys.stdin)
    target = messages.Order.decode(order).target
    try:
        from thpsweep.sweep.tracking.client import rows_of

        print(json.dumps(rows_of(target, sweep)))
    except Exception as problem:  # whatever a database or a server may raise: it is passed on in a line
        print(target.why(problem))
        sys.exit(1)


def _runs(n: int) -> str:
    return f"{n} run" if n == 1 else f"{n} runs"
