#!/usr/bin/env bash
# DuckDB's x > 5 keeps nan, in files that it wrote itself; in pyarrow's it depends on the row groups; pandas drops it.
#
# Version:   duckdb 2.0.1, pyarrow 26.0.1, polars 2.1.0, pandas 3.1.1.
# Behaviour: x = [1, nan, 2, nan, 10, 3] in a Parquet file, filter x > 5. pandas: [10]. polars: [nan, nan, 10]. DuckDB
#            on a file of its own: [nan, nan, 10] whatever the row group size is. DuckDB on pyarrow's file: both nans with 6
#            or 1 rows a group, one with 3, none with 2, where a group's maximum, which leaves nan out, is below 5.
# Expected:  one answer for one predicate; at the least one that does not depend on who wrote the file.
# Source:    nan is greater than all numbers in DuckDB (its documentation, "Numeric types") and polars, and compares
#            false in IEEE 754; DuckDB writes no minimum and maximum for a group with nan, and skips by those of others.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check \
  'duckdb==2.0.1' 'pyarrow==26.0.1' 'polars==2.1.0' 'pandas==3.1.1'
cd "$work"
"$work/venv/bin/python" - >"$work/seen" <<'EOF'
import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

nan = float("nan")
table = pa.table({"x": [1.0, nan, 2.0, nan, 10.0, 3.0]})
pq.write_table(table, "all.parquet")
base = duckdb.connect()


def by_duckdb(name):
    return [x for (x,) in base.execute(f"select x from '{name}' where x > 5").fetchall()]


print("pandas:", pd.read_parquet("all.parquet").query("x > 5", engine="python")["x"].to_list())
print("polars:", pl.scan_parquet("all.parquet").filter(pl.col("x") > 5).collect()["x"].to_list())
for rows in (6, 3, 2, 1):
    pq.write_table(table, "arrow.parquet", row_group_size=rows)
    base.execute(f"copy (select * from 'arrow.parquet') to 'duckdb.parquet' (row_group_size {rows})")
    print(f"{rows} rows a group: DuckDB on pyarrow's file {by_duckdb('arrow.parquet')}, on its own {by_duckdb('duckdb.parquet')}")
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
pandas: [10.0]
polars: [nan, nan, 10.0]
6 rows a group: DuckDB on pyarrow's file [nan, nan, 10.0], on its own [nan, nan, 10.0]
3 rows a group: DuckDB on pyarrow's file [nan, 10.0], on its own [nan, nan, 10.0]
2 rows a group: DuckDB on pyarrow's file [10.0], on its own [nan, nan, 10.0]
1 rows a group: DuckDB on pyarrow's file [nan, nan, 10.0], on its own [nan, nan, 10.0]
EOF
echo "as described"
