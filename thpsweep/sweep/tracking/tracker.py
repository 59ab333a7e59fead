"""Bring MLflow in line with a sweep's journal, reading on from where it was; write nothing that is not in there."""

import contextlib
import dataclasses
import itertools
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from mlflow import MlflowClient

from thpsweep.errors import SweepError
from thpsweep.sweep.records import environment, journal, run_record
from thpsweep.sweep.records.journal import FILE_NAME
from thpsweep.sweep.records.schema import Record
from thpsweep.sweep.tracking import client as api
from thpsweep.sweep.tracking import experiment, first_page, tables, views
from thpsweep.sweep.tracking.bulk import BulkWriter, SchemaMismatch
from thpsweep.sweep.tracking.client import Below
from thpsweep.sweep.tracking.labels import Labels
from thpsweep.sweep.tracking.parent import Parent
from thpsweep.sweep.tracking.reconcile import Recorded, Standing, standing
from thpsweep.sweep.tracking.run import FINISHED_AT, POINT, Common, TrackedRun
from thpsweep.sweep.tracking.target import Target


class SweepIsRunning(Exception):
    """A driver runs the sweep, and records its runs."""


class Writer(Protocol):
    """A way to write runs, at most `batch` at a time."""

    batch: int

    def recorded(self, experiment_id: str, parent_id: str) -> Below:
        """Give what is there below a sweep's run, also in the trash."""

    def write(self, experiment_id: str, runs: list[TrackedRun]) -> list[str]:
        """Write runs; give their ids."""


class LatestResult(NamedTuple):
    """Where a point's latest result begins in the journal, when it came in, and whether it is a success."""

    start: int
    finished: str
    done: bool


@dataclasses.dataclass
class Added:
    """What was done to MLflow, what was left in its trash, and what the user should know."""

    added: int = 0
    replaced: int = 0
    completed: int = 0
    doubled: int = 0
    relabelled: int = 0
    deleted: int = 0
    """Points whose run a user deleted."""
    notes: list[str] = dataclasses.field(default_factory=list)

    def __str__(self) -> str:
        counts = (
            (self.replaced, "replaced"),
            (self.completed, "completed"),
            (self.doubled, "doubled ones put into the trash"),
            (self.relabelled, "tagged again"),
            (self.deleted, "deleted in MLflow, left in its trash"),
        )
        return "; ".join(
            [", ".join([f"{self.added} runs added", *(f"{n} {what}" for n, what in counts if n)]), *self.notes]
        )


@dataclasses.dataclass
class _Connection:
    client: MlflowClient
    experiment_id: str
    parent: Parent
    writer: Writer
    recorded: dict[str, list[Recorded]]
    common: Common
    note: str
    relabelled: int = 0
    has_views: bool = False


