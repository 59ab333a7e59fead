"""The table at the end of a sweep: what each policy costs and brings at each sharing degree."""

import dataclasses
import io
import math
import re
from collections.abc import Callable, Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from thpsweep.answers.analysis import frame
from thpsweep.answers.analysis.frame import Row
from thpsweep.answers.analysis.paired import is_exact
from thpsweep.model import registry
from thpsweep.model.mechanisms.base import Mechanism
from thpsweep.sweep.records import run_record
from thpsweep.sweep.records.journal import Sweep

WIDE_COLUMNS = 150
"""Terminal columns below which the table leaves out its wide columns."""

NOTHING = "–"
EXACT = "exact in this model"
"""Said of a mean that all replicates agree on."""

NOT_WITHIN = "not within the run"
"""Said of a payback that no replicate, or not every one, comes to."""

NO_FIT = "does not fit"
"""Said of a policy that takes more memory than the machine has."""


def count(value: float) -> str:
    """Write a number of things, with a decimal only where a mean over replicates needs it."""
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 1000 else f"{value:,.1f}"


def significant(value: float, digits: int = 3) -> str:
    """Write at least `digits` significant digits without an exponent."""
    if value == 0 or not math.isfinite(value):
        return f"{value:.0f}"
    return f"{value:,.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def duration(value_s: float) -> str:
    """Write a time in the largest unit that it fills; infinite is never."""
    if value_s == math.inf:
        return "never"
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if value_s >= seconds:
            return f"{significant(value_s / seconds)} {unit}"
    return f"{significant(value_s * 1000)} ms"


TIMES = (("s", 1.0), ("min", 60.0), ("h", 3_600.0), ("d", 86_400.0))
SIZES = (("B", 1.0), ("KiB", 2.0**10), ("MiB", 2.0**20), ("GiB", 2.0**30), ("TiB", 2.0**40))
"""Units that a column may be written in, smallest first."""

SMALLEST = 0.1
"""No value but zero is written as less, so that every one keeps its digits."""


@dataclasses.dataclass(frozen=True)
class Column:
    """A metric in the table: its heading, how its mean is written, in which unit, and whether with half its interval."""

    heading: str
    metric: str
    write: Callable[[float], str]
    interval: bool = False
    units: Sequence[tuple[str, float]] = ()
    wide: bool = False

    def unit(self, rows: Sequence[Row]) -> tuple[str, float]:
        """Choose one unit for the whole column: the largest that leaves its smallest value readable."""
        known = (value_of(row, self.metric) for row in rows)
        values = [abs(value) for value in known if value is not None and math.isfinite(value)]
        smallest = min((value for value in values if value), default=0.0)
        fitting = [unit for unit in self.units if smallest >= SMALLEST * unit[1] and max(values) >= unit[1]]
        return (fitting or self.units or [("", 1.0)])[-1 if fitting else 0]


def _size(value: float) -> str:
    return significant(value) if value else "0"


def _payback(value: float) -> str:
    return NOT_WITHIN if value == math.inf else significant(value)


DOUBLE, PAYBACK, NET = "cost/sharing_lost_bytes", "tradeoff/payback_s", "tradeoff/net_cpu_ms"
COLUMNS = (
    Column("pte updates,\nlargest region", "cost/pte_updates_worst_region", count, wide=True),
    Column("pte\nupdates", "cost/pte_updates", count),
    Column("LRU\nremoved", "benefit/lru_entries_removed", count),
    Column("per LRU\nentry", "tradeoff/pte_updates_per_lru_entry", significant),
    Column("CPU\nms", "cost/cpu_ms", significant),
    Column("sharing\nlost", DOUBLE, _size, units=SIZES),
    Column("net CPU\nms", NET, significant, interval=True),
    Column("payback", PAYBACK, _payback, units=TIMES),
)


