"""The picture at the end of a sweep: pte updates against LRU entries removed, a line a policy along the degree."""

import collections
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter
from matplotlib.transforms import ScaledTranslation, Transform

from thpsweep.answers import frame
from thpsweep.answers.frame import Row
from thpsweep.errors import SweepError
from thpsweep.sweep import run_record
from thpsweep.sweep.journal import Sweep

X = "benefit/lru_entries_removed"
Y = "cost/pte_updates"

COLOURS = ("#000000", "#D55E00", "#009E73", "#CC79A7", "#0072B2", "#E69F00", "#56B4E9")
"""Okabe and Ito's colours without yellow: told apart by colour-blind readers too, and on white."""

MARKERS = "osD^vPX<>"
STYLES = ("-", "--", "-.", ":")

DODGE_POINTS = 6.0
"""Distance between lines that would cover each other: 1 % of a panel. Units: typographic points."""

MOST_LABELS = 200

MOST_LINES = 24
"""Of more lines in a panel, only the points are drawn, with one mark a policy: nobody can follow the lines."""

MARKS = (
    "Mean over replicates with 95 % interval; beside each point its sharing degree.\n"
    "Lines that would cover each other are drawn side by side, a marker's width apart."
)
CLOUDS = (
    "Mean over replicates, a mark a point. There would be more than {n} lines along the sharing degree:\n"
    "what else was varied, and the intervals, are in table.csv. Policies that would cover each other are side by side."
)
"""How to read the marks."""

LABEL_PLACES = tuple((side * (7 + 7 * far), 7 * up) for far in (0, 1) for up in (0, 1, -1) for side in (1, -1))
"""Where a point's label may stand from the point, best first. Units: typographic points."""


@dataclasses.dataclass(frozen=True)
class Series:
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


def plot(sweep: Sweep, path: Path) -> None:
    """Draw `figure` into a PNG file.

    Raises: SweepError where no point has both metrics.
    """
    figure(sweep).savefig(path, format="png")


def figure(sweep: Sweep) -> Figure:
    """Draw the sweep, one panel a workload, without pyplot, so that nothing stays behind.

    A line has `get_label()` = policy and the exact data of the journal; lines that cover each other are moved apart on
    the paper only.
    Raises: SweepError where no point has both metrics.
    """
    lines = series(sweep)
    if not lines:
        raise SweepError(f"{sweep.directory.name}: no finished point has {Y} and {X}, so there is nothing to plot")
    panels = list(dict.fromkeys(line.panel for line in lines))
    labels = list(dict.fromkeys(line.label for line in lines))
    drawn = Figure(figsize=(1.6 + 6.4 * len(panels) + 1.6, 6.4), dpi=150, layout="constrained")
    FigureCanvasAgg(drawn)
    for axes, panel in zip(drawn.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        shown = [line for line in lines if line.panel == panel]
        _scales(axes, shown)
        for line, dodge_points in zip(shown, _dodges(shown), strict=True):
            style = labels.index(line.label)
            if line.is_cloud:
                _draw_cloud(axes, line, style, dodge_points)
            else:
                _draw(axes, line, style, dodge_points)
        axes.set(title=panel, xlabel="LRU entries removed (folios; negative: added)", ylabel="pte updates (ptes)")
        axes.grid(True, which="major", color="0.9", linewidth=0.8)
        axes.set_axisbelow(True)
    are_clouds = any(line.is_cloud for line in lines)
    _frame(drawn, sweep, MARKS if not are_clouds else CLOUDS.format(n=MOST_LINES))
    if are_clouds:
        return drawn
    drawn.draw_without_rendering()  # only now is it known where on the paper a point is
    for axes, panel in zip(drawn.axes, panels, strict=True):
        _label(axes, [line for line in lines if line.panel == panel], labels)
    return drawn


def series(sweep: Sweep) -> list[Series]:
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
    return [Series(label, panel, tuple(found)) for (panel, label), found in grouped.items()]


def _clouds(rows: Sequence[Row]) -> list[Series]:
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        grouped.setdefault((f"workload {row['workload']}", row["policy"]), []).append(row)
    return [Series(label, panel, tuple(found), is_cloud=True) for (panel, label), found in grouped.items()]


def _draw_cloud(axes: Axes, line: Series, style: int, dodge_points: float) -> None:
    axes.plot(
        line.values(X),
        line.values(Y),
        label=line.label,
        transform=_moved(axes, dodge_points),
        linestyle="",
        color=COLOURS[style % len(COLOURS)],
        marker=MARKERS[style % len(MARKERS)],
        markersize=4,
        markerfacecolor="none",
    )
    axes.update_datalim(list(zip(line.values(X), line.values(Y), strict=True)))
    axes.autoscale_view()


def _moved(axes: Axes, dodge_points: float) -> Transform:
    """Put data elsewhere on the paper than where they are."""
    assert axes.figure is not None
    return axes.transData + ScaledTranslation(dodge_points / 72, 0, axes.figure.dpi_scale_trans)


def _draw(axes: Axes, line: Series, style: int, dodge_points: float) -> None:
    x, y = line.values(X), line.values(Y)
    colour = COLOURS[style % len(COLOURS)]
    axes.errorbar(
        x,
        y,
        xerr=_bars(line, X),
        yerr=_bars(line, Y),
        label=line.label,
        transform=_moved(axes, dodge_points),
        color=colour,
        marker=MARKERS[style % len(MARKERS)],
        linestyle=STYLES[style % len(STYLES)],
        markersize=7,
        linewidth=1.2,
        markerfacecolor="white",
        markeredgewidth=1.6,
        elinewidth=1.2,
        capsize=3,
    )
    # A line that is moved on the paper does not count when the axes choose their limits.
    axes.update_datalim(
        [
            corner
            for x_value, y_value, left, right, below, above in zip(x, y, *_bars(line, X), *_bars(line, Y), strict=True)
            for corner in ((x_value - left, y_value - below), (x_value + right, y_value + above))
        ]
    )
    axes.autoscale_view()


def _label(axes: Axes, lines: Sequence[Series], labels: Sequence[str]) -> None:
    """Write the sharing degree beside each point, where it covers no point and no other label if there is such a place.

    Beyond MOST_LABELS points there is none, and looking for it takes minutes.
    Units: typographic points from the figure's corner; a character takes 4.6, a line 8.
    """
    assert axes.figure is not None
    marks = []
    for line, dodge_points in zip(lines, _dodges(lines), strict=True):
        for text, at in _degrees(line):
            x, y = axes.transData.transform(at) * 72 / axes.figure.dpi
            colour = COLOURS[labels.index(line.label) % len(COLOURS)]
            marks.append((x + dodge_points, y, text, at, dodge_points, colour))
    if len(marks) > MOST_LABELS:
        return
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y, *_ in marks]
    for x, y, text, at, dodge_points, colour in marks:
        boxes = []
        for right, up in LABEL_PLACES:
            left = x + right - (4.6 * len(text) if right < 0 else 0)
            boxes.append((left, y + up - 4, left + 4.6 * len(text), y + up + 4))
        covered = [sum(_overlap(box, other) for other in taken) for box in boxes]
        best = covered.index(min(covered))
        taken.append(boxes[best])
        right, up = LABEL_PLACES[best]
        axes.annotate(
            text,
            at,
            xytext=(dodge_points + right, up),
            textcoords="offset points",
            fontsize=7.5,
            color=colour,
            ha="left" if right > 0 else "right",
            va="center",
            path_effects=[withStroke(linewidth=2, foreground="white")],
        )


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)


