#!/usr/bin/env bash
# A Ray task that calls sys.exit(0) is run four times and then fails as a crash of the system; one that raises is run
# once.
#
# Version:   ray 2.60.0.
# Behaviour: sys.exit(0) in a task: 4 executions, WorkerCrashedError "The worker died unexpectedly". raise ValueError:
#            1 execution. In an actor method the same sys.exit(0) ends the actor for good, with one execution.
# Expected:  an exit with status 0 is a result (None), or an exception like others, once; side effects are not
#            repeated.
# Source:    python/ray/_raylet.pyx: SystemExit ends the worker process; the task is then retried for a "system
#            error", max_retries being 3 by default for those and 0 for exceptions.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'ray==2.60.0'
export WORK=$work HOME=$work RAY_USAGE_STATS_ENABLED=0 RAY_ENABLE_UV_RUN_RUNTIME_ENV=0
# Ray writes its own messages to the same output.
"$work/venv/bin/python" - >/dev/null <<'EOF'
import logging
import os
import sys

import ray

ray.init(
    address="local",
    num_cpus=1,
    include_dashboard=False,
    log_to_driver=False,
    logging_level=logging.ERROR,
    _temp_dir=os.environ["WORK"] + "/ray",
)


def step(path, how):
    with open(path, "a") as file:
        file.write("x")
    if how == "exit":
        sys.exit(0)
    raise ValueError("raised")


@ray.remote(num_cpus=0.1, max_restarts=-1, max_task_retries=-1)
class Actor:
    def step(self, path, how):
        step(path, how)


def attempt(what, run, how):
    path = f"{os.environ['WORK']}/{what.replace(' ', '-')}"
    try:
        ray.get(run.remote(path, how))
    except Exception as error:
        name = type(error).__name__
    with open(path) as file:
        return f"{what}: {len(file.read())} executions, {name}"


lines = [
    attempt("task exits", ray.remote(num_cpus=0.1)(step), "exit"),
    attempt("task raises", ray.remote(num_cpus=0.1)(step), "raise"),
    attempt("actor exits", Actor.remote().step, "exit"),
]
with open(os.environ["WORK"] + "/seen", "w") as file:
    file.writelines(line + "\n" for line in lines)
ray.shutdown()
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
task exits: 4 executions, WorkerCrashedError
task raises: 1 executions, RayTaskError(ValueError)
actor exits: 1 executions, ActorDiedError
EOF
echo "as described"