def value_of(row: Row, metric: str) -> float | None:
    """Look up what a column shows: of sharing, what is still lost at the end; a payback beyond the run is none."""
    value: float | None = row.get(metric)
    if value is not None and metric == DOUBLE:
        return frame.double_bytes(row)
    if value is not None and metric == PAYBACK and value > row.get("duration_s", math.inf):
        return math.inf
    return value


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
        least = max(len(_text(row.get(key))) for row in rows)
        laid.add_column(key.rpartition(".")[2], justify="left" if key == "workload" else "right", min_width=least)
    laid.add_column("policy", overflow="fold", no_wrap=wide)
    if wide:
        laid.add_column("regions\ncollapsed", justify="right", no_wrap=True)
    columns = [*(column for column in COLUMNS if wide or not column.wide), *_own(rows)]
    units = [column.unit(rows) for column in columns]
    for column, (unit, _) in zip(columns, units, strict=True):
        heading = f"{column.heading}\n{unit}".replace("\n\n", "\n").strip()
        laid.add_column(heading, justify="right", overflow="fold", no_wrap=column.metric == PAYBACK and wide)
    shown, hidden = (rows, 0) if len(rows) <= MOST_ROWS else (_ends(rows), len(rows) - MOST_ROWS)
    for row, following in zip(shown, [*shown[1:], None], strict=True):
        cells = [_text(row.get(key)) for key in leading] + [_policy(row)]
        cells += [_regions(row)] if wide else []
        cells += [_cell(row, column, unit, interval=wide) for column, (_, unit) in zip(columns, units, strict=True)]
        last = following is not None and [following.get(key) for key in leading] != [row.get(key) for key in leading]
        laid.add_row(*map(Text, cells), end_section=last)
    notes = [f"{hidden} more points, in the middle, are in table.csv"] if hidden else []
    laid.caption = Text("\n".join(["", *notes, *footnotes(rows, wide=wide)]))
    return laid


def _own(rows: Sequence[Row]) -> list[Column]:
    """Make a column of each metric of the user's own."""
    units = {name: unit for row in rows for name, unit in row["own"].items()}
    short = {name: name.rpartition("/")[2].replace("_", " ") for name in units}
    return [Column(f"{short[name]}\n{unit}", name, significant, interval=True) for name, unit in units.items()]