def _degrees(line: Series) -> list[tuple[str, tuple[float, float]]]:
    """Label each place of a line with the sharing degrees that are there."""
    places: dict[tuple[float, float], list[str]] = {}
    for row in line.rows:
        places.setdefault((row[X], row[Y]), []).append(str(row.get("sharing.degree", row["sharing"])))
    return [(found[0] if len(found) == 1 else f"{found[0]}–{found[-1]}", at) for at, found in places.items()]


def _bars(line: Series, key: str) -> list[list[float]]:
    """Give the interval as distances from the mean, below and above; none where one replicate leaves it unknown."""
    below = [row[key] - row[f"{key}_low"] for row in line.rows]
    above = [row[f"{key}_high"] - row[key] for row in line.rows]
    return [[distance if math.isfinite(distance) else 0.0 for distance in side] for side in (below, above)]


def _scales(axes: Axes, lines: Sequence[Series]) -> None:
    """Make y logarithmic, linear around zero where zeros occur; x too where it spans more than two decades."""
    ys = [value for line in lines for value in line.values(Y)]
    if min(ys) > 0:
        axes.set_yscale("log")
    elif any(ys):
        axes.set_yscale("symlog", linthresh=_threshold(ys))
    xs = [abs(value) for line in lines for value in line.values(X) if value]
    if xs and max(xs) > 100 * min(xs):
        axes.set_xscale("symlog", linthresh=_threshold(xs))
    axes.margins(x=0.09, y=0.06)
    axes.xaxis.set_major_formatter(FuncFormatter(_tick))


def _threshold(values: Sequence[float]) -> float:
    """Give the power of ten at or below the smallest value that is not zero."""
    smallest = min((abs(value) for value in values if value), default=1.0)
    return float(10.0 ** math.floor(math.log10(smallest)))


def _tick(value: float, _: int) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,g}"


def _dodges(lines: Sequence[Series]) -> list[float]:
    """Give each line its distance on paper from where its data are; 0 if it covers no other. Units: points."""
    xs = [value for line in lines for value in line.values(X)]
    near = 0.02 * (max(xs) - min(xs))
    crowds: list[list[Series]] = []
    for line in lines:
        found = next((crowd for crowd in crowds if _covers(crowd[0], line, near)), None)
        if found is None:
            crowds.append([line])
        else:
            found.append(line)
    crowd_of = {id(line): crowd for crowd in crowds for line in crowd}
    return [DODGE_POINTS * (_index(crowd_of[id(line)], line) - (len(crowd_of[id(line)]) - 1) / 2) for line in lines]


def _index(crowd: Sequence[Series], line: Series) -> int:
    return next(index for index, member in enumerate(crowd) if member is line)


def _covers(one: Series, other: Series, near: float) -> bool:
    """Find out whether two lines have nearly the same x at most of the degrees that both have."""
    known, others = ({row.get("sharing.degree"): float(row[X]) for row in line.rows} for line in (one, other))
    apart = [abs(known[degree] - others[degree]) for degree in known if degree in others]
    return sum(distance <= near for distance in apart) > len(apart) // 2


def _frame(drawn: Figure, sweep: Sweep, how: str) -> None:
    """Add title, legend beside the data, and how to read the marks."""
    drawn.suptitle(f"{sweep.header['name']}: pte updates that it takes to shorten the LRU", fontsize=12)
    handles: dict[str, Any] = {}
    for axes in drawn.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            bare = handle.lines[0] if isinstance(handle, ErrorbarContainer) else handle  # without the bars
            handles.setdefault(label, bare)
    drawn.legend(list(handles.values()), list(handles), loc="outside right upper", title="policy", frameon=False)
    drawn.supxlabel(how, fontsize=8, color="0.35")
