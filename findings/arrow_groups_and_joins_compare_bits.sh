#!/usr/bin/env bash
# Arrow says that 0.0 equals -0.0 and groups them apart; two nans fall in one group or two.
#
# Version:   pyarrow 25.0.1, pandas 3.1.1, numpy 2.4.6.
# Behaviour: pc.equal(0.0, -0.0) is true; group_by, unique, count_distinct, is_in and join treat them as different
#            keys, and so do nan and -nan (0.0 / 0.0 on x86 is the latter, float("nan") the former). pandas and NumPy
#            make one group of each. A pandas Series with an Arrow type has 2 unique values by nunique() and 1 after
#            drop_duplicates().
# Expected:  keys that are equal form one group; SQL engines and pandas normalise -0.0 and nan before hashing.
# Source:    cpp/src/arrow/compute/key_hash_internal.cc and row/grouper.cc take the bytes of fixed-width keys.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'pyarrow==25.0.1' 'pandas==3.1.1' 'numpy==2.4.6'
"$work/venv/bin/python" - >"$work/seen" <<'EOF'
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

nan = float("nan")
keys = pa.array([0.0, -0.0, nan, -nan])
table = pa.table({"key": keys, "n": [1, 1, 1, 1]})
frame = table.to_pandas()
print("pc.equal(0.0, -0.0):", pc.equal(0.0, -0.0).as_py())
print("groups of Arrow:", table.group_by("key").aggregate([("n", "sum")]).num_rows, "of pandas:", len(frame.groupby("key", dropna=False)))
print("unique of Arrow:", len(pc.unique(keys)), "of numpy:", len(np.unique(frame["key"])), "count_distinct:", pc.count_distinct(keys).as_py())
print("is_in(-0.0, [0.0]):", pc.is_in(pa.array([-0.0]), pa.array([0.0]))[0].as_py(), "pandas:", pd.Series([-0.0]).isin([0.0]).item())
left, right = pa.table({"key": [-0.0]}), pa.table({"key": [0.0]})
print("rows joined by Arrow:", left.join(right, "key", join_type="inner").num_rows, "by pandas:", len(left.to_pandas().merge(right.to_pandas())))
series = pd.Series([0.0, -0.0], dtype="float64[pyarrow]")
print("pandas with an Arrow type: nunique", series.nunique(), "drop_duplicates", len(series.drop_duplicates()))
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
pc.equal(0.0, -0.0): True
groups of Arrow: 4 of pandas: 2
unique of Arrow: 4 of numpy: 2 count_distinct: 4
is_in(-0.0, [0.0]): False pandas: True
rows joined by Arrow: 0 by pandas: 1
pandas with an Arrow type: nunique 2 drop_duplicates 1
EOF
echo "as described"
