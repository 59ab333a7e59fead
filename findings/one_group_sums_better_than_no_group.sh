#!/usr/bin/env bash
# groupby(...).sum() over a single group and sum() of the same column differ.
#
# Version:   pandas 3.1.1, numpy 2.4.6.
# Behaviour: [1e16, 1, 1, -1e16]: with one group sum 2, mean 0.5, cumsum ends at 2; without groups 0, 0 and 0. The
#            true sum is 2.
# Expected:  a group that holds everything changes nothing.
# Source:    pandas/_libs/groupby.pyx group_sum(), group_mean() and group_cumsum() use Kahan's compensation;
#            Series.sum() is numpy's (pairwise only from 8 values on), Series.cumsum() numpy's plain one.
# Effect:    totals of a report made by group do not add up to the total made without, and the groups are right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'pandas==3.1.1' 'numpy==2.4.6'
"$work/venv/bin/python" - >"$work/seen" <<'EOF'
import math

import pandas as pd

frame = pd.DataFrame({"key": "all", "x": [1e16, 1, 1, -1e16]})
grouped = frame.groupby("key").x
print("exact", math.fsum(frame.x))
print("sum: by group", grouped.sum().item(), "without", frame.x.sum())
print("mean: by group", grouped.mean().item(), "without", frame.x.mean())
print("last of cumsum: by group", grouped.cumsum().iloc[-1], "without", frame.x.cumsum().iloc[-1])
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
exact 2.0
sum: by group 2.0 without 0.0
mean: by group 0.5 without 0.0
last of cumsum: by group 2.0 without 0.0
EOF
echo "as described"
