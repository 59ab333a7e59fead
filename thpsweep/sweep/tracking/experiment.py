"""Find the experiment that has a sweep, or make one. A user may have renamed it, or deleted it: then it stays deleted."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.entities import Experiment, ViewType
from mlflow.entities import Run as MlflowRun

from thpsweep.sweep.records import run_record
from thpsweep.sweep.records.schema import Record
from thpsweep.sweep.tracking import client as api
from thpsweep.sweep.tracking import views
from thpsweep.sweep.tracking.client import ACTIVE
from thpsweep.sweep.tracking.run import SWEEP
from thpsweep.sweep.tracking.target import Target

KIND_TAGS = {
    "mlflow.experimentKind": "custom_model_development",  # else lists of experiments call it GenAI
    "mlflow.experiment.primaryMetric.name": views.NET,
}

DIRECTORY = "thpsweep.directory"
"""Tag of a sweep's own run: the name of its folder."""

N_POINTS = "sweep/points"
"""Metric of a sweep's own run, and of no other."""


class InTrashError(Exception):
    """A user deleted the experiment: nothing can be recorded in it, and nobody asked for it to come back."""

    def __init__(self, name: str, experiment_id: str) -> None:
        super().__init__(name, experiment_id)
        self.name, self.experiment_id = name, experiment_id

    def __str__(self) -> str:
        restore = f"`mlflow experiments restore -x {self.experiment_id}` brings it back"
        return f"the experiment {self.name!r} was deleted in MLflow and stays in its trash ({restore})"


@dataclass(frozen=True)
class TrackedSweep:
    """Where a sweep is recorded: the experiment, the sweep's own run if there is one, and what the user should know."""

    experiment_id: str
    parent: MlflowRun | None
    note: str = ""


def find_or_create(client: MlflowClient, target: Target, header: Record, directory: str) -> TrackedSweep:
    """Find the experiment that has the sweep's own run, else one of the sweep's name, else make one.

    Raises: InTrashError where a user deleted it.
    """
    experiments = {found.experiment_id: found for found in _experiments(client)}
    is_active = {key: found.lifecycle_stage == ACTIVE for key, found in experiments.items()}
    own = _own_runs(client, list(experiments), header, directory)
    if own:
        best = min(own, key=lambda run: (not is_active[run.info.experiment_id], run.info.lifecycle_stage != ACTIVE))
        found = experiments[best.info.experiment_id]
        if found.lifecycle_stage != ACTIVE:
            raise InTrashError(found.name, found.experiment_id)
        return TrackedSweep(found.experiment_id, best)
    by_name = {found.name: found for found in experiments.values()}
    note = ""
    for name in (header["name"], directory):
        named = by_name.get(name)
        if named is None:
            location = None if target.is_server else target.artefacts_uri
            return TrackedSweep(client.create_experiment(name, artifact_location=location, tags=KIND_TAGS), None, note)
        if named.lifecycle_stage == ACTIVE:
            _set_missing(client, named.experiment_id, named.tags, KIND_TAGS)
            return TrackedSweep(named.experiment_id, None, note)
        # MLflow gives the name of a deleted experiment to no other one.
        note = f"{InTrashError(name, named.experiment_id)}; this sweep is recorded in the experiment {directory!r}"
    raise InTrashError(directory, by_name[directory].experiment_id)


def write_views(client: MlflowClient, experiment_id: str, wanted: Mapping[str, str]) -> None:
    """Set the tags that hold saved views, but for those that were changed since we did."""
    tags = client.get_experiment(experiment_id).tags
    for key, value in views.changed(tags, wanted).items():
        client.set_experiment_tag(experiment_id, key, value)


def n_points(client: MlflowClient, experiment_id: str) -> int:
    """Count the points of all sweeps of an experiment."""
    own = api.search(client, [experiment_id], f"metrics.`{N_POINTS}` > 0")
    return int(sum(run.data.metrics[N_POINTS] for run in own))


def _set_missing(client: MlflowClient, experiment_id: str, tags: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    for key, value in wanted.items():
        if key not in tags:  # what a user changed in the UI is theirs
            client.set_experiment_tag(experiment_id, key, value)


def _experiments(client: MlflowClient) -> Iterable[Experiment]:
    token = None
    while True:
        page = client.search_experiments(view_type=ViewType.ALL, max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _own_runs(client: MlflowClient, experiment_ids: Sequence[str], header: Record, directory: str) -> list[MlflowRun]:
    """Find the sweep's own run by its tag; where a user removed that, by when the sweep began, where and what it counts."""
    tagged = [*api.search(client, experiment_ids, f"tags.`{SWEEP}` = '{header['sweep']}'", ViewType.ALL)]
    if tagged:
        return tagged
    begun_ms = run_record.epoch_ms(header["created"])
    same_start = api.search(client, experiment_ids, f"attributes.start_time = {begun_ms}", ViewType.ALL)
    untagged = (run for run in same_start if N_POINTS in run.data.metrics and not _is_of_a_sweep(run))
    return [run for run in untagged if run.data.tags.get(DIRECTORY, directory) == directory]


def _is_of_a_sweep(run: MlflowRun) -> bool:
    """Tell whether its tag names a sweep: of two that began in the same millisecond each has its own."""
    return len(run.data.tags.get(SWEEP, "")) == 64
