"""The table at the end of a sweep: what each policy costs and brings at each sharing degree."""

import io
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from thpsweep.answers.analysis import frame
from thpsweep.answers.analysis.frame import Row
from thpsweep.answers.terminal.columns import COLUMNS, PAYBACK, cell, level, own_columns
from thpsweep.answers.terminal.footnotes import WIDE_COLUMNS, footnotes, is_private
from thpsweep.answers.terminal.numbers import NO_FIT, NOTHING, count
from thpsweep.sweep.records.journal import Sweep

HUGE_ALREADY = ("SUCCEED", "PMD_MAPPED", "PTE_MAPPED_HUGEPAGE", "NO_PTE_TABLE")
"""Results of visits that refuse nothing: collapsed now or before, or the process maps nothing there."""


MOST_ROWS = 100
"""A longer sweep is shown by its first and last points."""


def table(sweep: Sweep, *, width: int = 170) -> Table:
    """Lay a sweep out as a table with its notes below; `width` is the terminal's, in characters."""
    rows = frame.rows(sweep)
    wide = width >= WIDE_COLUMNS
    laid = Table(
        title=_title(sweep, rows),
        title_justify="left",
        title_style="bold",
        header_style="bold",
        caption_justify="left",
        caption_style="",
        box=box.SIMPLE if wide else None,
        pad_edge=False,
        collapse_padding=not wide,
    )
    leading = _leading(rows)
    for key in leading:
        least = max(len(level(row.get(key))) for row in rows)
        laid.add_column(key.rpartition(".")[2], justify="left" if key == "workload" else "right", min_width=least)
    laid.add_column("policy", overflow="fold", no_wrap=wide)
    if wide:
        laid.add_column("regions\ncollapsed", justify="right", no_wrap=True)
    columns = [*(column for column in COLUMNS if wide or not column.wide), *own_columns(rows)]
    units = [column.unit(rows) for column in columns]
    for column, (unit, _) in zip(columns, units, strict=True):
        heading = f"{column.heading}\n{unit}".replace("\n\n", "\n").strip()
        laid.add_column(heading, justify="right", overflow="fold", no_wrap=column.metric == PAYBACK and wide)
    shown, hidden = (rows, 0) if len(rows) <= MOST_ROWS else (_ends(rows), len(rows) - MOST_ROWS)
    for row, following in zip(shown, [*shown[1:], None], strict=True):
        cells = [level(row.get(key)) for key in leading] + [_policy(row)]
        cells += [_regions(row)] if wide else []
        cells += [cell(row, column, unit, interval=wide) for column, (_, unit) in zip(columns, units, strict=True)]
        last = following is not None and [following.get(key) for key in leading] != [row.get(key) for key in leading]
        laid.add_row(*map(Text, cells), end_section=last)
    notes = [f"{hidden} more points, in the middle, are in table.csv"] if hidden else []
    laid.caption = Text("\n".join(["", *notes, *footnotes(rows, wide=wide)]))
    return laid


def _ends(rows: Sequence[Row]) -> list[Row]:
    return [*rows[: MOST_ROWS // 2], *rows[-MOST_ROWS // 2 :]]


def text(sweep: Sweep, *, width: int = 170) -> str:
    """Write `table` as plain text of at most `width` characters a line."""
    out = io.StringIO()
    Console(file=out, width=width, color_system=None, force_terminal=False).print(table(sweep, width=width))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).strip("\n") + "\n"


def _leading(rows: Sequence[Row]) -> list[str]:
    """Name the choices that make the first columns: the degree, and whatever else differs."""
    several = [key for key in ("workload", "sharing") if len({row[key] for row in rows}) > 1]
    return [*several, "sharing.degree", *frame.varied(rows)]


def _title(sweep: Sweep, rows: Sequence[Row]) -> str:
    workloads = ", ".join(dict.fromkeys(str(row["workload"]) for row in rows))
    replicates = ", ".join(dict.fromkeys(str(row["run.replicates"]) for row in rows))
    counted = "1 point" if len(rows) == 1 else f"{count(len(rows))} points"
    return f"{sweep.header['name']}: {counted} on {workloads}, {replicates} replicates each"


def _policy(row: Row) -> str:
    if row["state"] != "done":
        return f"{row['policy']} ({row['state']})"
    return str(row["policy"]) if frame.fits(row) else f"{row['policy']}\n{NO_FIT}"


def _regions(row: Row) -> str:
    """Write how many regions collapsed, and why others did not, by the kernel's name for what refused most visits."""
    collapsed = row.get("cost/collapses")
    if collapsed is None or not row["counted"]:
        return NOTHING
    collapsed, regions = collapsed / row["folios_a_region"], row["regions"]
    refused = [name for name in row["counted"] if name not in HUGE_ALREADY]
    if is_private(row):
        return "\n".join([f"{count(collapsed)} private", *refused[:1]])
    of = "" if regions is None else f" of {count(regions)}"
    return "\n".join([f"{count(collapsed)}{of}", *([] if collapsed == regions else refused[:1])])
