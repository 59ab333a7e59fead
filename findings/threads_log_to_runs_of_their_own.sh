#!/usr/bin/env bash
# A metric that a thread logs inside "with mlflow.start_run()" goes to another run, one for each thread, which stays
# RUNNING.
#
# Version:   mlflow 3.17.2, joblib 1.6.0.
# Behaviour: two threads log 3 metrics each within the block of a run. The run has none of them; two more runs have
#            appeared, without a parent and without an end. joblib's threading backend, a threaded Ray actor or a
#            callback thread do the same.
# Expected:  the fluent API's active run is that of the process, as it once was; or an error.
# Source:    mlflow/tracking/fluent.py: the stack of active runs is thread-local, and log_metric() starts a run if
#            there is none.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'mlflow==3.17.2'
export WORK=$work MLFLOW_DISABLE_TELEMETRY=true
"$work/venv/bin/python" - >"$work/seen" <<'EOF'
import os
import threading

import mlflow

mlflow.set_tracking_uri("sqlite:///" + os.environ["WORK"] + "/mlflow.db")
experiment = mlflow.create_experiment("e", artifact_location="file://" + os.environ["WORK"])
mlflow.set_experiment(experiment_id=experiment)
with mlflow.start_run() as run:
    for _ in range(2):
        thread = threading.Thread(target=lambda: [mlflow.log_metric("loss", i, step=i) for i in range(3)])
        thread.start()
        thread.join()
    mlflow.log_metric("own", 1.0)
client = mlflow.MlflowClient()
for found in reversed(client.search_runs([experiment], order_by=["attributes.start_time DESC"])):
    print(
        "the run" if found.info.run_id == run.info.run_id else "another run",
        found.info.status,
        found.data.metrics,
        "parent" if "mlflow.parentRunId" in found.data.tags else "no parent",
    )
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
the run FINISHED {'own': 1.0} no parent
another run RUNNING {'loss': 2.0} no parent
another run RUNNING {'loss': 2.0} no parent
EOF
echo "as described"
