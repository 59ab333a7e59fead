"""Keep one run in MLflow for each point: write what is missing, complete what was begun, delete what is too many."""

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any, Protocol

from mlflow import MlflowClient

from thpsweep.sweep.tracking import client as api
from thpsweep.sweep.tracking.added import Added
from thpsweep.sweep.tracking.bulk import BulkWriter, SchemaMismatch
from thpsweep.sweep.tracking.common import Common
from thpsweep.sweep.tracking.index import JournalIndex
from thpsweep.sweep.tracking.lookup import Found
from thpsweep.sweep.tracking.names import FINISHED_AT, POINT
from thpsweep.sweep.tracking.reconcile import Recorded, Standing, standing
from thpsweep.sweep.tracking.run import TrackedRun
from thpsweep.sweep.tracking.target import Target


class Writer(Protocol):
    """A way to write runs, at most `batch` at a time."""

    batch: int

    def write(self, experiment_id: str, runs: list[TrackedRun]) -> list[str]:
        """Write runs; give their ids."""


class Writing:
    """Write runs in bulk; where MLflow's tables are not what they were, through its API."""

    def __init__(self, client: MlflowClient, store: Any, target: Target) -> None:
        """`store` is MLflow's own of a database; None writes through the API."""
        self._target, self._one_by_one = target, api.ApiWriter(client)
        self._writer: Writer = self._one_by_one
        if store is not None:
            try:
                self._writer = BulkWriter(client, store)
            except SchemaMismatch as mismatch:
                self._give_up_bulk(mismatch)

    @property
    def batch(self) -> int:
        """How many runs are written at a time."""
        return self._writer.batch

    def write(self, experiment_id: str, runs: list[TrackedRun]) -> list[str]:
        """Write runs; give their ids."""
        try:
            return self._writer.write(experiment_id, runs) if runs else []
        except SchemaMismatch as mismatch:
            self._give_up_bulk(mismatch)
            return self._writer.write(experiment_id, runs)

    def complete(self, run_id: str, run: TrackedRun) -> None:
        """Write what a run may lack."""
        self._one_by_one.complete(run_id, run)

    def _give_up_bulk(self, mismatch: SchemaMismatch) -> None:
        self._writer = self._one_by_one
        text = f"runs are written to MLflow one by one, which takes longer ({self._target.shown(str(mismatch))})"
        print(f"thpsweep: {text}", file=sys.stderr)


class PointRuns:
    """The runs of a sweep's points in one experiment, below the run `own`, as they were found there and are now."""

    def __init__(
        self,
        client: MlflowClient,
        writing: Writing,
        experiment_id: str,
        own: str,
        common: Common,
        index: JournalIndex,
        found: Found,
    ) -> None:
        self._client, self._writing, self._experiment_id, self._own = client, writing, experiment_id, own
        self._common, self._index = common, index
        self._runs = found.runs
        self.n_relabelled = self._relabel(found.untagged)

    @property
    def batch(self) -> int:
        """How many points are brought in line at a time."""
        return self._writing.batch

    def bring_in_line(self, keys: Sequence[str], added: Added) -> None:
        """Leave one active run of the latest result of some points, but for those whose run a user deleted."""
        fresh = []
        for key in keys:
            self._delete_surplus(key, added)
            state = self._standing(key)
            if state.complete:
                continue
            run = self._common.run(
                self._own, self._index.point(key), self._index.result(self._index.results[key].start)
            )
            if state.current is None:
                added.replaced += bool(self._runs.get(key))
                added.added += not self._runs.get(key)
                fresh.append(run)
            else:
                self._complete(key, state.current, run)
                added.completed += 1
        for run, run_id in zip(fresh, self._writing.write(self._experiment_id, fresh), strict=True):
            self._runs.setdefault(run.point, []).append(Recorded(run_id, run.finished, True))

    def n_deleted(self) -> int:
        """Count the points whose run a user deleted."""
        return sum(self._standing(key).deleted for key in self._index.results)

    def _standing(self, key: str) -> Standing:
        return standing(self._runs.get(key, ()), self._index.results[key].finished)

    def _delete_surplus(self, key: str, added: Added) -> None:
        """Put runs of a point that should not be active into the trash."""
        state = self._standing(key)
        for run_id in state.surplus:
            self._client.delete_run(run_id)
        if state.surplus:
            added.doubled += len(state.surplus if state.complete else state.doubled)
            self._runs[key] = [
                dataclasses.replace(run, active=run.active and run.run_id not in state.surplus)
                for run in self._runs[key]
            ]

    def _complete(self, key: str, begun: Recorded, run: TrackedRun) -> None:
        self._writing.complete(begun.run_id, run)
        others = [other for other in self._runs[key] if other.run_id != begun.run_id]
        self._runs[key] = [*others, dataclasses.replace(begun, whole=True)]

    def _relabel(self, untagged: Sequence[tuple[str, Recorded]]) -> int:
        """Give runs back the tags that a user took from them; not in the trash, where MLflow lets nobody write."""
        active = [(point, run) for point, run in untagged if run.active]
        for point, run in active:
            self._client.set_tag(run.run_id, POINT, point)
            self._client.set_tag(run.run_id, FINISHED_AT, run.finished)
        return len(active)
