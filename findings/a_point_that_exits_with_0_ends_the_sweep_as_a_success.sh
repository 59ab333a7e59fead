#!/usr/bin/env bash
# One job of a sweep calls sys.exit(0): with each of six runners the whole sweep stops short, silently, with exit
# status 0.
#
# Version:   joblib 1.6.0, hydra-core 1.3.8, optuna 5.0.0, CPython 3.11 concurrent.futures.
# Behaviour: three jobs, the second calls sys.exit(0) (as a wrapped command line tool does after --help). joblib with
#            processes (loky) or threads, ProcessPoolExecutor and Hydra's basic launcher let the SystemExit of the job
#            through to the driver, which ends there and then: status 0, no traceback, nothing of what comes after is
#            run. Optuna does so too, and leaves the trial RUNNING in the database. ThreadPoolExecutor the same.
# Expected:  a job that ends early is one failed (or empty) job; a driver that did not reach its end does not have
#            status 0.
# Source:    joblib/_parallel_backends.py and loky's _process_worker() catch BaseException and re-raise it in the
#            parent; concurrent/futures/process.py likewise; hydra/core/utils.py run_job() and
#            optuna/study/_optimize.py catch Exception only.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'joblib==1.6.0' 'hydra-core==1.3.8' 'optuna==5.0.0'
cd "$work"
cat >jobs.py <<'EOF'
import sys


def job(i):
    if i == 1:
        sys.exit(0)
    return i
EOF
cat >loky.py <<'EOF'
import joblib

from jobs import job

joblib.Parallel(n_jobs=2, backend="loky")(joblib.delayed(job)(i) for i in range(3))
print("reached the end")
EOF
sed 's/"loky"/"threading"/' loky.py >threads.py
cat >processes.py <<'EOF'
from concurrent.futures import ProcessPoolExecutor

from jobs import job

if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(job, range(3)))
    print("reached the end")
EOF
sed 's/ProcessPool/ThreadPool/g' processes.py >pool_of_threads.py
cat >study.py <<'EOF'
import optuna

from jobs import job

optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.create_study(storage="sqlite:///study.db", study_name="s")
study.optimize(lambda trial: float(job(trial.number)), 3)
print("reached the end")
EOF
cat >sweep.py <<'EOF'
import hydra

from jobs import job


@hydra.main(version_base=None, config_path=None)
def main(cfg):
    job(cfg.i)
    if cfg.i == 2:
        print("reached the end")


main()
EOF
for script in loky threads processes pool_of_threads study; do
    "$work/venv/bin/python" $script.py >out 2>err && status=0 || status=$?
    echo "$script: status $status, $(grep -c . err || true) lines of errors, $(cat out)"
done >seen
"$work/venv/bin/python" sweep.py -m +i=0,1,2 hydra.sweep.dir=runs >out 2>err && status=0 || status=$?
echo "sweep: status $status, $(grep -c . err || true) lines of errors, $(grep reached out || true)" >>seen
"$work/venv/bin/python" >>seen <<'EOF'
import optuna

print([trial.state.name for trial in optuna.load_study(study_name="s", storage="sqlite:///study.db").trials])
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
loky: status 0, 0 lines of errors, 
threads: status 0, 0 lines of errors, 
processes: status 0, 0 lines of errors, 
pool_of_threads: status 0, 0 lines of errors, 
study: status 0, 0 lines of errors, 
sweep: status 0, 0 lines of errors, 
['COMPLETE', 'RUNNING']
EOF
echo "as described"
