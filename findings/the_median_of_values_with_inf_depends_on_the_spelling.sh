#!/usr/bin/env bash
# The median of [0, 1, inf] is 1 or nan, within one library.
#
# Version:   numpy 2.4.6, pandas 3.1.1, scipy 1.17.1, pyarrow 25.0.1, CPython 3.11.
# Behaviour: median() gives 1 everywhere. quantile(0.5) gives nan in numpy, scipy, pandas and Python's statistics, and
#            so does the 50 % row of describe(); but DataFrameGroupBy.quantile gives 1, and so does pyarrow. Even the
#            quantile of a single inf is nan.
# Expected:  1: the value in the middle is finite and needs no interpolation. (inf is what "never pays back" looks
#            like.)
# Source:    numpy/lib/_function_base_impl.py _lerp(): a + (b - a) * t with b = inf and t = 0 (numpy issues 12282,
#            21091); pandas/_libs/groupby.pyx group_quantile() interpolates only if it must.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'numpy==2.4.6' 'pandas==3.1.1' 'scipy==1.17.1' 'pyarrow==25.0.1'
"$work/venv/bin/python" - >"$work/seen" <<'EOF'
import statistics
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from scipy import stats

warnings.simplefilter("ignore")
values = [0.0, 1.0, np.inf]
series, table = pd.Series(values), pd.DataFrame({"key": ["a"] * 3, "x": values})
grouped = table.groupby("key").x
print("statistics: median", statistics.median(values), "quantiles", statistics.quantiles(values, n=2)[0])
print("numpy: median", np.median(values), "quantile", np.quantile(values, 0.5), "of one inf", np.quantile([np.inf], 0.5))
print("scipy: quantile", stats.quantile(values, 0.5))
print("pandas: median", series.median(), "quantile", series.quantile(0.5), "describe", series.describe()["50%"])
print("pandas by group: median", grouped.median().item(), "quantile", grouped.quantile(0.5).item(), "describe", grouped.describe()["50%"].item())
print("pyarrow: quantile", pc.quantile(pa.array(values), 0.5)[0].as_py())
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
statistics: median 1.0 quantiles nan
numpy: median 1.0 quantile nan of one inf nan
scipy: quantile nan
pandas: median 1.0 quantile nan describe nan
pandas by group: median 1.0 quantile 1.0 describe nan
pyarrow: quantile 1.0
EOF
echo "as described"
