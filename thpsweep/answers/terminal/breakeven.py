"""The answer of a break-even search: a table, and a file that a program can read."""

import dataclasses
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from thpsweep.answers.terminal.numbers import NOTHING, significant
from thpsweep.sweep.records import run_record
from thpsweep.sweep.records.journal import Sweep
from thpsweep.sweep.search.axis import Axis
from thpsweep.sweep.search.bisect import NOT_RESOLVED, UNCLEAR, Change, Stretch
from thpsweep.sweep.search.breakeven import Answer

JSON_NAME, TEXT_NAME = "breakeven.json", "breakeven.txt"
FORMAT = 1


def write(sweep: Sweep, found: Sequence[Answer]) -> None:
    """Leave the answer in the sweep's directory. Numbers that JSON has not (inf, nan) are null there."""
    content = json.dumps(finite(document(sweep, found)), indent=1, allow_nan=False)
    (sweep.directory / JSON_NAME).write_text(content + "\n", encoding="utf-8")
    (sweep.directory / TEXT_NAME).write_text(as_text(table(sweep, found)), encoding="utf-8")


def as_text(laid: Table) -> str:
    """Write a table as plain text."""
    out = io.StringIO()
    Console(file=out, width=150, color_system=None, force_terminal=False).print(laid)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def document(sweep: Sweep, found: Sequence[Answer]) -> dict[str, Any]:
    """Put all of it in JSON types: what was asked, and for each combination the state, changes and readings."""
    asked = {key: value for key, value in sweep.header["search"].items() if key != "combinations"}
    return {
        "format": FORMAT,
        "sweep": sweep.header["sweep"],
        **asked,
        "answers": [_as_json(answer) for answer in found],
    }


def _as_json(answer: Answer) -> dict[str, Any]:
    readings = [{"value": value, **dataclasses.asdict(reading)} for value, reading in answer.readings.items()]
    return {
        "params": dict(answer.params),
        **dataclasses.asdict(answer.conclusion),
        "readings": readings,
        "points": list(answer.ids),
    }


def finite(value: Any) -> Any:
    """Put null for numbers that JSON has not."""
    if isinstance(value, dict):
        return {key: finite(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [finite(child) for child in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def table(sweep: Sweep, found: Sequence[Answer]) -> Table:
    """Lay out one row a change of sides, and one for a combination that has none."""
    spec = sweep.header["search"]
    axis = Axis(**spec["axis"])
    names = varied([answer.params for answer in found])
    laid = Table(title=_title(spec), title_justify="left", title_style="bold", box=box.SIMPLE, pad_edge=False)
    laid.caption_justify, laid.caption_style = "left", ""
    for name in names:
        laid.add_column(name.rpartition(".")[2], overflow="fold")
    laid.add_column("answer")
    for heading in (f"change along\n{axis.key}", "estimate", "95 % sure\nbetween", "points", "replicates"):
        laid.add_column(heading, justify="left" if heading.startswith("change") else "right", overflow="fold")
    for answer in found:
        cells = [_text(answer.params.get(name)) for name in names]
        rows = [_change(change) for change in answer.conclusion.changes] or [[_stretches(answer), NOTHING, NOTHING]]
        for number, row in enumerate(rows):
            first = [*cells, answer.conclusion.state] if number == 0 else [""] * (len(cells) + 1)
            size = [str(len(answer.ids)), _replicates(answer)] if number == 0 else ["", ""]
            laid.add_row(*map(Text, [*first, *row, *size]))
    laid.caption = Text("\n".join(["", *_notes(spec, axis, found)]))
    return laid


def _title(spec: Mapping[str, Any]) -> str:
    unit = f" {spec['unit']}" if spec["unit"] else ""
    return f"where {spec['metric']} changes sides of {spec['threshold']:g}{unit}"


def varied(params: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name the values that differ; the first one where none does."""
    names = list(dict.fromkeys(name for one in params for name in one))
    several = [name for name in names if len({_text(one.get(name)) for one in params}) > 1]
    return several or names[:1]


def _text(value: Any) -> str:
    return NOTHING if value is None else run_record.as_text(value)


def _change(change: Change) -> list[str]:
    estimate = NOTHING if change.estimate is None else significant(change.estimate)
    return [f"{change.before} to {change.after}", estimate, f"{number(change.below)} .. {number(change.above)}"]


def _stretches(answer: Answer) -> str:
    return "; ".join(_stretch(stretch) for stretch in answer.conclusion.stretches) or "no reading"


def _stretch(stretch: Stretch) -> str:
    return f"{stretch.side} from {number(stretch.first)} to {number(stretch.last)}"


def number(value: float) -> str:
    """Write a value of the axis: whole where it is, else six digits at most."""
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _replicates(answer: Answer) -> str:
    several = sorted({reading.replicates for reading in answer.readings.values()})
    return f"{several[0]}..{several[-1]}" if len(several) > 1 else "".join(map(str, several))


def _notes(spec: Mapping[str, Any], axis: Axis, found: Sequence[Answer]) -> list[str]:
    """Say what the table does not: what may be missed, and what would resolve what is not."""
    sample = ", ".join(map(number, axis.samples(spec["samples"])))
    lines = [
        f"always, never: above, below {spec['threshold']:g} at every value looked at",
        f"two changes between neighbours of the first sample can be missed: {sample}",
    ]
    unresolved = [answer for answer in found if answer.conclusion.state == NOT_RESOLVED]
    if unresolved:
        lines.append(
            "not resolved: paired 95 % intervals span the threshold over more than the resolution; "
            "more run.replicates, or hydra.sweeper.max_replicates, narrow it"
        )
    for answer in unresolved:
        unclear = [_stretch(s) for s in answer.conclusion.stretches if s.side == UNCLEAR]
        if unclear:
            what = " ".join(f"{name}={_text(value)}" for name, value in answer.params.items())
            lines.append(f"{what}: {'; '.join(unclear)}")
    return lines
