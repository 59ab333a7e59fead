"""The answer of a search with several objectives: its front as a table, and as a file that a program can read."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from thpsweep.answers.analysis.paired import is_exact
from thpsweep.answers.terminal.breakeven import as_text, finite, varied
from thpsweep.answers.terminal.numbers import EXACT, NOTHING, significant
from thpsweep.sweep.records.journal import Sweep
from thpsweep.sweep.search.pareto import Front

JSON_NAME, TEXT_NAME = "pareto.json", "pareto.txt"
FORMAT = 1


def write(sweep: Sweep, found: Front) -> None:
    """Leave the answer in the sweep's directory. Numbers that JSON has not (inf, nan) are null there."""
    content = json.dumps(finite(document(sweep, found)), indent=1, allow_nan=False)
    (sweep.directory / JSON_NAME).write_text(content + "\n", encoding="utf-8")
    (sweep.directory / TEXT_NAME).write_text(as_text(table(sweep, found)), encoding="utf-8")


def document(sweep: Sweep, found: Front) -> dict[str, Any]:
    """Put all of it in JSON types: what was asked, and each point of the front with its objectives."""
    optimal = [
        {
            "point": key,
            "params": dict(sweep.points[key]["params"]),
            "objectives": {metric: _metric(sweep, key, metric) for metric in found.objectives},
        }
        for key in found.ids
    ]
    return {
        "format": FORMAT,
        "sweep": sweep.header["sweep"],
        **sweep.header["search"],
        "n_points": found.n_points,
        "front": optimal,
    }


def table(sweep: Sweep, found: Front) -> Table:
    """Lay out one row per point of the front."""
    params = [sweep.points[key]["params"] for key in found.ids]
    names = _names(sweep, params)
    title = f"{len(found.ids)} of {found.n_points} points are beaten by no other in all objectives"
    laid = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE, pad_edge=False)
    laid.caption_justify, laid.caption_style = "left", ""
    for name in names:
        laid.add_column(name.rpartition(".")[2], overflow="fold")
    for metric, goal in found.objectives.items():
        laid.add_column(f"{goal}\n{metric}\n{found.units[metric]}", justify="right", overflow="fold")
    for key, chosen in zip(found.ids, params, strict=True):
        cells = [str(chosen.get(name, NOTHING)) for name in names]
        laid.add_row(*map(Text, [*cells, *(_cell(sweep, key, metric) for metric in found.objectives)]))
    laid.caption = Text(
        f"\nby the means over replicates; ± half of the 95 % interval's width, a point's own; without ±: {EXACT}"
    )
    return laid


def _names(sweep: Sweep, params: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name what was searched, also where all of the front have the same of it, and whatever else differs."""
    keys = sweep.header["search"].get("dimensions", {})
    searched = {key.removeprefix("policy/").replace("/", ".") for key in keys}
    differ = varied(params)
    every = dict.fromkeys(name for one in params for name in one)
    return [name for name in every if name in searched or name in differ]


def _metric(sweep: Sweep, key: str, metric: str) -> dict[str, float]:
    found: dict[str, float] = sweep.results[key]["result"]["metrics"][metric]
    return found


def _cell(sweep: Sweep, key: str, metric: str) -> str:
    found = _metric(sweep, key, metric)
    half = (found["high"] - found["low"]) / 2
    shown = math.isfinite(half) and not is_exact(found["low"], found["high"], found["mean"])
    return significant(found["mean"]) + (f" ±{significant(half, digits=2)}" if shown else "")
