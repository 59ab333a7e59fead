"""Bring MLflow in line with a sweep's journal, reading on from where it was; write nothing that is not in there."""

import dataclasses
import itertools
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from mlflow import MlflowClient

from thpsweep.errors import SweepError
from thpsweep.sweep.records import environment, journal, run_record
from thpsweep.sweep.records.journal import FILE_NAME, Record
from thpsweep.sweep.tracking import client as api
from thpsweep.sweep.tracking import tables
from thpsweep.sweep.tracking.bulk import Bulk, Unfit
from thpsweep.sweep.tracking.parent import Parent
from thpsweep.sweep.tracking.run import Recorded, Run, run
from thpsweep.sweep.tracking.target import Target


class Busy(Exception):
    """Somebody runs the sweep, and writes its runs."""


class Writer(Protocol):
    """A way to write runs, at most `batch` at a time."""

    batch: int

    def recorded(self, experiment_id: str, parent_id: str) -> dict[str, Recorded]:
        """Give what is there below a sweep's run, by point."""

    def write(self, experiment_id: str, runs: list[Run]) -> list[str]:
        """Write runs; give their ids."""


class Result(NamedTuple):
    """Where a point's latest result begins in the journal, when it came in, and whether it is a success."""

    start: int
    finished: str
    done: bool


@dataclasses.dataclass
class Added:
    """What was done to MLflow."""

    added: int = 0
    replaced: int = 0
    completed: int = 0

    def __str__(self) -> str:
        also = [f"{n} {what}" for what, n in (("replaced", self.replaced), ("completed", self.completed)) if n]
        return ", ".join([f"{self.added} runs added", *also])


@dataclasses.dataclass
class _Connection:
    client: MlflowClient
    experiment_id: str
    parent: Parent
    writer: Writer
    recorded: dict[str, Recorded]
    provenance: dict[str, str]


