"""Make the first page of MLflow's UI, which is all that it draws, a fair picture of a sweep. No MLflow here.

The UI loads 100 runs and draws those. So runs have a tag to be ordered by, under which the first ones are spread over
the policies and over the values of all that was varied, and params that its parallel coordinates can draw.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from thpsweep.sweep.records import run_record

PAGE = 100
"""Runs that the UI loads and draws. Source: mlflow 3.17.2 mlflow/server/js, runsSearchMaxResults"""

N_SPREAD = 3 * PAGE
"""Points that are ordered; beyond, a page more or less changes little."""

MAX_TEXTS = 30
"""Texts of an axis that parallel coordinates draw.

Source: mlflow 3.17.2 mlflow/server/js, processParallelCoordinateData: a run without one of the values is left out; an
axis keeps its numbers where they are at least half of the values, else its first 30 texts; whatever it does not keep is
not drawn on any axis.
"""

SUFFIX = " as text"
MISSING = "(none)"


def spread(rows: Sequence[Mapping[str, Any]], first: str) -> list[int]:
    """Give each row its place in an order whose beginning has each value of each column about equally often.

    `first` is the column that comes before all others. Shapes: one row and one place per point.
    """
    columns = [first, *dict.fromkeys(key for row in rows for key in row if key != first)]
    codes = np.array([_codes([row.get(column) for row in rows]) for column in columns]).reshape(len(columns), len(rows))
    seen = [np.zeros(codes[number].max(initial=0) + 1) for number in range(len(columns))]
    left = np.ones(len(rows), dtype=bool)
    order: list[int] = []
    while len(order) < min(N_SPREAD, len(rows)):
        times_seen = sum(counts[code] for counts, code in zip(seen[1:], codes[1:], strict=True))
        score = np.where(left, seen[0][codes[0]] * 1e6 + times_seen, math.inf)
        chosen = int(np.argmin(score))
        left[chosen] = False
        order.append(chosen)
        for counts, code in zip(seen, codes, strict=True):
            counts[code[chosen]] += 1
    order += np.flatnonzero(left).tolist()
    places = [0] * len(rows)
    for place, row in enumerate(order):
        places[row] = place
    return places


def _codes(values: Sequence[Any]) -> list[int]:
    numbers: dict[str, int] = {}
    return [numbers.setdefault(run_record.as_text(value), len(numbers)) for value in values]


def axes(rows: Sequence[Mapping[str, str]], keys: Sequence[str]) -> dict[str, str]:
    """Give for each key of params the param that parallel coordinates can draw of every point: itself, or its text.

    A key is left out where there is no such param: more than MAX_TEXTS texts.
    """
    drawable = {}
    for key in keys:
        values = [row.get(key) for row in rows]
        texts = {MISSING if value is None else value for value in values}
        if texts == {MISSING}:
            continue
        if None not in values and all(_is_number(text) for text in texts):
            drawable[key] = key
        elif len(texts) <= MAX_TEXTS:
            drawable[key] = f"{key}{SUFFIX}" if None in values or any(map(_is_number, texts)) else key
    return drawable


def text_params(params: Mapping[str, str], drawable: Mapping[str, str]) -> dict[str, str]:
    """Give the params that `axes` wants and a run does not have: texts that JavaScript does not take for numbers."""
    return {axis: _text(params.get(key, MISSING)) for key, axis in drawable.items() if axis != key}


def without_texts(params: Mapping[str, str]) -> list[tuple[str, str]]:
    """List the params of a run but for those that stand there for the axes only."""
    return sorted((key, value) for key, value in params.items() if not key.endswith(SUFFIX))


def _text(value: str) -> str:
    is_infinite = value.strip().lstrip("+-") == "Infinity"
    return f"= {value}" if is_infinite or _is_number(value) else value


def _is_number(text: str) -> bool:
    """Tell whether JavaScript's Number() reads it as a finite number; an empty text is 0 to it."""
    try:
        return not text.strip() or ("_" not in text and math.isfinite(float(text)))
    except ValueError:
        return False
