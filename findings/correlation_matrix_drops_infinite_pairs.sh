#!/usr/bin/env bash
# DataFrame.corr leaves out rows with inf without a word and disagrees with Series.corr and scipy.
#
# Version:   pandas 3.1.1, scipy 1.17.1.
# Behaviour: a = [1, 2, 3, inf], b = [1, 2, 3, -100]. Spearman: DataFrame.corr 1.0, Series.corr and scipy -0.2 (inf is
#            simply the largest). Kendall: 1.0 against 0.0. Pearson: 1.0 against nan.
# Expected:  ranks know inf, so -0.2; for Pearson nan, "missing values are excluded" and inf is none.
# Source:    pandas/core/frame.py DataFrame.corr(): nancorr and the Kendall loop mask with isfinite
#            (pandas/_libs/algos.pyx), pandas/core/nanops.py nancorr() with notna.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'pandas==3.1.1' 'scipy==1.17.1' 'numpy==2.4.6'
"$work/venv/bin/python" - >"$work/seen" <<'EOF'
import warnings

import numpy as np
import pandas as pd
from scipy import stats

warnings.simplefilter("ignore")
frame = pd.DataFrame({"a": [1, 2, 3, np.inf], "b": [1, 2, 3, -100.0]})
truth = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}
for method, function in truth.items():
    row = [frame.corr(method).loc["a", "b"], frame.a.corr(frame.b, method=method), function(frame.a, frame.b).statistic]
    print(f"{method}: DataFrame.corr {row[0]:.1f}, Series.corr {row[1]:.1f}, scipy {row[2]:.1f}")
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
pearson: DataFrame.corr 1.0, Series.corr nan, scipy nan
spearman: DataFrame.corr 1.0, Series.corr -0.2, scipy -0.2
kendall: DataFrame.corr 1.0, Series.corr 0.0, scipy 0.0
EOF
echo "as described"
