"""What every chart of a report has: a picture, the same in words, and the numbers with the points that they are from."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from thpsweep.answers.analysis.study import Study, level_name, named
from thpsweep.answers.picture.plot import COLOURS, MARKERS, STYLES

DPI = 120
WIDTH_INCHES = 10.5
BESIDE = 4
MOST_TICKS = 7
"""Panels beside each other."""


@dataclasses.dataclass(frozen=True)
class PointLink:
    """A cell of a table that leads to the journal record of a point."""

    id: str


@dataclasses.dataclass(frozen=True)
class Chart:
    """A picture with its title, caption and alternative text, and the table behind it."""

    name: str
    title: str
    caption: str
    alt: str
    figure: Figure
    headings: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


def panels(
    n: int, height_inches: float = 3.2, beside: int = BESIDE, *, alike: bool = False
) -> tuple[Figure, list[Axes]]:
    """Make a figure of n panels without pyplot, so that nothing is left over; alike ones have their axes in common."""
    columns = min(n, beside)
    lines = math.ceil(n / columns)
    width = WIDTH_INCHES if columns > 1 else 0.75 * WIDTH_INCHES
    figure = Figure(figsize=(width, height_inches * lines + 0.6), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(lines, columns, squeeze=False, sharex=alike, sharey=alike).flat)
    for unused in axes[n:]:
        unused.set_axis_off()
    return figure, axes[:n]


def style(number: int) -> dict[str, Any]:
    """Tell lines apart by colour, marker and dashes: any of the three is enough."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[number % len(MARKERS)],
        "linestyle": STYLES[(number // len(COLOURS) + number) % len(STYLES)],
        "markersize": 5,
        "linewidth": 1.4,
        "markerfacecolor": "white",
        "markeredgewidth": 1.3,
    }


def ticks(axes: Axes, study: Study, key: str, *, vertical: bool = False) -> None:
    """Put the levels of a factor at equal distances, as they were swept."""
    levels = study.factors[key]
    at, names = range(len(levels)), [level_name(key, level) for level in levels]
    if vertical:
        axes.set_yticks(at, names, fontsize=7)
        axes.set_ylabel(named(key), fontsize=8)
        axes.label_outer()
    else:
        axes.set_xticks(at, names, fontsize=7, rotation=45 if len(levels) > 6 else 0)
        axes.set_xlabel(named(key), fontsize=8)


def scale(axes: Axes, values: Sequence[float], *, vertical: bool = True) -> None:
    """Make an axis logarithmic where values span more than two decades; linear around zero where signs differ."""
    finite = [abs(value) for value in values if math.isfinite(value) and value]
    if not finite or max(finite) <= 100 * min(finite):
        return
    only_positive = all(value > 0 for value in values if math.isfinite(value))
    threshold = 10.0 ** math.floor(math.log10(max(min(finite), max(finite) * 1e-6)))
    options: dict[str, Any] = {} if only_positive else {"linthresh": threshold}
    (axes.set_yscale if vertical else axes.set_xscale)("log" if only_positive else "symlog", **options)
    axis = axes.yaxis if vertical else axes.xaxis
    axis.get_major_locator().set_params(numticks=MOST_TICKS)  # type: ignore[call-arg]
    axes.minorticks_off()


def finish(figure: Figure, axes: Sequence[Axes]) -> None:
    """Add grid and one legend below everything."""
    found: dict[str, Any] = {}
    for one in axes:
        one.grid(True, color="0.9", linewidth=0.7)
        one.set_axisbelow(True)
        one.tick_params(labelsize=7)
        for handle, label in zip(*one.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        columns = min(len(found), 5)
        figure.legend(
            found.values(), found.keys(), loc="outside lower center", ncols=columns, fontsize=8, frameon=False
        )
