"""The picture at the end of a sweep: pte updates against LRU entries removed, one line per policy along the degree."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from matplotlib.transforms import ScaledTranslation, Transform

from thpsweep.answers.picture.lines import MOST_LINES, PictureLine, X, Y, series
from thpsweep.answers.picture.places import dodges, write_degrees
from thpsweep.errors import SweepError
from thpsweep.sweep.records.journal import Sweep

COLOURS = ("#000000", "#D55E00", "#009E73", "#CC79A7", "#0072B2", "#E69F00", "#56B4E9")
"""Okabe and Ito's colours without yellow: told apart by colour-blind readers too, and on white."""

MARKERS = "osD^vPX<>"
STYLES = ("-", "--", "-.", ":")

MARKS = (
    "Mean over replicates with 95 % interval; beside each point its sharing degree.\n"
    "Lines that would cover each other are drawn side by side, a marker's width apart."
)
CLOUDS = (
    "Mean over replicates, a mark a point. There would be more than {n} lines along the sharing degree:\n"
    "what else was varied, and the intervals, are in table.csv. Policies that would cover each other are side by side."
)
"""How to read the marks."""


def plot(sweep: Sweep, path: Path) -> None:
    """Draw `figure` into a PNG file.

    Raises: SweepError where no point has both metrics.
    """
    figure(sweep).savefig(path, format="png")


def figure(sweep: Sweep) -> Figure:
    """Draw the sweep, one panel per workload, without pyplot, so that nothing is left over.

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
        for line, dodge_points in zip(shown, dodges(shown), strict=True):
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
    colours = {name: COLOURS[style % len(COLOURS)] for style, name in enumerate(labels)}
    drawn.draw_without_rendering()  # only now is it known where on the paper a point is
    for axes, panel in zip(drawn.axes, panels, strict=True):
        write_degrees(axes, [line for line in lines if line.panel == panel], colours)
    return drawn


def _draw_cloud(axes: Axes, line: PictureLine, style: int, dodge_points: float) -> None:
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


def _draw(axes: Axes, line: PictureLine, style: int, dodge_points: float) -> None:
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


def _bars(line: PictureLine, key: str) -> list[list[float]]:
    """Give the interval as distances from the mean, below and above; none where one replicate leaves it unknown."""
    below = [row[key] - row[f"{key}_low"] for row in line.rows]
    above = [row[f"{key}_high"] - row[key] for row in line.rows]
    return [[distance if math.isfinite(distance) else 0.0 for distance in side] for side in (below, above)]


def _scales(axes: Axes, lines: Sequence[PictureLine]) -> None:
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
