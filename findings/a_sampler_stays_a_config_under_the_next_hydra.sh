#!/usr/bin/env bash
# Under Hydra 1.4 the released Optuna sweeper samples nothing: its sampler arrives as a config, not as an object.
#
# Version:   hydra-optuna-sweeper 1.3.0 (optuna 2.10.1) with hydra-core 1.3.2 and with 1.4.0rc3, which its own requirement
#            (hydra-core>=1.1.0.dev7) lets pip choose.
# Behaviour: three trials with 1.3.2; with 1.4.0rc3 the same command ends before the first one with a ConfigAttributeError
#            for infer_relative_search_space, a method that Optuna looks for on the sampler.
# Expected:  three trials, or a requirement that excludes Hydra 1.4.
# Source:    hydra/core/plugins.py _instantiate(): 1.4 passes _recursive_=False, so that configs inside a plugin's config, as
#            hydra.sweeper.sampler is one, are the plugin's own to instantiate.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/app.py" <<'EOF'
import hydra
from hydra.core.config_store import ConfigStore


@hydra.main(version_base=None, config_path=None, config_name="config")
def main(config):
    return (config.x - 1) ** 2


if __name__ == "__main__":
    node = {"x": 0.0, "defaults": [{"override hydra/sweeper": "optuna"}, "_self_"]}
    ConfigStore.instance().store(name="config", node=node)
    main()
EOF
for version in 1.3.2 1.4.0rc3; do
  python3 -m venv "$work/$version"
  "$work/$version/bin/pip" install --quiet --no-compile --disable-pip-version-check \
    "hydra-core==$version" 'hydra-optuna-sweeper==1.3.0' 'optuna==2.10.1' 'sqlalchemy<2' 2>/dev/null
  (cd "$work" && "$work/$version/bin/python" app.py -m hydra.sweeper.n_trials=3 'x=interval(0,2)') >"$work/log" 2>&1 || true
  trials=$(grep -c '#[0-9] : x=' "$work/log" || true)
  error=$(grep -o "ConfigAttributeError: Key '[a-z_]*' not in '[A-Za-z]*'" "$work/log" | head -1 || true)
  echo "hydra-core $version: $trials trials${error:+; $error}"
done >"$work/seen"
cat >"$work/expected" <<'EOF'
hydra-core 1.3.2: 3 trials
hydra-core 1.4.0rc3: 0 trials; ConfigAttributeError: Key 'infer_relative_search_space' not in 'SamplerConfig'
EOF
cat "$work/seen"
diff "$work/expected" "$work/seen"
