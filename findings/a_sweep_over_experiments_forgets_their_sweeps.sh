#!/usr/bin/env bash
# An experiment that declares its own sweep runs it alone, and not beside a second experiment.
#
# Version:   hydra-core 1.3.8 with omegaconf 2.3.1.
# Behaviour: one.yaml and two.yaml each declare hydra.sweeper.params with x: 1,2,3. "-m experiment=one" runs 3 jobs.
#            "-m experiment=one,two" runs 2 jobs with x at its default, no word said; "-m experiment=one y=1,2" runs
#            6.
# Expected:  2 x 3 = 6 jobs, or an error.
# Source:    hydra/_internal/hydra.py multirun() composes the sweeper's own config once; an override with a sweep in
#            it is left out of that, so no experiment is chosen there (hydra/_internal/config_loader_impl.py, run_mode
#            MULTIRUN).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'hydra-core==1.3.8' 'omegaconf==2.3.1'
mkdir -p "$work/conf/experiment"
cat >"$work/conf/config.yaml" <<'EOF'
defaults: [_self_, {experiment: null}]
x: 0
y: 0
EOF
for name in one two; do
    cat >"$work/conf/experiment/$name.yaml" <<EOF
# @package _global_
name: $name
hydra: {sweeper: {params: {x: "1,2,3"}}}
EOF
done
cat >"$work/app.py" <<'EOF'
import hydra


@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(cfg):
    print("job:", cfg.name, "x", cfg.x, "y", cfg.y, flush=True)


main()
EOF
cd "$work"
for overrides in "experiment=one" "experiment=one,two" "experiment=one y=1,2"; do
    echo "-m $overrides"
    "$work/venv/bin/python" app.py -m $overrides hydra.sweep.dir="$work/runs" | grep '^job'
done >"$work/seen"
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
-m experiment=one
job: one x 1 y 0
job: one x 2 y 0
job: one x 3 y 0
-m experiment=one,two
job: one x 0 y 0
job: two x 0 y 0
-m experiment=one y=1,2
job: one x 1 y 1
job: one x 1 y 2
job: one x 2 y 1
job: one x 2 y 2
job: one x 3 y 1
job: one x 3 y 2
EOF
echo "as described"
