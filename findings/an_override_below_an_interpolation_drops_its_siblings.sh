#!/usr/bin/env bash
# Writing below a node that is an interpolation changes the target, or empties the node, or is refused with two
# advices that exclude each other.
#
# Version:   hydra-core 1.3.8 with omegaconf 2.3.1.
# Behaviour: b: ${a} reads as {x: 1, z: 2}. cfg.b.x = 5 changes a as well. OmegaConf.update(cfg, "b.x", 5) leaves a
#            alone and makes b {x: 5}: z is gone. Hydra refuses b.x=5 ("to append to your config use +b.x=5"), refuses
#            +b.x=5 ("an item is already at 'b.x'"), and takes ++b.x=5, after which z is gone as well. +b.new=5 loses
#            x and z.
# Expected:  one of "changes a copy", "changes a", "is refused", for all of them; and no key lost.
# Source:    omegaconf/omegaconf.py OmegaConf.update(): a node on the way that is an interpolation is no container
#            there and is replaced by an empty one; attribute access and OmegaConf.select() dereference it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'hydra-core==1.3.8' 'omegaconf==2.3.1'
export WORK=$work
"$work/venv/bin/python" - >"$work/seen" <<'EOF'
import os

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

os.makedirs(os.environ["WORK"] + "/conf")
with open(os.environ["WORK"] + "/conf/config.yaml", "w") as file:
    file.write("a: {x: 1, z: 2}\nb: ${a}\n")


def show(what, cfg):
    print(f"{what}: a {dict(cfg.a)} b {dict(cfg.b)}")


cfg = OmegaConf.load(os.environ["WORK"] + "/conf/config.yaml")
show("as read", cfg)
cfg.b.x = 5
show("cfg.b.x = 5", cfg)
cfg = OmegaConf.load(os.environ["WORK"] + "/conf/config.yaml")
OmegaConf.update(cfg, "b.x", 5)
show("update", cfg)
with initialize_config_dir(os.environ["WORK"] + "/conf", version_base=None):
    for override in ("a.x=5", "b.x=5", "+b.x=5", "++b.x=5", "+b.new=5"):
        try:
            show(override, compose("config", [override]))
        except Exception as error:
            print(f"{override}:", " / ".join(str(error).splitlines()[:2]))
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
as read: a {'x': 1, 'z': 2} b {'x': 1, 'z': 2}
cfg.b.x = 5: a {'x': 5, 'z': 2} b {'x': 5, 'z': 2}
update: a {'x': 1, 'z': 2} b {'x': 5}
a.x=5: a {'x': 5, 'z': 2} b {'x': 5, 'z': 2}
b.x=5: Could not override 'b.x'. / To append to your config use +b.x=5
+b.x=5: Could not append to config. An item is already at 'b.x'. / Either remove + prefix: 'b.x=5'
++b.x=5: a {'x': 1, 'z': 2} b {'x': 5}
+b.new=5: a {'x': 1, 'z': 2} b {'new': 5}
EOF
echo "as described"
