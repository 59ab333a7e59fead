"""What MLflow has of a sweep, read back through its public API alone."""

import sqlite3

from mlflow import MlflowClient

from thpsweep.sweep.tracking.target import target


def at(root):
    """Name the database that a sweep has by default."""
    return target(root, None)


def client_of(root):
    return MlflowClient(tracking_uri=at(root).uri)


def dump(root):
    """Give all that the database holds, as SQL."""
    with sqlite3.connect(root / "mlflow.db") as connection:
        return list(connection.iterdump())


def runs(root, experiment="seed_debate"):
    """Give the sweep's run and the points' runs by the point's id."""
    client = client_of(root)
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id], max_results=1000)
    parents = [run for run in found if "thpsweep.sweep" in run.data.tags]
    children = {run.data.tags["thpsweep.point"]: run for run in found if "thpsweep.point" in run.data.tags}
    assert len(parents) + len(children) == len(found)
    assert len(parents) == 1
    return parents[0], children


def history(root, point, name):
    """List what MLflow has of a series, as (step, value, timestamp) in the order of the steps."""
    client = client_of(root)
    found = client.get_metric_history(runs(root)[1][point["id"]].info.run_id, name)
    return sorted((metric.step, metric.value, metric.timestamp) for metric in found)
