#!/usr/bin/env bash
# SALib's fractional factorial sampler adds dummy parameters to the caller's problem; every later sampler then samples
# them.
#
# Version:   SALib 1.6.0.
# Behaviour: ff.sample() on a problem of 3 parameters appends "dummy_0" to its names and bounds and sets num_vars to
#            4. The next Sobol' sample from the same dict has 4 columns and costs 10 instead of 8 model runs a base
#            point; the indices get a fourth entry.
# Expected:  a sampler reads the problem and leaves it as it is.
# Source:    SALib/sample/ff.py extend_bounds() appends to problem["names"] and problem["bounds"] in place.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'SALib==1.6.0'
"$work/venv/bin/python" - >"$work/seen" <<'EOF'
from SALib.sample import ff, sobol

problem = {"num_vars": 3, "names": ["a", "b", "c"], "bounds": [[0, 1]] * 3}
print("before:", problem["num_vars"], problem["names"], "a Sobol' sample:", sobol.sample(problem, 8, seed=1).shape)
print("ff.sample:", ff.sample(problem, seed=1).shape)
print("after:", problem["num_vars"], problem["names"], "a Sobol' sample:", sobol.sample(problem, 8, seed=1).shape)
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
before: 3 ['a', 'b', 'c'] a Sobol' sample: (64, 3)
ff.sample: (8, 4)
after: 4 ['a', 'b', 'c', 'dummy_0'] a Sobol' sample: (80, 4)
EOF
echo "as described"
