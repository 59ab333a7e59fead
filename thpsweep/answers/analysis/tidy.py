"""A sweep as a pandas table."""

import pandas as pd

from thpsweep.answers.analysis import frame
from thpsweep.answers.analysis.frame import Row
from thpsweep.answers.analysis.question import question_of
from thpsweep.sweep.records.journal import Sweep
from thpsweep.sweep.records.schema import Result, result_of


def tidy(sweep: Sweep, *, replicates: bool) -> pd.DataFrame:
    """Give one row per point, or per point and replicate, in the order of the table at the end of a sweep."""
    rows = frame.rows(sweep)
    units: dict[str, str] = {}
    for row in rows:
        units |= _record(sweep, row).get("units", {})
    found = [one for row in rows for one in _split(sweep, row)] if replicates else list(map(frame.columns_of, rows))
    table = pd.DataFrame(found)
    named = {name: unit for name, unit in units.items() if name in table.columns}
    table.attrs = {"units": named, "name": sweep.header["name"], "question": question_of(sweep.directory)}
    return table


def _split(sweep: Sweep, row: Row) -> list[Row]:
    """Give one row per replicate; a point without a result has none."""
    values: dict[str, list[float]] = _record(sweep, row).get("replicates", {})
    kept = {"id": row["id"], **{key: row[key] for key in row["choices"]}}
    n = len(next(iter(values.values()), []))
    return [{**kept, "replicate": at, **{name: found[at] for name, found in values.items()}} for at in range(n)]


def _record(sweep: Sweep, row: Row) -> Result:
    return result_of(sweep.results.get(row["id"]))
