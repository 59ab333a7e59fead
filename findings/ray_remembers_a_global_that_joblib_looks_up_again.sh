#!/usr/bin/env bash
# A module constant changed between calls: Ray's workers keep the first value, loky's get the new one, forked ones the
# value at their start.
#
# Version:   ray 2.60.0, joblib 1.6.0, CPython 3.11 multiprocessing (fork).
# Behaviour: SCALE = 1, call, SCALE = 2, call. Ray: 1, 1. joblib (loky): 1, 2. A multiprocessing.Pool made before the
#            first call: 1, 1.
# Expected:  all the same; a function that is shipped by value is shipped with what it refers to.
# Source:    ray/remote_function.py pickles the function once, at its first remote(), and exports it under that hash;
#            joblib gives each call to cloudpickle; a forked child has the parent's memory of the moment of the fork.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'ray==2.60.0' 'joblib==1.6.0'
export WORK=$work HOME=$work RAY_USAGE_STATS_ENABLED=0 RAY_ENABLE_UV_RUN_RUNTIME_ENV=0 RAY_AUTH_MODE=disabled
cat >"$work/app.py" <<'EOF'
import logging
import multiprocessing
import os

import joblib
import ray

SCALE = 1


def scale(_=None):
    return SCALE


def loky():
    return joblib.Parallel(n_jobs=2, backend="loky")([joblib.delayed(scale)()])[0]


if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(1) as pool:
        ray.init(
            address="local",
            num_cpus=1,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=os.environ["WORK"] + "/ray",
        )
        remote = ray.remote(scale)
        first = {"ray": ray.get(remote.remote()), "loky": loky(), "fork": pool.map(scale, [0])[0]}
        SCALE = 2
        second = {"ray": ray.get(remote.remote()), "loky": loky(), "fork": pool.map(scale, [0])[0]}
    with open(os.environ["WORK"] + "/seen", "w") as file:
        print("SCALE 1:", first, file=file)
        print("SCALE 2:", second, file=file)
    ray.shutdown()
EOF
"$work/venv/bin/python" "$work/app.py" >/dev/null
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
SCALE 1: {'ray': 1, 'loky': 1, 'fork': 1}
SCALE 2: {'ray': 1, 'loky': 2, 'fork': 1}
EOF
echo "as described"
