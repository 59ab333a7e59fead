#!/usr/bin/env bash
# With the same seed, adding a parameter to a scrambled Sobol' or Latin hypercube design changes the values of all the
# others.
#
# Version:   scipy 1.17.1, numpy 2.4.6.
# Behaviour: the first two columns of a 3-dimensional design are those of the 2-dimensional one with the same seed for
#            Halton and for unscrambled Sobol', and not for scrambled Sobol' (the default) and Latin hypercubes: not
#            one column stays.
# Expected:  the Sobol' sequence is extensible in dimension, and scrambling works on each dimension for itself.
# Source:    scipy/stats/_qmc.py Sobol._scramble() draws the shifts of all dimensions, then the matrices of all, from
#            one generator; LatinHypercube draws (n, d) numbers at once; Halton permutes one base after the other.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'scipy==1.17.1' 'numpy==2.4.6'
"$work/venv/bin/python" - >"$work/seen" <<'EOF'
import numpy as np
from scipy.stats import qmc

designs = {
    "Sobol, scrambled": lambda d: qmc.Sobol(d, rng=1),
    "Sobol, not scrambled": lambda d: qmc.Sobol(d, scramble=False),
    "Halton, scrambled": lambda d: qmc.Halton(d, rng=1),
    "Latin hypercube": lambda d: qmc.LatinHypercube(d, rng=1),
}
for name, design in designs.items():
    two, three = design(2).random(8), design(3).random(8)
    print(f"{name}: columns kept", [np.array_equal(two[:, i], three[:, i]) for i in range(2)])
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
Sobol, scrambled: columns kept [False, False]
Sobol, not scrambled: columns kept [True, True]
Halton, scrambled: columns kept [True, True]
Latin hypercube: columns kept [False, False]
EOF
echo "as described"
