"""All that MLflow tells of an experiment, to be compared with another's; and a journal with all that may stand in one."""

import math

from mlflow.entities import ViewType

from tests.sweep.journals import a_failure, a_point, a_result, with_series

PAIRS = [("copy", "plain"), ("inplace", "naïve ✓"), ("switch", "quote ' \" %"), ("copy", "l" * 9000), ("none", "")]


def whatever_may_come():
    """Give records of points that succeed, fail, never pay back or have a course, with words of all kinds."""
    points = [a_point(index, policy, index + 1, note=text) for index, (policy, text) in enumerate(PAIRS)]
    results = [
        a_result(points[0], {"cost/cpu_ms": 1.0, "tradeoff/payback_s": math.inf, "tradeoff/net_cpu_ms": -3.5}, 1),
        with_series(a_result(points[1], {"cost/cpu_ms": 4.0, "tradeoff/payback_s": 3.0}, 2), [0.5, 1.0, 61.0]),
        a_failure(points[2], 3),
        {**a_failure(points[3], 4), "state": "timeout"},
        with_series(a_result(points[4], {"cost/cpu_ms": 2.0, "tradeoff/payback_s": math.nan}, 5), [1.0] * 3),
    ]
    return [*points, *results]


OWN = {"run_id", "run_uuid", "artifact_uri", "experiment_id"}
"""What holds the id of a run or an experiment, which differ."""


INFO = ["run_name", "user_id", "status", "start_time", "end_time", "lifecycle_stage"]
ORDERS = [
    ["metrics.`cost/cpu_ms` DESC"],
    ["params.`sharing.degree`"],
    ["attributes.start_time"],
    ["tags.`mlflow.runName`"],
]
FILTERS = [
    "metrics.`cost/cpu_ms` > 2",
    "params.policy = 'copy'",
    "tags.payback = 'never'",
    "attributes.status = 'FAILED'",
    "attributes.run_name LIKE '%x0003%'",
    "attributes.user_id = 'ada'",
]


def everything(client, name="seed_debate"):
    """Read back all that MlflowClient tells of an experiment; ids of runs are left out, or cut out of what holds them."""
    experiment = client.get_experiment_by_name(name)
    found = client.search_runs([experiment.experiment_id], max_results=1000)
    every = sorted(found, key=lambda run: run.data.tags.get("thpsweep.point", ""))
    names = {run.info.run_id: run.info.run_name for run in every}
    names |= {run.info.run_id: "the sweep" for run in every if "thpsweep.sweep" in run.data.tags}
    return {
        "experiment": (experiment.tags, experiment.lifecycle_stage),
        "runs": [told(client, client.get_run(run.info.run_id), names, experiment) for run in every],
        "orders": [[names[run.info.run_id] for run in searched(client, experiment, "", order)] for order in ORDERS],
        "filters": [sorted(names[run.info.run_id] for run in searched(client, experiment, text)) for text in FILTERS],
        "deleted": len(client.search_runs([experiment.experiment_id], run_view_type=ViewType.DELETED_ONLY)),
    }


def searched(client, experiment, text, order=None):
    return client.search_runs([experiment.experiment_id], text, max_results=100, order_by=order)


def told(client, run, names, experiment):
    """Give all of a run: info, params, tags, metrics and their history, inputs and outputs."""
    info = {name: getattr(run.info, name) for name in INFO}
    unknown = set(dict(run.info)) - set(INFO) - OWN
    tags = {key: names.get(value, value) for key, value in run.data.tags.items() if key != "thpsweep.files"}
    histories = {
        key: sorted((m.step, m.timestamp, m.value, m.key) for m in client.get_metric_history(run.info.run_id, key))
        for key in run.data.metrics
    }
    return {
        "info": info,
        "other info": {name: getattr(run.info, name) for name in unknown},
        "artefacts": run.info.artifact_uri.replace(run.info.run_id, "ID").replace(experiment.artifact_location, "ROOT"),
        "params": sorted(run.data.params.items()),  # a database gives them in any order
        "tags": sorted(tags.items()),
        "metrics": sorted(run.data.metrics.items()),
        "histories": histories,
        "inputs": (run.inputs.dataset_inputs, run.outputs and run.outputs.model_outputs),
    }
