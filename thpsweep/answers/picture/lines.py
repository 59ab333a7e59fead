"""What a sweep's picture shows: one line per policy along the degree, or a cloud where there would be too many."""

import collections
import dataclasses
from collections.abc import Sequence

from thpsweep.answers.analysis import frame
from thpsweep.answers.analysis.frame import Row
from thpsweep.sweep.records import run_record
from thpsweep.sweep.records.journal import Sweep

X = "benefit/lru_entries_removed"
Y = "cost/pte_updates"

MOST_LINES = 24
"""Of more lines in a panel, only the points are drawn, with one mark per policy: so many lines cannot be followed."""


@dataclasses.dataclass(frozen=True)
class PictureLine:
    """A line: the done points of one policy (and of one value of whatever else was varied), by sharing degree.

    A cloud is all points of a policy, without order.
    """

    label: str
    panel: str
    rows: tuple[Row, ...]
    is_cloud: bool = False

    def values(self, key: str) -> list[float]:
        """Give one column of the rows."""
        return [float(row[key]) for row in self.rows]


def series(sweep: Sweep) -> list[PictureLine]:
    """Group the points that have both metrics into lines: policies in the order of the sweep."""
    rows = [row for row in frame.rows(sweep) if row["state"] == "done" and X in row and Y in row]
    others = frame.varied(rows)
    several = len({row["policy"] for row in rows}) > 1 or not others
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        rest = [f"{key.rpartition('.')[2]}={run_record.as_text(row[key])}" for key in others if key in row]
        label = ", ".join([*([row["policy"]] if several else []), *rest])
        grouped.setdefault((f"workload {row['workload']}", label), []).append(row)
    if max(collections.Counter(panel for panel, _ in grouped).values(), default=0) > MOST_LINES:
        return _clouds(rows)
    return [PictureLine(label, panel, tuple(found)) for (panel, label), found in grouped.items()]


def _clouds(rows: Sequence[Row]) -> list[PictureLine]:
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        grouped.setdefault((f"workload {row['workload']}", row["policy"]), []).append(row)
    return [PictureLine(label, panel, tuple(found), is_cloud=True) for (panel, label), found in grouped.items()]
