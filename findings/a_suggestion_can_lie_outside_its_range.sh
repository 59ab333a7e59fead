#!/usr/bin/env bash
# trial.suggest_int("x", 0, 1) returns 3, and the trial is COMPLETE and may be the best one.
#
# Version:   optuna 5.0.0.
# Behaviour: GridSampler with x in 0..3 and an enqueued trial with x = 7 both hand out their values whatever range the
#            objective asks for. The only sign is a UserWarning each. An enqueued point is also no part of the grid:
#            the grid runs it a second time (BruteForceSampler does not).
# Expected:  a ValueError, or a value drawn anew within the range; suggest_int(low, high) gives low <= x <= high.
# Source:    optuna/samplers/_grid.py sample_independent() and optuna/trial/_trial.py _is_fixed_param(): a value that
#            the distribution does not contain is warned of and used.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'optuna==5.0.0'
"$work/venv/bin/python" - >"$work/seen" <<'EOF'
import warnings

import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)


def objective(trial):
    return trial.suggest_int("x", 0, 1)


def run(sampler, queue=(), objective=objective):
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for params in queue:
        study.enqueue_trial(params)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        study.optimize(objective, n_trials=20)
    outside = sum("out of range" in str(each.message) for each in caught)
    return [trial.params["x"] for trial in study.trials], {trial.state.name for trial in study.trials}, study.best_value, outside


xs, states, best, outside = run(optuna.samplers.GridSampler({"x": [0, 1, 2, 3]}, seed=0))
print("grid: x", sorted(xs), states, "best", best, "warnings", outside)
xs, states, best, outside = run(optuna.samplers.RandomSampler(seed=0), [{"x": 7}])
print("enqueued: largest x", max(xs), states, "best", best, "warnings", outside)
print("grid with an enqueued point of its own: x", sorted(run(optuna.samplers.GridSampler({"x": [0, 1]}, seed=0), [{"x": 0}])[0]))
print("brute force with the same: x", sorted(run(optuna.samplers.BruteForceSampler(seed=0), [{"x": 0}])[0]))
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
grid: x [0, 1, 2, 3] {'COMPLETE'} best 3.0 warnings 2
enqueued: largest x 7 {'COMPLETE'} best 7.0 warnings 1
grid with an enqueued point of its own: x [0, 0, 1]
brute force with the same: x [0, 1]
EOF
echo "as described"
