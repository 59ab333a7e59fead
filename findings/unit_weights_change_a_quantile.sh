#!/usr/bin/env bash
# np.quantile(x, q, method="inverted_cdf") and the same with weights of one differ, and the unweighted one is wrong.
#
# Version:   numpy 2.4.6.
# Behaviour: for 5 of 5,742 pairs of n = 2..59 and q = 0.01..0.99 the two differ by one rank. n = 25, q = 0.28: the
#            smallest x with F(x) >= 0.28 is the 7th (7/25 = 0.28), weights of one give it, no weights give the 8th.
# Expected:  weights of one are no weights; inverted_cdf always picks a value of the sample, so there is nothing to
#            round.
# Source:    numpy/lib/_function_base_impl.py _inverted_cdf() computes n * q (0.28 * 25 = 7.000000000000001, then the
#            ceiling); with weights the cumulated weights are divided by their sum and q is looked up in them.
# Effect:    a 28 % quantile of 25 runs that is "exact by definition" is off by one rank, and code that adds weights
#            later changes results without weights having changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'numpy==2.4.6'
"$work/venv/bin/python" - >"$work/seen" <<'EOF'
import numpy as np

differing = []
for n in range(2, 60):
    x = np.arange(1.0, n + 1)
    for percent in range(1, 100):
        plain = np.quantile(x, percent / 100, method="inverted_cdf")
        weighted = np.quantile(x, percent / 100, method="inverted_cdf", weights=np.ones(n))
        if plain != weighted:
            right = -(-n * percent // 100)
            differing.append((n, percent / 100, int(plain), int(weighted), right))
print("differing:", len(differing))
print("(n, q, rank without weights, with weights of one, in integers):")
for row in differing:
    print(*row)
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
differing: 5
(n, q, rank without weights, with weights of one, in integers):
25 0.28 8 7 7
25 0.56 15 14 14
50 0.14 8 7 7
50 0.28 15 14 14
50 0.56 29 28 28
EOF
echo "as described"
