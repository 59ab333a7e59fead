"""The columns of the table at the end of a sweep: which metrics, in which units, and what stands in a cell."""

import dataclasses
import math
from collections.abc import Callable, Sequence

from thpsweep.answers.analysis import frame
from thpsweep.answers.analysis.frame import Row
from thpsweep.answers.analysis.paired import is_exact
from thpsweep.answers.terminal.numbers import NOT_WITHIN, NOTHING, count, significant
from thpsweep.sweep.records import run_record

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


def own_columns(rows: Sequence[Row]) -> list[Column]:
    """Make a column of each metric of the user's own."""
    units = {name: unit for row in rows for name, unit in row["own"].items()}
    short = {name: name.rpartition("/")[2].replace("_", " ") for name in units}
    return [Column(f"{short[name]}\n{unit}", name, significant, interval=True) for name, unit in units.items()]


def cell(row: Row, column: Column, unit: float, *, interval: bool) -> str:
    """Write a mean, with half of its interval where that is shown and has a width."""
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


def level(value: object) -> str:
    """Write what was chosen."""
    return NOTHING if value is None else run_record.as_text(value)
