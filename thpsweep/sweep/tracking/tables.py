"""Write a sweep's tables as Parquet, a few hundred points at a time, so that the size of a sweep costs no memory."""

import contextlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from thpsweep.sweep import journal, run_record
from thpsweep.sweep.journal import Record

PLAN = "plan.parquet"
AT_ONCE = 200
"""Points in memory at a time."""

WORD = pa.dictionary(pa.int32(), pa.string())
SCHEMAS = {
    "metrics.parquet": pa.schema(
        {"point": WORD, "metric": WORD, "unit": WORD, "mean": pa.float64(), "low": pa.float64(), "high": pa.float64()}
    ),
    "replicates.parquet": pa.schema({"point": WORD, "metric": WORD, "replicate": pa.int32(), "value": pa.float64()}),
    "series.parquet": pa.schema(
        {"point": WORD, "series": WORD, "time_s": pa.float64(), "value": pa.float64(), "baseline": pa.float64()}
    ),
}
"""One row a value; `point` is the id that plan.parquet explains, and the tag thpsweep.point of a run."""

Block = tuple[tuple[str, ...], tuple[Sequence[float], ...]]
"""Rows that share their words: the words, then as many values a column as there are rows."""


def n_planned(directory: Path) -> int:
    """Count the points in a directory's table of the plan; -1 where there is none."""
    path = directory / PLAN
    return int(parquet.read_metadata(path).num_rows) if path.exists() else -1


def write_plan(file: Path, points: Mapping[str, int], directory: Path) -> None:
    """Write a row a point: what was chosen, a column a choice, and all of the point as JSON.

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
                blocks = [block for record in records for block in BLOCKS[name](record)]
                writer.write_table(_table(blocks, SCHEMAS[name]))


def _table(blocks: Sequence[Block], schema: Any) -> Any:
    """Put blocks below each other: words by number, values as they come, as a million rows are no rarity."""
    n_words = sum(field.type == WORD for field in schema)
    n_rows = [len(values[0]) for _, values in blocks]
    columns = [_words([words[at] for words, _ in blocks], n_rows) for at in range(n_words)]
    for at, field in enumerate(list(schema)[n_words:]):
        every = itertools.chain.from_iterable(values[at] for _, values in blocks)
        columns.append(pa.array(np.fromiter(every, np.float64, sum(n_rows))).cast(field.type))
    return pa.table(columns, names=schema.names)


def _words(words: Sequence[str], n_rows: Sequence[int]) -> Any:
    number_of = {word: number for number, word in enumerate(dict.fromkeys(words))}
    numbers = np.repeat(np.array([number_of[word] for word in words], np.int32), n_rows)
    return pa.DictionaryArray.from_arrays(pa.array(numbers, pa.int32()), pa.array(list(number_of), pa.string()))


def _metrics(record: Record) -> Iterator[Block]:
    result = record["result"] or {}
    units = result.get("units", {})
    for name, metric in result.get("metrics", {}).items():
        yield (record["id"], name, units.get(name, "")), ([metric["mean"]], [metric["low"]], [metric["high"]])


def _replicates(record: Record) -> Iterator[Block]:
    for name, values in (record["result"] or {}).get("replicates", {}).items():
        yield (record["id"], name), (range(len(values)), values)


def _series(record: Record) -> Iterator[Block]:
    found = (record["result"] or {}).get("series", {})
    for name in (name for name in found if name != "time_s"):
        yield (record["id"], name), (found["time_s"], found[name]["mean"], found[name]["baseline"])


BLOCKS: dict[str, Callable[[Record], Iterator[Block]]] = {
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
