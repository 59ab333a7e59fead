#!/usr/bin/env bash
# The same text means different values in a Hydra YAML file and as a Hydra override.
#
# Version:   hydra-core 1.3.8 with omegaconf 2.3.1.
# Behaviour: 010 is 8 in a file; on the command line the word "010", which an int field takes as 10. 1:30 is 90 and
#            "1:30". inf and nan are words in a file and floats on the command line, .inf and .nan the reverse. -.5 is
#            a word in a file (.5 is a float there) and a float on the command line. yes, on, off are booleans in a
#            file only. ~ is null in a file and an error on the command line.
# Expected:  one grammar: "an override is what one would write in the file".
# Source:    files: PyYAML's YAML 1.1 with OmegaConf's own float pattern (omegaconf/_utils.py get_yaml_loader(), which
#            has no "-.5"); overrides: hydra/grammar/OverrideLexer.g4.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'hydra-core==1.3.8' 'omegaconf==2.3.1'
"$work/venv/bin/python" - >"$work/seen" <<'EOF'
from dataclasses import dataclass

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf


@dataclass
class Typed:
    x: int = 0


def as_int(value):
    try:
        return OmegaConf.merge(OmegaConf.structured(Typed), {"x": value}).x
    except Exception as error:
        return type(error).__name__


def override(text):
    try:
        return OverridesParser.create().parse_override("x=" + text).value()
    except Exception as error:
        return type(error).__name__


for text in ["010", "0x1F", "1:30", "1__0", "1e3", "inf", ".inf", "nan", "-.5", ".5", "yes", "off", "~", "null"]:
    file, line = OmegaConf.create("x: " + text).x, override(text)
    print(f"{text}: in a file {file!r}, on the command line {line!r}" + ("" if repr(file) == repr(line) else " <- differs"))
print("010 in an int field: in a file", as_int(OmegaConf.create("x: 010").x), "on the command line", as_int(override("010")))
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
010: in a file 8, on the command line '010' <- differs
0x1F: in a file 31, on the command line '0x1F' <- differs
1:30: in a file 90, on the command line '1:30' <- differs
1__0: in a file 10, on the command line '1__0' <- differs
1e3: in a file 1000.0, on the command line 1000.0
inf: in a file 'inf', on the command line inf <- differs
.inf: in a file inf, on the command line '.inf' <- differs
nan: in a file 'nan', on the command line nan <- differs
-.5: in a file '-.5', on the command line -0.5 <- differs
.5: in a file 0.5, on the command line 0.5
yes: in a file True, on the command line 'yes' <- differs
off: in a file False, on the command line 'off' <- differs
~: in a file None, on the command line 'HydraException' <- differs
null: in a file None, on the command line None
010 in an int field: in a file 8 on the command line 10
EOF
echo "as described"