class Tracker:
    """Keep one sweep's runs in line with its journal; holds where records begin, not the records.

    A sweep is an MLflow run with one nested run a finished point, in an experiment named as the sweep: MLflow compares
    within an experiment, and the runs of one saved question, repeated ones too, have the same params and metrics,
    while those of two questions would fill each other's tables with empty columns. The sweep's run is RUNNING as long
    as points lack a result, then FAILED if any point failed.
    """

    def __init__(
        self, directory: Path, target: Target, *, bulk: bool = True, step: Callable[[], None] = lambda: None
    ) -> None:
        """`bulk` off writes through MLflow's public API, as for servers. `step` is called when something got done."""
        self._directory, self._file, self._target, self._bulk = directory, directory / FILE_NAME, target, bulk
        self._step = step
        self._offset = 0
        self._header: Record = {}
        self._is_open = False
        """Whether it is a search that may ask more points."""
        self._points: dict[str, int] = {}
        self._results: dict[str, Result] = {}
        self._pending: dict[str, None] = {}
        self._connection: _Connection | None = None

    def catch_up(self, *, ended: bool = False, final: bool, is_idle: Callable[[], bool] = lambda: True) -> Added:
        """Add what MLflow lacks; a second call adds nothing.

        `ended` makes the tables of the results, `final` copies the files of the sweep's directory, too.
        `is_idle` is asked once nobody else can be writing runs: a driver that starts later will read what is there.
        Raises: Busy if it is not; SweepError for an unusable database; whatever MLflow raises if it cannot be reached.
        """
        added = Added()
        with self._target.locked(self._directory), api.quiet():
            if not is_idle():
                raise Busy
            self._scan()
            try:
                self._write_pending(added)
                self._write_parent(ended or final, final)
            except Exception:
                self._connection = None  # whether the last write was carried out is open: look again
                raise
        return added

    @property
    def n_pending(self) -> int:
        """Results that have come in and may not be recorded."""
        return len(self._pending)

    def _scan(self) -> None:
        """Note what the journal has beyond what was read."""
        for after, record in journal.heads(self._file, self._offset):
            if record["type"] == "sweep":
                self._header = self._header or record
            elif record["type"] == journal.CONCLUDED:
                self._is_open = False
            elif record["type"] == "point":
                self._is_open = "search" in self._header
                self._points[sys.intern(record["id"])] = self._offset
            elif record["type"] == "result" and record["id"] in self._points:
                key = sys.intern(record["id"])
                self._results[key] = Result(self._offset, record["finished"], record["state"] == "done")
                self._pending[key] = None
            self._offset = after
        if not self._header:
            raise SweepError(f"{self._file}: does not begin with the record of a sweep")

    def _connected(self) -> _Connection:
        if self._connection is None:
            client = api.opened(self._target)
            experiment_id = api.experiment(client, self._target, self._header["name"], self._varied())
            parent = Parent(client, experiment_id, self._header, self._directory)
            writer = self._writer(client)
            provenance = run_record.provenance(self._header, environment.latest(self._directory))
            recorded = writer.recorded(experiment_id, parent.id)
            self._connection = _Connection(client, experiment_id, parent, writer, recorded, provenance)
            self._step()
        return self._connection

    def _varied(self) -> list[str]:
        """Name what the points were made to differ in, and do."""
        first: Record = {}
        varied: set[str] = set()
        for start in self._points.values():
            params = journal.at(self._file, start)["params"]
            first = first or params
            varied |= {key for key, value in params.items() if first.get(key) != value}
            if len(varied) == len(first):
                break
        return [key for key in first if key in varied]

    def _writer(self, client: MlflowClient) -> Writer:
        if self._bulk and not self._target.is_server:
            try:
                return Bulk(client, api.store(self._target))
            except Unfit as why:
                self._give_up_bulk(why)
        return api.Single(client)

    def _give_up_bulk(self, why: Unfit) -> None:
        self._bulk = False
        said = f"runs are written to MLflow one by one, which takes longer ({self._target.shown(str(why))})"
        print(f"thpsweep: {said}", file=sys.stderr)

    def _write_pending(self, added: Added) -> None:
        connection = self._connected()
        while self._pending:
            keys = list(itertools.islice(self._pending, connection.writer.batch))
            self._write(connection, [key for key in keys if not self._is_recorded(connection, key)], added)
            for key in keys:
                del self._pending[key]
            self._step()

    def _is_recorded(self, connection: _Connection, key: str) -> bool:
        found = connection.recorded.get(key)
        return found is not None and found.whole and found.finished == self._results[key].finished

    def _write(self, connection: _Connection, keys: list[str], added: Added) -> None:
        """Write the runs of some points: complete what was begun, replace what is older, add the rest."""
        fresh = []
        for key in keys:
            made = self._run(connection, key)
            found = connection.recorded.get(key)
            if found is not None and found.finished == made.finished:
                api.Single(connection.client).complete(found.run_id, made)
                connection.recorded[key] = Recorded(found.run_id, made.finished, True)
                added.completed += 1
                continue
            if found is not None:  # the point ran again: params and metrics of a run cannot be taken back
                connection.client.delete_run(found.run_id)
                added.replaced += 1
            else:
                added.added += 1
            fresh.append(made)
        for made, run_id in zip(fresh, self._written(connection, fresh), strict=True):
            connection.recorded[made.point] = Recorded(run_id, made.finished, True)

    def _written(self, connection: _Connection, runs: list[Run]) -> list[str]:
        """Write runs in bulk; where MLflow's tables are no longer what they were, through its API from then on."""
        if not runs:
            return []
        try:
            return connection.writer.write(connection.experiment_id, runs)
        except Unfit as why:
            self._give_up_bulk(why)
            connection.writer = api.Single(connection.client)
            return connection.writer.write(connection.experiment_id, runs)

    def _run(self, connection: _Connection, key: str) -> Run:
        record = journal.at(self._file, self._points[key])
        result = journal.at(self._file, self._results[key].start)
        return run(connection.parent.id, connection.provenance, record, result)

    def _write_parent(self, ended: bool, final: bool) -> None:
        parent = self._connected().parent
        self._write_tables(ended)
        parent.copy_files(final=final)
        n_done = sum(result.done for result in self._results.values())
        ends_ms = (run_record.epoch_ms(result.finished) for result in self._results.values())
        end_ms = max(ends_ms, default=parent.start_ms)
        parent.summarise(len(self._points), n_done, len(self._results) - n_done, end_ms, is_open=self._is_open)
        self._step()

    def _write_tables(self, ended: bool) -> None:
        """Make the tables that are not there, or older than the journal; under their names they are whole."""
        plan_is_old = tables.n_planned(self._directory) != len(self._points)
        changed_ns = self._file.stat().st_mtime_ns
        results_are_old = ended and not all(_is_newer(self._directory / name, changed_ns) for name in tables.SCHEMAS)
        if not plan_is_old and not results_are_old:
            return
        with tempfile.TemporaryDirectory(prefix=".tables-", dir=self._directory) as unfinished:
            if plan_is_old:
                tables.write_plan(self._file, self._points, Path(unfinished))
            if results_are_old:
                starts = [self._results[key].start for key in self._points if key in self._results]
                tables.write_results(self._file, starts, Path(unfinished))
            for path in Path(unfinished).iterdir():
                os.replace(path, self._directory / path.name)


def _is_newer(path: Path, than_ns: int) -> bool:
    return path.exists() and path.stat().st_mtime_ns > than_ns


def track(
    directory: Path,
    *,
    target: Target,
    final: bool = True,
    bulk: bool = True,
    is_idle: Callable[[], bool] = lambda: True,
) -> Added:
    """Add to MLflow what the journal of `directory` has and MLflow lacks; see Tracker."""
    return Tracker(directory, target, bulk=bulk).catch_up(final=final, is_idle=is_idle)
