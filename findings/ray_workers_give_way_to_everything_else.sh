#!/usr/bin/env bash
# The workers of Ray run at nice 15: beside any ordinary process on a busy machine they get 3 % of a CPU.
#
# Version:   ray 2.60.0.
# Behaviour: os.nice(0) is 0 in the driver and 15 in a task and in an actor, whatever num_cpus they ask for. On one CPU a
#            process at nice 15 has a weight of 36 beside 1024, so that a task that reserved the CPU gets about a thirtieth
#            of it as long as the driver, or anything else, computes there.
# Expected:  a task that reserves a CPU competes for it as its driver does; a timing in a task is comparable with one in
#            the driver.
# Source:    src/ray/common/ray_config_def.h worker_niceness (default 15; RAY_worker_niceness changes it),
#            kernel/sched/core.c sched_prio_to_weight[].
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

if os.nice(0):
    raise SystemExit(77)  # started nicely already: there is nothing to compare with
ray.init(
    address="local",
    num_cpus=1,
    include_dashboard=False,
    log_to_driver=False,
    logging_level=logging.ERROR,
    _temp_dir=os.environ["WORK"] + "/ray",
)
CPU = min(os.sched_getaffinity(0))


def spin(until):
    """Compute on one CPU; give the CPU time that it took."""
    os.sched_setaffinity(0, {CPU})
    begin = time.process_time()
    while time.time() < until:
        pass
    return time.process_time() - begin


@ray.remote(num_cpus=1)
def task():
    return os.nice(0)


@ray.remote(num_cpus=1)
class Actor:
    def nice(self):
        return os.nice(0)

    def spin(self, until):
        return spin(until)


lines = [f"driver: nice {os.nice(0)}", f"task: nice {ray.get(task.remote())}"]
actor = Actor.remote()
lines.append(f"actor: nice {ray.get(actor.nice.remote())}")
until = time.time() + 6
theirs = actor.spin.remote(until)
mine = spin(until)
share = ray.get(theirs) / mine
lines.append(f"one CPU for both: the actor gets {'less than a tenth' if share < 0.1 else f'{share:.2f}'} of what the driver gets")
with open(os.environ["WORK"] + "/seen", "w") as file:
    file.writelines(line + "\n" for line in lines)
ray.shutdown()
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
driver: nice 0
task: nice 15
actor: nice 15
one CPU for both: the actor gets less than a tenth of what the driver gets
EOF
echo "as described"
