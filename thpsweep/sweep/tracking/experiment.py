"""Make the experiment of a sweep, unless it is there, and its saved views. A user may have renamed it."""

from collections.abc import Mapping

from mlflow import MlflowClient

from thpsweep.sweep.tracking import client as api
from thpsweep.sweep.tracking import views
from thpsweep.sweep.tracking.lookup import Place
from thpsweep.sweep.tracking.names import N_POINTS
from thpsweep.sweep.tracking.target import Target

KIND_TAGS = {
    "mlflow.experimentKind": "custom_model_development",  # else lists of experiments call it GenAI
    "mlflow.experiment.primaryMetric.name": views.NET,
}


def find_or_create(client: MlflowClient, target: Target, place: Place) -> str:
    """Give the id of the experiment that a sweep is recorded in; make it if there is none."""
    if place.experiment is None:
        location = None if target.is_server else target.artefacts_uri
        return str(client.create_experiment(place.name, artifact_location=location, tags=KIND_TAGS))
    if place.own is None:
        tags = client.get_experiment(place.experiment.id).tags
        for key in KIND_TAGS.keys() - tags.keys():  # what a user changed in the UI is theirs
            client.set_experiment_tag(place.experiment.id, key, KIND_TAGS[key])
    return place.experiment.id


def write_views(client: MlflowClient, experiment_id: str, wanted: Mapping[str, str]) -> None:
    """Set the tags that hold saved views, but for those that were changed since we did."""
    tags = client.get_experiment(experiment_id).tags
    for key, value in views.changed(tags, wanted).items():
        client.set_experiment_tag(experiment_id, key, value)


def n_points(client: MlflowClient, experiment_id: str) -> int:
    """Count the points of all sweeps of an experiment."""
    own = api.search(client, [experiment_id], f"metrics.`{N_POINTS}` > 0")
    return int(sum(run.data.metrics[N_POINTS] for run in own))
