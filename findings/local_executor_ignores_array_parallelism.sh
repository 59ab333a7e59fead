#!/usr/bin/env bash
# submitit's local executor starts every job of an array at once, whatever parallelism is asked for.
#
# Version:   submitit 1.5.4.
# Behaviour: slurm_array_parallelism=1 is accepted by the executor for cluster="local", and three jobs run at the same
#            time. The same script on Slurm runs them one after the other. A map_array of a thousand jobs is a
#            thousand Python processes on the laptop.
# Expected:  the limit holds, or a word that it does not; or as many at once as there are CPUs.
# Source:    submitit/auto/auto.py drops parameters with another cluster's prefix; submitit/local/local.py
#            _submit_command() starts a process per job at once and has no queue.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'submitit==1.5.4'
export WORK=$work
"$work/venv/bin/python" - >"$work/seen" <<'EOF'
import os
import time

import submitit


def job():
    start = time.time()
    time.sleep(3)
    return start, time.time()


executor = submitit.AutoExecutor(os.environ["WORK"] + "/logs", cluster="local")
executor.update_parameters(timeout_min=5, slurm_array_parallelism=1)
with executor.batch():
    submitted = [executor.submit(job) for _ in range(3)]
spans = [each.result() for each in submitted]
print("running at the same time:", max(sum(start <= at < end for start, end in spans) for at, _ in spans))
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
running at the same time: 3
EOF
echo "as described"
