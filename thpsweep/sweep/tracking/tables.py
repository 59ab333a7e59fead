"""Write a sweep's tables as Parquet, a few hundred points at a time, so that the size of a sweep costs no memory."""

import contextlib
import itertools
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from thpsweep.sweep.records import journal, run_record
from thpsweep.sweep.records.schema import ResultRecord, result_of
from thpsweep.sweep.tracking.index import JournalIndex

PLAN = "plan.parquet"
AT_ONCE = 200
"""Points in memory at a time."""

TEXT = pa.dictionary(pa.int32(), pa.string())
SCHEMAS = {
    "metrics.parquet": pa.schema(
        {"point": TEXT, "metric": TEXT, "unit": TEXT, "mean": pa.float64(), "low": pa.float64(), "high": pa.float64()}
    ),
    "replicates.parquet": pa.schema({"point": TEXT, "metric": TEXT, "replicate": pa.int32(), "value": pa.float64()}),
    "series.parquet": pa.schema(
        {"point": TEXT, "series": TEXT, "time_s": pa.float64(), "value": pa.float64(), "baseline": pa.float64()}
    ),
}
"""One row per value; `point` is the id that plan.parquet explains, and the tag thpsweep.point of a run."""

Columns = tuple[Sequence[Any], ...]
"""What one record gives to a table: one column per field of its schema."""


def refresh(index: JournalIndex, *, with_results: bool) -> None:
    """Make the tables that are not there, or older than the journal; under their names they are whole."""
    changed_ns = index.file.stat().st_mtime_ns
    plan_is_old = _n_planned(index.directory) != len(index.points)
    results_are_old = with_results and not all(_is_newer(index.directory / name, changed_ns) for name in SCHEMAS)
    if not plan_is_old and not results_are_old:
        return
    with tempfile.TemporaryDirectory(prefix=".tables-", dir=index.directory) as unfinished:
        if plan_is_old:
            write_plan(index.file, index.points, Path(unfinished))
        if results_are_old:
            starts = [index.results[key].start for key in index.points if key in index.results]
            write_results(index.file, starts, Path(unfinished))
        for path in Path(unfinished).iterdir():
            os.replace(path, index.directory / path.name)


def _n_planned(directory: Path) -> int:
    """Count the points in a directory's table of the plan; -1 where there is none."""
    path = directory / PLAN
    return int(parquet.read_metadata(path).num_rows) if path.exists() else -1


def _is_newer(path: Path, than_ns: int) -> bool:
    return path.exists() and path.stat().st_mtime_ns > than_ns


def write_plan(file: Path, points: Mapping[str, int], directory: Path) -> None:
    """Write one row per point: one column per choice, and the whole point as JSON.

    `points` has the byte at which each point's record begins in the journal `file`.
    """
    chosen = [run_record.choices(journal.at(file, start)) for start in points.values()]
    keys = list(dict.fromkeys(key for row in chosen for key in row))
    columns = {key: _column([row.get(key) for row in chosen]) for key in keys}
    table = pa.table({"index": range(len(points)), "point": list(points), **columns})
    schema = table.schema.append(pa.field("json", pa.string()))
    with parquet.ParquetWriter(directory / PLAN, schema, compression="zstd") as writer:
        for begin in range(0, len(points), AT_ONCE):
            starts = itertools.islice(points.values(), begin, begin + AT_ONCE)
            texts = [json.dumps(journal.at(file, start)["point"], sort_keys=True) for start in starts]
            writer.write_table(table.slice(begin, AT_ONCE).append_column("json", pa.array(texts)).cast(schema))


def write_results(file: Path, results: Iterable[int], directory: Path) -> None:
    """Write the tables of SCHEMAS; `results` are the bytes at which the records begin in the journal `file`."""
    with contextlib.ExitStack() as files:
        writers = {
            name: files.enter_context(parquet.ParquetWriter(directory / name, schema, compression="zstd"))
            for name, schema in SCHEMAS.items()
        }
        for starts in _batches(results):
            records = [journal.at(file, start) for start in starts]
            for name, writer in writers.items():
                writer.write_table(_table(list(map(COLUMNS[name], records)), SCHEMAS[name]))


def _table(given: Sequence[Columns], schema: Any) -> Any:
    """Put what records gave below each other: texts as dictionary indices, as a million rows are common."""
    every = [list(itertools.chain.from_iterable(columns)) for columns in zip(*given, strict=True)]
    arrays = [
        _encoded(column) if field.type == TEXT else pa.array(column, field.type)
        for field, column in zip(schema, every, strict=True)
    ]
    return pa.table(arrays, schema=schema)


def _encoded(texts: Sequence[str]) -> Any:
    return pa.array(texts, pa.string()).dictionary_encode()


def _metrics(record: ResultRecord) -> Columns:
    result = result_of(record)
    units, metrics = result.get("units", {}), result.get("metrics", {})
    ends = ([metric[end] for metric in metrics.values()] for end in ("mean", "low", "high"))
    return [record["id"]] * len(metrics), list(metrics), [units.get(name, "") for name in metrics], *ends


def _replicates(record: ResultRecord) -> Columns:
    replicates = result_of(record).get("replicates", {})
    names = [name for name, values in replicates.items() for _ in values]
    numbers = [number for values in replicates.values() for number in range(len(values))]
    return [record["id"]] * len(names), names, numbers, list(itertools.chain.from_iterable(replicates.values()))


def _series(record: ResultRecord) -> Columns:
    series = result_of(record).get("series", {})
    names = [name for name in series if name != "time_s"]
    times_s = series.get("time_s", [])
    values = (itertools.chain.from_iterable(series[name][what] for name in names) for what in ("mean", "baseline"))
    n_rows = len(names) * len(times_s)
    return [record["id"]] * n_rows, [name for name in names for _ in times_s], times_s * len(names), *map(list, values)


COLUMNS: dict[str, Callable[[ResultRecord], Columns]] = {
    "metrics.parquet": _metrics,
    "replicates.parquet": _replicates,
    "series.parquet": _series,
}
"""What each table takes from a result record."""


def _column(values: list[Any]) -> Any:
    """Keep numbers numbers; values of several kinds, and lists, become the text of their override."""
    kinds = {type(value) for value in values if value is not None}
    if (len(kinds) == 1 and kinds <= {int, float, bool, str}) or kinds == {int, float}:
        try:
            return pa.array(values, pa.float64() if kinds == {int, float} else None)
        except (pa.ArrowInvalid, OverflowError):  # an integer beyond 64 bits
            pass
    return pa.array([None if value is None else run_record.as_text(value) for value in values], pa.string())


def _batches(starts: Iterable[int]) -> Iterator[list[int]]:
    left = iter(starts)
    while batch := list(itertools.islice(left, AT_ONCE)):
        yield batch
