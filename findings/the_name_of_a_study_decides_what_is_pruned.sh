#!/usr/bin/env bash
# Two Optuna studies with the same seeds prune different trials because their names differ; without a name no run is
# like another.
#
# Version:   optuna 5.0.0.
# Behaviour: same sampler seed, same deterministic objective, HyperbandPruner: studies "a" and "b" draw the same
#            parameters and prune different trials. A study without a name gets a random one, so a fully seeded script
#            prunes differently each time.
# Expected:  a seed for everything that draws makes a run repeatable.
# Source:    optuna/pruners/_hyperband.py _get_bracket_id(): crc32 of "{study_name}_{trial.number}".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'optuna==5.0.0'
"$work/venv/bin/python" - >"$work/seen" <<'EOF'
import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)


def run(name):
    def objective(trial):
        x = trial.suggest_float("x", 0, 1)
        for step in range(9):
            trial.report(x, step)
            if trial.should_prune():
                raise optuna.TrialPruned()
        return x

    study = optuna.create_study(
        study_name=name,
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=optuna.pruners.HyperbandPruner(min_resource=1, max_resource=9, reduction_factor=3),
    )
    study.optimize(objective, 60)
    pruned = [trial.number for trial in study.trials if trial.state == optuna.trial.TrialState.PRUNED]
    return [trial.params["x"] for trial in study.trials], pruned


a, again, b, nameless = run("a"), run("a"), run("b"), run(None)
print("a and a again: parameters equal", a[0] == again[0], "pruned equal", a[1] == again[1])
print("a and b: parameters equal", a[0] == b[0], "pruned equal", a[1] == b[1])
print("a and a study without a name: parameters equal", a[0] == nameless[0], "pruned equal", a[1] == nameless[1])
print("pruned, a:", len(a[1]), "of 60, b:", len(b[1]), "of 60, in one and not the other:", len(set(a[1]) ^ set(b[1])))
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
a and a again: parameters equal True pruned equal True
a and b: parameters equal True pruned equal False
a and a study without a name: parameters equal True pruned equal False
pruned, a: 33 of 60, b: 34 of 60, in one and not the other: 21
EOF
echo "as described"