class Tracker:
    """Keep one sweep's runs in line with its journal; holds where records begin, not the records.

    A sweep is an MLflow run with one nested run a finished point, in an experiment named as the sweep: MLflow compares
    within an experiment, and the runs of one saved question, repeated ones too, have the same params and metrics,
    while those of two questions would fill each other's tables with empty columns. The sweep's run is RUNNING as long
    as points lack a result, then FAILED if any point failed.
    """

    def __init__(
        self,
        directory: Path,
        target: Target,
        *,
        labels: Labels = Labels(),  # noqa: B008 it is immutable
        bulk: bool = True,
        step: Callable[[], None] = lambda: None,
    ) -> None:
        """`bulk` off writes through MLflow's public API, as for servers. `step` is called when something got done."""
        self._directory, self._file, self._target, self._bulk = directory, directory / FILE_NAME, target, bulk
        self._labels, self._step = labels, step
        self._offset = 0
        self._header: Record = {}
        self._is_open = False
        """Whether it is a search that may ask more points."""
        self._points: dict[str, int] = {}
        self._results: dict[str, LatestResult] = {}
        self._pending: dict[str, None] = {}
        self._connection: _Connection | None = None
        self._store: Any = None
        """MLflow's own of a database; None of a server, and before it is needed."""

    def catch_up(self, *, ended: bool = False, final: bool, is_idle: Callable[[], bool] = lambda: True) -> Added:
        """Add what MLflow lacks; a second call adds nothing.

        `ended` makes the tables of the results, `final` copies the files of the sweep's directory, too.
        `is_idle` is asked once nobody else can be writing runs: a driver that starts later will read what is there.
        Raises: SweepIsRunning if it is not; SweepError for an unusable database; MLflow's exceptions.
        """
        added = Added()
        with self._target.locked(self._directory), api.quiet():
            if not is_idle():
                raise SweepIsRunning
            self._scan()
            try:
                self._write_pending(added)
                self._write_parent(added, ended or final, final)
            except experiment.InTrashError as trash:
                added.notes.append(f"{trash}, with {len(self._results)} points of this sweep")
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
                self._results[key] = LatestResult(self._offset, record["finished"], record["state"] == "done")
                self._pending[key] = None
            self._offset = after
        if not self._header:
            raise SweepError(f"{self._file}: does not begin with the record of a sweep")

    def close(self) -> None:
        """Close the database."""
        self._connection = None
        if self._store is not None:
            self._store.engine.dispose()

    def _connected(self) -> _Connection:
        if self._connection is None:
            client, self._store = api.connect(self._target)
            place = experiment.find_or_create(client, self._target, self._header, self._directory.name)
            parent = Parent(client, place, self._header, self._directory, self._labels)
            writer, common = self._writer(client), self._common()
            below = writer.recorded(place.experiment_id, parent.id)
            self._connection = _Connection(
                client, place.experiment_id, parent, writer, below.points, common, place.note
            )
            self._pending = dict.fromkeys(self._results)  # what a user changed in MLflow may concern any of them
            self._identify(self._connection, below.unlabelled)
            self._step()
        return self._connection

    def _common(self) -> Common:
        """Find what the runs have because of each other; of a search, which asks points later, no order."""
        choices, rows = [], []
        for start in self._points.values():
            record = journal.at(self._file, start)
            params, chosen = (
                run_record.params(record),
                {"policy": record["point"]["policy"]["name"], **record["params"]},
            )
            choices.append(chosen)
            rows.append({key: params[key] for key in (*views.USUAL, *chosen) if key in params})
        places: dict[str, int] = {}
        if "search" not in self._header:
            places = dict(zip(self._points, first_page.spread(choices, "policy"), strict=True))
        provenance = run_record.provenance(self._header, environment.latest(self._directory))
        columns = views.params(_varied(rows))
        policies = tuple(dict.fromkeys(chosen["policy"] for chosen in choices))
        return Common(provenance, self._labels, places, columns, first_page.axes(rows, columns), policies)

    def _identify(self, connection: _Connection, unlabelled: Sequence[str]) -> None:
        """Recognise runs whose tags a user changed by their params and start, which nobody can change."""
        if not unlabelled:
            return
        made = {
            (run.start_ms, *first_page.without_texts(run.params)): run
            for key, start in self._every_result()
            for run in [self._run(connection, key, start)]
        }
        for run_id in unlabelled:
            there = connection.client.get_run(run_id)
            known = made.get((there.info.start_time, *first_page.without_texts(there.data.params)))
            if known is not None:
                state = Recorded(
                    run_id, known.finished, there.info.end_time is not None, there.info.lifecycle_stage == api.ACTIVE
                )
                connection.recorded.setdefault(known.point, []).append(state)
                if state.active:
                    connection.client.set_tag(run_id, POINT, known.point)
                    connection.client.set_tag(run_id, FINISHED_AT, known.finished)
                    connection.relabelled += 1

    def _writer(self, client: MlflowClient) -> Writer:
        if self._bulk and self._store is not None:
            try:
                return BulkWriter(client, self._store)
            except SchemaMismatch as mismatch:
                self._give_up_bulk(mismatch)
        return api.ApiWriter(client)

    def _give_up_bulk(self, mismatch: SchemaMismatch) -> None:
        self._bulk = False
        text = f"runs are written to MLflow one by one, which takes longer ({self._target.shown(str(mismatch))})"
        print(f"thpsweep: {text}", file=sys.stderr)

    def _write_pending(self, added: Added) -> None:
        connection = self._connected()
        added.relabelled, connection.relabelled = connection.relabelled, 0
        added.notes += [connection.note] if connection.note else []
        while self._pending:
            keys = list(itertools.islice(self._pending, connection.writer.batch))
            self._write(connection, [key for key in keys if not self._is_settled(connection, key, added)], added)
            for key in keys:
                del self._pending[key]
            self._step()
        added.deleted = sum(self._standing(connection, key).deleted for key in self._results)

    def _standing(self, connection: _Connection, key: str) -> Standing:
        return standing(connection.recorded.get(key, ()), self._results[key].finished)

    def _is_settled(self, connection: _Connection, key: str, added: Added) -> bool:
        """Put runs of a point that should not be active into the trash; tell whether nothing is left to be written."""
        found = self._standing(connection, key)
        for run_id in found.surplus:
            connection.client.delete_run(run_id)
        added.doubled += len(found.surplus if found.complete else found.doubled)
        if found.surplus:
            runs = connection.recorded[key]
            connection.recorded[key] = [
                dataclasses.replace(run, active=run.active and run.run_id not in found.surplus) for run in runs
            ]
        return found.complete

    def _write(self, connection: _Connection, keys: list[str], added: Added) -> None:
        """Write the runs of some points: complete what was begun, add the rest."""
        fresh = []
        for key in keys:
            made = self._run(connection, key, self._results[key].start)
            current = self._standing(connection, key).current
            if current is None:
                added.replaced += bool(connection.recorded.get(key))
                added.added += not connection.recorded.get(key)
                fresh.append(made)
                continue
            api.ApiWriter(connection.client).complete(current.run_id, made)
            others = [run for run in connection.recorded[key] if run.run_id != current.run_id]
            connection.recorded[key] = [*others, dataclasses.replace(current, whole=True)]
            added.completed += 1
        for made, run_id in zip(fresh, self._written(connection, fresh), strict=True):
            connection.recorded.setdefault(made.point, []).append(Recorded(run_id, made.finished, True))

    def _written(self, connection: _Connection, runs: list[TrackedRun]) -> list[str]:
        """Write runs in bulk; where MLflow's tables are no longer what they were, through its API from then on."""
        if not runs:
            return []
        try:
            return connection.writer.write(connection.experiment_id, runs)
        except SchemaMismatch as mismatch:
            self._give_up_bulk(mismatch)
            connection.writer = api.ApiWriter(connection.client)
            return connection.writer.write(connection.experiment_id, runs)

    def _every_result(self) -> Iterator[tuple[str, int]]:
        """Give the points of all results, earlier ones too, and where these begin in the journal."""
        start = 0
        for after, record in journal.heads(self._file, 0):
            if record["type"] == "result" and record["id"] in self._points:
                yield record["id"], start
            start = after

    def _run(self, connection: _Connection, key: str, start: int) -> TrackedRun:
        record, result = journal.at(self._file, self._points[key]), journal.at(self._file, start)
        return connection.common.run(connection.parent.id, record, result)

    def _write_parent(self, added: Added, ended: bool, final: bool) -> None:
        connection = self._connected()
        parent = connection.parent
        self._write_tables(ended)
        parent.copy_files(final=final)
        n_done = sum(result.done for result in self._results.values())
        ends_ms = (run_record.epoch_ms(result.finished) for result in self._results.values())
        end_ms = max(ends_ms, default=parent.start_ms)
        parent.summarise(len(self._points), n_done, len(self._results) - n_done, end_ms, is_open=self._is_open)
        if parent.deleted:
            added.notes.append("the sweep's own run was deleted in MLflow and is left in its trash")
        self._write_views(connection, final)
        self._step()

    def _write_views(self, connection: _Connection, final: bool) -> None:
        """Write the views of the experiment when it is new to us, and when a sweep has ended: it may have more points."""
        if connection.has_views and not final:
            return
        n_points = max(len(self._points), experiment.n_points(connection.client, connection.experiment_id))
        is_search = "search" in self._header
        common = self._common() if is_search else connection.common
        if is_search or n_points > len(self._points):  # runs that are there were written when less was known
            api.ApiWriter(connection.client).complete_texts(connection.experiment_id, common.axes)
        wanted = views.tags(common.columns, list(common.axes.values()), n_points, common.policies)
        experiment.write_views(connection.client, connection.experiment_id, wanted)
        connection.has_views = True

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


def _varied(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Name the params that points differ in, those that only some have included."""
    keys = dict.fromkeys(key for row in rows for key in row)
    return [key for key in keys if len({row.get(key) for row in rows}) > 1]


def track(
    directory: Path,
    *,
    target: Target,
    labels: Labels = Labels(),  # noqa: B008 it is immutable
    final: bool = True,
    bulk: bool = True,
    is_idle: Callable[[], bool] = lambda: True,
) -> Added:
    """Add to MLflow what the journal of `directory` has and MLflow lacks; see Tracker."""
    with contextlib.closing(Tracker(directory, target, labels=labels, bulk=bulk)) as tracker:
        return tracker.catch_up(final=final, is_idle=is_idle)
