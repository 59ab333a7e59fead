#!/usr/bin/env bash
# Optuna gives the parameters of a constant objective an importance of 1/n each.
#
# Version:   optuna 5.0.0.
# Behaviour: an objective that ignores its parameters: get_param_importances() says 0.5 and 0.5 for two, 0.25 each for
#            four (sum 1), as if all mattered. Only a warning that names "quantiles" hints at it. A pure-noise
#            objective likewise gets shares that add up to 1.
# Expected:  0 for every parameter, or an error (FanovaImportanceEvaluator raises "zero total variance").
# Source:    optuna/importance/_ped_anova/evaluator.py, and the normalisation to a sum of 1 in
#            optuna/importance/__init__.py.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'optuna==5.0.0'
"$work/venv/bin/python" - >"$work/seen" <<'EOF'
import random
import warnings

import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.simplefilter("ignore")


def importances(n, result):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(lambda trial: result([trial.suggest_float(f"x{i}", 0, 1) for i in range(n)]), 40)
    return {name: round(value, 3) for name, value in sorted(optuna.importance.get_param_importances(study).items())}


print("constant, 2 parameters:", importances(2, lambda x: 1.0))
print("constant, 4 parameters:", importances(4, lambda x: 1.0))
noise = random.Random(0)
print("noise, sum over 4 parameters:", round(sum(importances(4, lambda x: noise.random()).values()), 2))
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
constant, 2 parameters: {'x0': 0.5, 'x1': 0.5}
constant, 4 parameters: {'x0': 0.25, 'x1': 0.25, 'x2': 0.25, 'x3': 0.25}
noise, sum over 4 parameters: 1.0
EOF
echo "as described"
