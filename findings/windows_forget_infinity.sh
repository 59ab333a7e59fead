#!/usr/bin/env bash
# rolling, expanding and ewm of pandas take inf for missing; cummax, groupby and the rest do not.
#
# Version:   pandas 3.1.1.
# Behaviour: of [1, inf, 2] rolling(1).max() is [1, nan, 2], expanding().max() is [1, 1, 2]: the running maximum goes
#            on as if inf had not been there; cummax() is [1, inf, inf]. rolling(1).count() is 1 for it all the same.
#            A custom function in apply does not see it either.
# Expected:  rolling(1) of anything is the thing itself; expanding().max() is cummax().
# Source:    pandas/core/window/rolling.py BaseWindow._prep_values(): "Convert inf to nan for C funcs".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'pandas==3.1.1' 'numpy==2.4.6'
"$work/venv/bin/python" - >"$work/seen" <<'EOF'
import numpy as np
import pandas as pd

series = pd.Series([1.0, np.inf, 2.0])
print("rolling(1).max()", series.rolling(1).max().tolist())
print("rolling(1).apply(max)", series.rolling(1).apply(lambda window: window.max()).tolist())
print("rolling(1).count()", series.rolling(1).count().tolist())
print("expanding().max()", series.expanding().max().tolist())
print("expanding().median()", series.expanding().median().tolist())
print("ewm(alpha=0.5).mean()", series.ewm(alpha=0.5).mean().round(3).tolist())
print("cummax()", series.cummax().tolist())
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
rolling(1).max() [1.0, nan, 2.0]
rolling(1).apply(max) [1.0, nan, 2.0]
rolling(1).count() [1.0, 1.0, 1.0]
expanding().max() [1.0, 1.0, 2.0]
expanding().median() [1.0, 1.0, 1.5]
ewm(alpha=0.5).mean() [1.0, 1.0, 1.8]
cummax() [1.0, inf, inf]
EOF
echo "as described"
