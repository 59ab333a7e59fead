#!/usr/bin/env bash
# An OmegaConf resolver with use_cache=True, as Hydra's now: is, gives one config two values, by the way the config
# was passed on.
#
# Version:   omegaconf 2.3.1.
# Behaviour: run_id: ${new_id:} is read once. deepcopy, pickle and merge(cfg, other) keep the value; merge(other,
#            cfg), putting cfg into another config, and saving and loading make a new one. OmegaConf.create(cfg) keeps
#            it.
# Expected:  a cached value is a property of the node; or each access through a new object is a new value.
# Source:    omegaconf/basecontainer.py and base.py: the cache is a member of the root's metadata
#            (ContainerMetadata.resolver_cache); merge() deep-copies its first argument.
# Effect:    two names for one run's folder, one in the log and one on disk.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'omegaconf==2.3.1'
"$work/venv/bin/python" - >"$work/seen" <<'EOF'
import copy
import itertools
import pickle

from omegaconf import OmegaConf

counter = itertools.count(1)
OmegaConf.register_new_resolver("new_id", lambda: f"id-{next(counter)}", use_cache=True)
cfg = OmegaConf.create({"run_id": "${new_id:}"})
value = cfg.run_id
for name, other in {
    "deepcopy": copy.deepcopy(cfg),
    "pickle": pickle.loads(pickle.dumps(cfg)),
    "create(cfg)": OmegaConf.create(cfg),
    "merge(cfg, {x: 1})": OmegaConf.merge(cfg, {"x": 1}),
    "merge({x: 1}, cfg)": OmegaConf.merge({"x": 1}, cfg),
    "create({child: cfg}).child": OmegaConf.create({"child": cfg}).child,
    "create(to_yaml(cfg))": OmegaConf.create(OmegaConf.to_yaml(cfg)),
}.items():
    print(f"{name}:", "same" if other.run_id == value else "another", "value")
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
deepcopy: same value
pickle: same value
create(cfg): same value
merge(cfg, {x: 1}): same value
merge({x: 1}, cfg): another value
create({child: cfg}).child: another value
create(to_yaml(cfg)): another value
EOF
echo "as described"
