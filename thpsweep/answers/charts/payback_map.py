"""Seconds to pay back over two factors of the scene, and where the gain over the run just makes up for the cost."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from thpsweep.answers.analysis.paired import Values, estimate
from thpsweep.answers.analysis.study import DEGREE, NET, PAYBACK, Entry, Study, level_name, named
from thpsweep.answers.charts.base import Chart, PointLink, panels, ticks
from thpsweep.answers.charts.choose import headline_level
from thpsweep.answers.terminal.numbers import duration

MOST_PANELS = 16
SHORTEST_S, LONGEST_S = 1.0, 30 * 86_400.0


def payback_map(study: Study) -> Chart | None:
    """Draw a map a contender (and level of a third factor); nothing where a sweep has not two numeric scene factors."""
    numeric = [key for key in study.numeric() if key in study.scene_factors]
    if len(numeric) < 2 or not any(PAYBACK in entry.values for entry in study.entries):
        return None
    x = DEGREE if DEGREE in numeric else numeric[0]
    y = next((key for key in numeric if "writes" in key and key != x), None) or next(key for key in numeric if key != x)
    rest = [key for key in study.scene_factors if key not in (x, y)]
    third = next((key for key in numeric if key in rest), rest[0] if rest else None)
    held = {key: headline_level(study, key) for key in rest if key != third}
    kept = [entry for entry in study.entries if all(entry.choice(key) == level for key, level in held.items())]
    maps = _maps(study, kept, third)[:MOST_PANELS]
    many = len(study.factors[x]) > 8
    figure, axes = panels(len(maps), height_inches=2.6, beside=2 if many else 4, alike=True)
    for one, (title, entries) in zip(axes, maps, strict=True):
        _draw(one, study, entries, (x, y))
        one.set_title(title, fontsize=8)
        ticks(one, study, x)
        ticks(one, study, y, vertical=True)
        one.tick_params(length=0)
    _bar(figure, axes)
    rows = tuple(_row(entry, (x, y), third) for _, entries in maps for entry in entries)
    caption = (
        "Mean seconds until the gain has made up for the cost, and stays ahead of it; darker is sooner. Hatched: not "
        "within the run; a dash: nothing was collapsed, or not run. The line is break-even over the simulated time: "
        "inside it the run as a whole gains. "
        f"{_held(held)}"
    )
    soon = sum(math.isfinite(row[-4]) for row in rows)
    alt = f"{len(maps)} maps of payback over {named(x)} and {named(y)}: {soon} of {len(rows)} cells pay back at all."
    titles = (named(x), named(y), *((named(third),) if third else ()))
    headings = (*titles, "contender", "payback (s)", "low", "high", "point")
    return Chart("payback-map", f"Payback over {named(x)} and {named(y)}", caption, alt, figure, headings, rows)


def _maps(study: Study, entries: list[Entry], third: str | None) -> list[tuple[str, list[Entry]]]:
    found: dict[tuple[int, int], tuple[str, list[Entry]]] = {}
    for entry in entries:
        if entry.ranked:
            level = study.factors[third].index(entry.choice(third)) if third else 0
            title = entry.contender + (f", {named(third)} {level_name(third, entry.choice(third))}" if third else "")
            found.setdefault((level, study.contenders.index(entry.contender)), (title, []))[1].append(entry)
    return [found[key] for key in sorted(found)]


def _draw(axes: Axes, study: Study, entries: list[Entry], keys: tuple[str, str]) -> None:
    xs, ys = (study.factors[key] for key in keys)
    seconds, net = np.full((len(ys), len(xs)), np.nan), np.full((len(ys), len(xs)), np.nan)
    for entry in entries:
        at = ys.index(entry.choice(keys[1])), xs.index(entry.choice(keys[0]))
        seconds[at], net[at] = _payback_s(entry).mean(), entry.values[NET].mean()
    norm = LogNorm(SHORTEST_S, LONGEST_S)
    shown = np.ma.masked_invalid(
        np.clip(seconds, SHORTEST_S, LONGEST_S, where=np.isfinite(seconds), out=seconds.copy())
    )
    axes.pcolormesh(np.arange(len(xs) + 1) - 0.5, np.arange(len(ys) + 1) - 0.5, shown, cmap="cividis", norm=norm)
    for (row, column), value in np.ndenumerate(seconds):
        if np.isinf(value):
            look: dict[str, Any] = {"hatch": "////", "facecolor": "white", "edgecolor": "0.6", "linewidth": 0}
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **look))
        dark = np.isfinite(value) and norm(np.clip(value, SHORTEST_S, LONGEST_S)) < 0.55
        options: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 5.5}
        axes.text(column, row, _short(value), color="white" if dark else "black", **options)
    known = np.isfinite(net)
    if min(net.shape) > 1 and (net[known] > 0).any() and (net[known] < 0).any():
        size = np.median(np.abs(net[known & (net != 0)]))
        axes.contour(np.ma.masked_invalid(np.arcsinh(net / size)), levels=[0.0], colors="#D55E00", linewidths=2)


def _bar(figure: Figure, axes: Sequence[Axes]) -> None:
    """Explain the colours once for all panels."""
    mappable = ScalarMappable(LogNorm(SHORTEST_S, LONGEST_S), "cividis")
    named = {1.0: "1 s", 60.0: "1 min", 3600.0: "1 h", 86_400.0: "1 d", LONGEST_S: "30 d"}
    bar = figure.colorbar(mappable, ax=list(axes), location="right", shrink=0.8, aspect=40)
    bar.set_ticks(list(named), labels=list(named.values()), fontsize=7)
    bar.minorticks_off()
    bar.set_label("seconds to pay back", fontsize=8)


def _payback_s(entry: Entry) -> Values:
    """Give what is within the run, inf for what is not. Shapes: -> (n_replicates,)."""
    values = entry.values[PAYBACK]
    return np.where(values > float(entry.point["run"]["duration_s"]), np.inf, values)


def _short(value: float) -> str:
    if not math.isfinite(value):
        return "–" if math.isnan(value) else ""
    number, unit = duration(value).split(" ")
    rounded = float(f"{float(number.replace(',', '')):.2g}")
    return f"{rounded:g}{unit}"


def _row(entry: Entry, keys: tuple[str, str], third: str | None) -> tuple[Any, ...]:
    found = estimate(_payback_s(entry))
    where = [level_name(key, entry.choice(key)) for key in (*keys, *((third,) if third else ()))]
    return (*where, entry.contender, found.mean, found.low, found.high, PointLink(entry.id))


def _held(held: dict[str, Any]) -> str:
    levels = ", ".join(f"{named(key)} = {level_name(key, level)}" for key, level in held.items())
    return f"Held at {levels}." if levels else ""
