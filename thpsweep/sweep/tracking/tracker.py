"""Bring MLflow in line with a sweep's journal, reading on from where it was; write nothing that is not in there."""

import contextlib
import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from thpsweep.sweep.records import run_record
from thpsweep.sweep.tracking import client as api
from thpsweep.sweep.tracking import experiment, lookup, tables, views
from thpsweep.sweep.tracking.added import Added
from thpsweep.sweep.tracking.common import Common
from thpsweep.sweep.tracking.index import JournalIndex
from thpsweep.sweep.tracking.labels import Labels
from thpsweep.sweep.tracking.parent import Parent
from thpsweep.sweep.tracking.point_runs import PointRuns, Writing
from thpsweep.sweep.tracking.target import Target

_SEEN = 50
"""Results that are asked for metrics of the user's own, to choose the columns of a view."""


class SweepIsRunning(Exception):
    """A driver runs the sweep, and records its runs."""


@dataclasses.dataclass
class _Connection:
    client: MlflowClient
    experiment_id: str
    parent: Parent
    runs: PointRuns
    common: Common
    note: str
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
        self._directory, self._target, self._bulk = directory, target, bulk
        self._labels, self._step = labels, step
        self._index = JournalIndex(directory)
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
            self._pending |= dict.fromkeys(self._index.read_on())
            try:
                self._write_pending(added)
                self._write_parent(added, ended or final, final)
            except lookup.InTrashError as trash:
                added.notes.append(f"{trash}, with {len(self._index.results)} points of this sweep")
            except Exception:
                self._connection = None  # whether the last write was carried out is open: look again
                raise
        return added

    @property
    def n_pending(self) -> int:
        """Results that have come in and may not be recorded."""
        return len(self._pending)

    def close(self) -> None:
        """Close the database."""
        self._connection = None
        if self._store is not None:
            self._store.engine.dispose()

    def _connected(self) -> _Connection:
        if self._connection is None:
            client, self._store = api.connect(self._target)
            self._connection = self._connect(client, self._store if self._bulk else None)
            self._pending = dict.fromkeys(self._index.results)  # a user may have changed any of them in MLflow
            self._step()
        return self._connection

    def _connect(self, client: MlflowClient, store: Any) -> _Connection:
        """Find the sweep in MLflow, or begin it there. Raises: InTrashError."""
        reader = api.reader(client, store)
        place = lookup.place(reader, self._index.header, self._directory.name)
        where = experiment.find_or_create(client, self._target, place)
        own = place.own.id if place.own else None
        parent = Parent(client, where, own, self._index.header, self._directory, self._labels)
        common = Common.of(self._index, self._labels)
        found = lookup.point_runs(reader, parent.id, self._index)
        writing = Writing(client, store, self._target)
        runs = PointRuns(client, writing, where, parent.id, common, self._index, found)
        return _Connection(client, where, parent, runs, common, place.note)

    def _write_pending(self, added: Added) -> None:
        connection = self._connected()
        added.relabelled, connection.runs.n_relabelled = connection.runs.n_relabelled, 0
        added.notes += [connection.note] if connection.note else []
        while self._pending:
            keys = list(itertools.islice(self._pending, connection.runs.batch))
            connection.runs.bring_in_line(keys, added)
            for key in keys:
                del self._pending[key]
            self._step()
        added.deleted = connection.runs.n_deleted()

    def _write_parent(self, added: Added, ended: bool, final: bool) -> None:
        connection, index = self._connected(), self._index
        parent = connection.parent
        tables.refresh(index, with_results=ended)
        parent.copy_files(final=final)
        n_done = sum(result.done for result in index.results.values())
        ends_ms = (run_record.epoch_ms(result.finished) for result in index.results.values())
        end_ms = max(ends_ms, default=parent.start_ms)
        parent.summarise(len(index.points), n_done, len(index.results) - n_done, end_ms, is_open=index.is_open)
        if parent.deleted:
            added.notes.append("the sweep's own run was deleted in MLflow and is left in its trash")
        self._write_views(connection, final)
        self._step()

    def _write_views(self, connection: _Connection, final: bool) -> None:
        """Write the views of the experiment when it is new to us, and when a sweep has ended: it may have more points."""
        if connection.has_views and not final:
            return
        n_own = len(self._index.points)
        n_points = max(n_own, experiment.n_points(connection.client, connection.experiment_id))
        is_search = self._index.is_search
        common = Common.of(self._index, self._labels) if is_search else connection.common
        if is_search or n_points > n_own:  # runs that are there were written when less was known
            api.ApiWriter(connection.client).complete_texts(connection.experiment_id, common.axes)
        own = [*dict.fromkeys(name for result in self._index.some_results(_SEEN) for name in run_record.own(result))]
        wanted = views.tags(common.columns, list(common.axes.values()), n_points, common.policies, own)
        experiment.write_views(connection.client, connection.experiment_id, wanted)
        connection.has_views = True


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
