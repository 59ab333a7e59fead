#!/usr/bin/env bash
# MLflow's metric history is a sorted set: equal values logged together are one, and the order of logging is lost.
#
# Version:   mlflow 3.17.2, SQLite.
# Behaviour: one log_batch of five replicates at one step and timestamp, three of them equal: the history has three
#            rows, its mean is wrong. Values 3, 1, 2 logged one by one at one timestamp come back as 1, 2, 3; across
#            steps the history is sorted by timestamp first, so a metric logged with steps 0, 5, 5 and falling
#            timestamps comes back from the last step to the first.
# Expected:  an append-only list in the order of logging ("all metric values logged for the key").
# Source:    mlflow/store/tracking/sqlalchemy_store.py: the primary key metric_pk is (key, timestamp, step, run_uuid,
#            value, is_nan), log_batch drops duplicates of it; get_metric_history() orders by timestamp, step, value.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'mlflow==3.17.2'
export WORK=$work MLFLOW_DISABLE_TELEMETRY=true
"$work/venv/bin/python" - >"$work/seen" <<'EOF'
import os

import mlflow
from mlflow.entities import Metric

mlflow.set_tracking_uri("sqlite:///" + os.environ["WORK"] + "/mlflow.db")
client = mlflow.MlflowClient()
experiment = client.create_experiment("e", artifact_location="file://" + os.environ["WORK"])
run = client.create_run(experiment).info.run_id
replicates = [0.5, 0.25, 0.5, 1.0, 0.5]
client.log_batch(run, [Metric("replicate", value, 1000, 0) for value in replicates])
history = [metric.value for metric in client.get_metric_history(run, "replicate")]
print("logged", replicates, "mean", sum(replicates) / 5)
print("kept  ", history, "mean", round(sum(history) / len(history), 4))
for value in (3.0, 1.0, 2.0):
    client.log_metric(run, "order", value, timestamp=1000, step=0)
print("logged 3, 1, 2, kept", [metric.value for metric in client.get_metric_history(run, "order")])
for step, timestamp in ((0, 1002), (5, 1001), (7, 1000)):
    client.log_metric(run, "steps", 0.0, timestamp=timestamp, step=step)
print("logged steps 0, 5, 7, kept", [metric.step for metric in client.get_metric_history(run, "steps")])
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
logged [0.5, 0.25, 0.5, 1.0, 0.5] mean 0.55
kept   [0.25, 0.5, 1.0] mean 0.5833
logged 3, 1, 2, kept [1.0, 2.0, 3.0]
logged steps 0, 5, 7, kept [7, 5, 0]
EOF
echo "as described"
