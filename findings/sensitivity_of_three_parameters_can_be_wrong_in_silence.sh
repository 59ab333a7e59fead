#!/usr/bin/env bash
# SALib checks that a sample fits calc_second_order by its size alone: with 3 or 7 parameters a wrong one passes.
#
# Version:   SALib 1.6.0, numpy 2.4.6.
# Behaviour: Sobol' indices of the Ishigami function (3 parameters). Sampled with calc_second_order=False (N x 5 rows)
#            and analysed with the default (which takes N x 8): no word, since 1,024 x 5 is 640 x 8. The second
#            parameter, which has the largest first-order index (0.44), gets a negative one; the third, which has none
#            by itself, gets the largest total. With 7 it passes, too; with 2, 4, 5, 6 and 8 it is an error.
# Expected:  the same mistake is found whatever the number of parameters is, as the message promises.
# Source:    SALib/analyze/sobol.py analyze(): "Y.size % (2 * D + 2) == 0"; for 2^k - 1 parameters 2 D + 2 is a
#            power of two, as the recommended N is.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'SALib==1.6.0' 'numpy==2.4.6'
"$work/venv/bin/python" - >"$work/seen" <<'EOF'
import warnings

import numpy as np
from SALib.analyze import sobol
from SALib.sample import sobol as sample
from SALib.test_functions import Ishigami

warnings.simplefilter("ignore")


def problem(n):
    return {"num_vars": n, "names": [f"x{i}" for i in range(n)], "bounds": [[-np.pi, np.pi]] * n}


results = Ishigami.evaluate(sample.sample(problem(3), 1024, calc_second_order=False, seed=1))
for second in (False, True):
    found = sobol.analyze(problem(3), results, calc_second_order=second, seed=1)
    print(f"calc_second_order={second}: S1 {found['S1'].round(2) + 0.0} ST {found['ST'].round(2) + 0.0}")
for n in (2, 4, 5, 6, 7, 8):
    points = sample.sample(problem(n), 1024, calc_second_order=False, seed=1)
    try:
        sobol.analyze(problem(n), points[:, 0] + points[:, 1], seed=1)
        print(n, "parameters: taken")
    except RuntimeError:
        print(n, "parameters: refused")
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
calc_second_order=False: S1 [0.32 0.44 0.  ] ST [0.56 0.44 0.25]
calc_second_order=True: S1 [ 0.3  -0.14  0.08] ST [0.8  0.6  0.82]
2 parameters: refused
4 parameters: refused
5 parameters: refused
6 parameters: refused
7 parameters: taken
8 parameters: refused
EOF
echo "as described"
