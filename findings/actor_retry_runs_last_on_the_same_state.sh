#!/usr/bin/env bash
# A Ray actor call that is retried after an exception runs after the calls that were submitted later, on the state
# that its first try left.
#
# Version:   ray 2.60.0.
# Behaviour: calls 1, 2, 3 to one synchronous actor (max_restarts 0, max_task_retries 3, retry_exceptions on), call 1
#            raises at its first try: the actor sees 1, 2, 3, 1. The counter that the first try raised stays raised,
#            so the four executions of three calls return 4, 2, 3. No process is restarted.
# Expected:  calls of one caller to a synchronous actor run in the order of submission, so the retry before what
#            follows; or a retry starts from a fresh actor ("restart and retry").
# Source:    the documentation ("Actor Task Execution Order") says only that retries leave the order open;
#            max_task_retries restarts nothing after an exception.
#            src/ray/core_worker/task_submission/actor_task_submitter.cc queues the retry as a new submission.
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
import time

import ray

ray.init(
    address="local",
    num_cpus=1,
    include_dashboard=False,
    log_to_driver=False,
    logging_level=logging.ERROR,
    _temp_dir=os.environ["WORK"] + "/ray",
)


@ray.remote(num_cpus=0.1)
class Counter:
    def __init__(self):
        self.seen = []

    def call(self, name, failures):
        self.seen.append(name)
        if self.seen.count(name) <= failures:
            time.sleep(1)  # all calls have been submitted by then
            raise ValueError(name)
        return len(self.seen)

    def order(self):
        return self.seen, os.getpid()


counter = Counter.options(max_task_retries=3).remote()
_, pid = ray.get(counter.order.remote())
retried = counter.call.options(retry_exceptions=True)
returned = ray.get([retried.remote(1, failures=1), counter.call.remote(2, failures=0), counter.call.remote(3, failures=0)])
order, pid_after = ray.get(counter.order.remote())
with open(os.environ["WORK"] + "/seen", "w") as file:
    print("returned", returned, "order of execution", order, "same process", pid == pid_after, file=file)
ray.shutdown()
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
returned [4, 2, 3] order of execution [1, 2, 3, 1] same process True
EOF
echo "as described"