def _ends(rows: Sequence[Row]) -> list[Row]:
    return [*rows[: MOST_ROWS // 2], *rows[-MOST_ROWS // 2 :]]


def text(sweep: Sweep, *, width: int = 170) -> str:
    """Write `table` as plain text of at most `width` characters a line."""
    out = io.StringIO()
    Console(file=out, width=width, color_system=None, force_terminal=False).print(table(sweep, width=width))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).strip("\n") + "\n"


def footnotes(rows: Sequence[Row], *, wide: bool = True) -> list[str]:
    """Say once what the numbers do not: failures, missing metrics, and what the model noted (refusals among it)."""
    done = [row for row in rows if row["state"] == "done"]
    others = frame.varied(rows)
    lines = [f"{row['state']}: {_label(row, others)}: {row['error']}" for row in rows if row["error"]]
    waiting = len(rows) - sum(row["state"] != frame.NOT_RUN for row in rows)
    lines += [f"{waiting} of {len(rows)} points have not run"] if waiting else []
    missing = [column.metric for column in COLUMNS if done and not any(column.metric in row for row in done)]
    lines += [f"not in the results: {', '.join(missing)}"] if missing else []
    if wide:
        lines.append(
            f"means over replicates; ± half of the 95 % interval's width{_exact(done)}"
            + ("; private: each process collapses a copy of its own" if any(map(_is_private, done)) else "")
        )
    else:
        lines.append(
            f"regions collapsed, the largest one and intervals are shown from {WIDE_COLUMNS} characters a line"
        )
    if not all(map(frame.fits, done)):
        lines.append(f"{NO_FIT}: takes more memory at the peak than the machine has, so that it competes with nothing")
    captured = next((row for row in rows if row["workload"] == "captured" and "sharing.degree" in row), None)
    if captured is not None:
        lines.append(
            f"{_where(captured)}: the captured tree with {captured['sharing.degree']} processes (sharing.degree); "
            "sharing=captured takes as many as were captured"
        )
    return lines + _notes(rows)


def _exact(done: Sequence[Row]) -> str:
    """Say what a net gain without ± is, where there is one; with a single replicate nothing is known."""
    ends = [(row[f"{NET}_low"], row[f"{NET}_high"]) for row in done if NET in row]
    if any(math.isnan(high - low) for low, high in ends):
        return ", unknown with one replicate"
    return f"; without: {EXACT}" if any(low == high for low, high in ends) else ""


def _leading(rows: Sequence[Row]) -> list[str]:
    """Name the choices that make the first columns: the degree, and whatever else differs."""
    several = [key for key in ("workload", "sharing") if len({row[key] for row in rows}) > 1]
    return [*several, "sharing.degree", *frame.varied(rows)]


def _title(sweep: Sweep, rows: Sequence[Row]) -> str:
    workloads = ", ".join(dict.fromkeys(str(row["workload"]) for row in rows))
    replicates = ", ".join(dict.fromkeys(str(row["run.replicates"]) for row in rows))
    counted = "1 point" if len(rows) == 1 else f"{count(len(rows))} points"
    return f"{sweep.header['name']}: {counted} on {workloads}, {replicates} replicates each"


def _text(value: object) -> str:
    return NOTHING if value is None else run_record.as_text(value)


def _where(row: Row) -> str:
    degree = f"x{row['sharing.degree']}" if "sharing.degree" in row else str(row["sharing"])
    return f"{row['workload']} {degree}"


def _label(row: Row, others: Sequence[str]) -> str:
    """Name a point by all that tells it from the others."""
    more = [f"{key.rpartition('.')[2]}={_text(row[key])}" for key in others if row.get(key) is not None]
    return " ".join([f"{row['policy']} at {_where(row)}", *more])


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
    if _is_private(row):
        return "\n".join([f"{count(collapsed)} private", *refused[:1]])
    of = "" if regions is None else f" of {count(regions)}"
    return "\n".join([f"{count(collapsed)}{of}", *([] if collapsed == regions else refused[:1])])


def _is_private(row: Row) -> bool:
    """Tell whether each process collapses on its own."""
    member = registry.options("mechanism").get(row["mechanism"])
    return (
        bool(row.get("cost/collapses"))
        and member is not None
        and issubclass(member, Mechanism)
        and not member.all_sharers
    )


def _cell(row: Row, column: Column, unit: float, *, interval: bool) -> str:
    mean = value_of(row, column.metric)
    if mean is None or math.isnan(mean):
        return NOTHING
    low, high = row[f"{column.metric}_low"], row[f"{column.metric}_high"]
    shown = interval and column.interval and math.isfinite(high - low) and not is_exact(low, high, _scale(row, column))
    return column.write(mean / unit) + (f" ±{significant((high - low) / 2 / unit, digits=2)}" if shown else "")


def _scale(row: Row, column: Column) -> float:
    """Give how large the values are that a mean was computed from."""
    names = (column.metric, *(("cost/cpu_ms", "tradeoff/gain_cpu_ms") if column.metric == NET else ()))
    return max(abs(float(row.get(name, 0.0))) for name in names)


def _notes(rows: Sequence[Row]) -> list[str]:
    """Give each note once; notes that differ in numbers alone are one, given as the last row has it."""
    found: dict[str, list[tuple[str, Row]]] = {}
    for row in rows:
        for note in row["notes"]:
            found.setdefault(re.sub(r"[\d,.]*\d", "#", note), []).append((note, row))
    n_policies = len({row["policy"] for row in rows})
    lines = []
    for alike in found.values():
        note, last = alike[-1]
        policies = dict.fromkeys(row["policy"] for _, row in alike)
        who = "" if len(policies) == n_policies else f"{_list(policies)} at "
        numbers = f" (numbers of {_where(last)})" if len({note for note, _ in alike}) > 1 else ""
        lines.append(f"{who}{_list(_where(row) for _, row in alike)}: {note}{numbers}")
    return lines


def _list(words: Iterable[str]) -> str:
    """Join words, the middle of a long list left out."""
    every = list(dict.fromkeys(words))
    return ", ".join(every if len(every) <= 4 else [every[0], "...", every[-1]])
