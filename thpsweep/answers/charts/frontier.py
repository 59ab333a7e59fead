"""Cost against benefit in each scene, and which policies nothing beats in both."""

from typing import Any

from matplotlib.axes import Axes

from thpsweep.answers.analysis.paired import estimate
from thpsweep.answers.analysis.pareto import front
from thpsweep.answers.analysis.study import COST, DEGREE, GAIN, Entry, Key, Study, scene_name
from thpsweep.answers.charts.base import Chart, PointLink, finish, panels, scale, style
from thpsweep.answers.terminal.numbers import NO_FIT

MOST_PANELS = 12
EACH_FACTOR = 4
"""Levels of a factor that get panels: the lowest, the highest and some between."""


def frontier(study: Study) -> Chart:
    """Draw CPU time of collapsing against CPU time gained; the table has every scene, the picture a choice of them."""
    scenes = study.scenes()
    shown = _shown(study)
    figure, axes = panels(len(shown))
    names = study.contenders
    fronts = {scene: _front(entries) for scene, entries in scenes.items()}
    for one, scene in zip(axes, shown, strict=True):
        _draw(one, scenes[scene], fronts[scene], names)
        one.set_title(scene_name(scene).replace(", ", "\n"), fontsize=7)
    for one in axes[-4:]:
        one.set_xlabel("CPU of collapsing (ms)", fontsize=8)
    axes[0].set_ylabel("CPU gained (ms)", fontsize=8)
    finish(figure, axes)
    rows = [row for scene, entries in scenes.items() for row in _rows(scene, entries, fronts[scene])]
    caption = (
        "Up is better, left is cheaper; nothing at all is the cross at zero. The line joins those that nothing beats in "
        "both; a filled mark leaves no memory double at the end. Bars are 95 % intervals."
    )
    often = _often(fronts)
    alt = f"Scatter of cost and gain in {len(shown)} of {len(scenes)} scenes. On the frontier most often: {often}."
    headings = (
        "scene",
        "contender",
        "CPU of collapsing (ms)",
        "CPU gained (ms)",
        "on the frontier",
        "sharing kept",
        "point",
    )
    return Chart("frontier", "Cost against benefit", caption, alt, figure, headings, tuple(rows))


def _front(entries: list[Entry]) -> list[Entry]:
    """Find who is on the frontier of those that compete, doing nothing at (0, 0) among them."""
    ranked = [entry for entry in entries if entry.ranked and entry.fits]
    means = [(float(entry.values[COST].mean()), float(entry.values[GAIN].mean())) for entry in ranked]
    kept = front([*means, (0.0, 0.0)])
    return [ranked[at] for at in kept if at < len(ranked)]


def _draw(axes: Axes, entries: list[Entry], best: list[Entry], names: list[str]) -> None:
    for entry in entries:
        cost, gain = (estimate(entry.values[key]) for key in (COST, GAIN))
        look = style(names.index(entry.contender)) | {"linestyle": "none", "label": entry.contender}
        look["markerfacecolor"] = look["color"] if entry.keeps_sharing else "white"
        spread: dict[str, Any] = {
            "xerr": [[cost.mean - cost.low], [cost.high - cost.mean]],
            "yerr": [[gain.mean - gain.low], [gain.high - gain.mean]],
        }
        axes.errorbar([cost.mean], [gain.mean], elinewidth=1, **spread, **look)
    axes.plot([0], [0], "x", color="0.3", markersize=6)
    path = [(0.0, 0.0), *((float(entry.values[COST].mean()), float(entry.values[GAIN].mean())) for entry in best)]
    axes.plot(*zip(*path, strict=True), color="0.5", linewidth=0.9, zorder=0)
    scale(axes, [0.0, *(float(entry.values[COST].mean()) for entry in entries)], vertical=False)
    scale(axes, [0.0, *(float(entry.values[GAIN].mean()) for entry in entries)])


def _rows(scene: Key, entries: list[Entry], best: list[Entry]) -> list[tuple[Any, ...]]:
    kept = {entry.id for entry in best}
    return [
        (
            scene_name(scene),
            entry.contender,
            float(entry.values[COST].mean()),
            float(entry.values[GAIN].mean()),
            "yes" if entry.id in kept else _why_not(entry),
            "yes" if entry.keeps_sharing else "no",
            PointLink(entry.id),
        )
        for entry in entries
    ]


def _why_not(entry: Entry) -> str:
    if not entry.ranked:
        return "does not compete"
    return "no" if entry.fits else NO_FIT


def _shown(study: Study) -> list[Key]:
    """Choose scenes at a few levels of each factor, spread evenly, at most MOST_PANELS."""
    keys = study.scene_factors
    few = {key: _spread(list(study.factors[key]), 3 if key == DEGREE else EACH_FACTOR) for key in keys}
    found = [scene for scene in study.scenes() if all(value in few[key] for key, value in scene)]
    return _spread(found or list(study.scenes()), MOST_PANELS)


def _spread(values: list[Any], most: int) -> list[Any]:
    if len(values) <= most:
        return values
    return [values[round(at * (len(values) - 1) / (most - 1))] for at in range(most)]


def _often(fronts: dict[Key, list[Entry]]) -> str:
    counted: dict[str, int] = {}
    for best in fronts.values():
        for entry in best:
            counted[entry.contender] = counted.get(entry.contender, 0) + 1
    order = sorted(counted.items(), key=lambda item: -item[1])[:3]
    return ", ".join(f"{name} ({count} scenes)" for name, count in order) or "none"
