"""A metric along the factor with most levels, one line per contender, with 95 % bands."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from thpsweep.answers.analysis.paired import estimate
from thpsweep.answers.analysis.study import NET, WORST_HOLD, Entry, Study, level_name, named
from thpsweep.answers.charts.base import Chart, PointLink, finish, panels, scale, style, ticks
from thpsweep.answers.charts.choose import Directions, lines


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric worth a chart: what it is called, and what to know about it."""

    key: str
    title: str
    about: str


METRICS = (
    Metric(NET, "Net gain", "CPU time gained over the whole run less that of collapsing, against the baseline"),
    Metric(
        "cost/pte_updates_worst_region", "Pte updates of the largest collapse", "the debate's hundred thousand ptes"
    ),
    Metric("benefit/lru_reduction", "LRU reduction", "share of the family's LRU entries that are gone at the end"),
    Metric(WORST_HOLD, "Worst lock hold", "the longest time that any lock, or a migration entry, was held"),
    Metric("cost/stall_max_ms", "Worst stall", "the longest that a process may have waited for the collapse"),
    Metric("cost/direct_compaction_stall_ms", "Direct compaction", "time that allocating tasks compacted in all"),
    Metric("cost/extra_bytes_peak", "Extra memory at the peak", "more than the baseline's peak; private copies stay"),
    Metric("cost/extra_byte_seconds", "Double memory over time", "integral of what is held more than by the baseline"),
    Metric("benefit/fork_ms_saved", "Fork time saved", "against the baseline, over the whole run"),
    Metric("benefit/exit_ms_saved", "Exit time saved", "against the baseline, over the whole run"),
)


def curves(study: Study, chosen: Directions) -> Iterator[Chart]:
    """Draw each metric that is not zero everywhere."""
    for metric in METRICS:
        shown = [entry for entry in study.entries if metric.key in entry.values and np.any(entry.values[metric.key])]
        if shown:
            yield _chart(study, chosen, metric)


def _chart(study: Study, chosen: Directions, metric: Metric) -> Chart:
    levels, unit = chosen.panels(study), study.units.get(metric.key, "")
    figure, axes = panels(len(levels), alike=True)
    drawn = [entry for entry in study.entries if any(chosen.shows(entry, level) for level in levels)]
    names = list(lines(drawn, chosen.x))
    everything = [float(entry.values[metric.key].mean()) for entry in drawn]
    rows: list[tuple[Any, ...]] = []
    for one, level in zip(axes, levels, strict=True):
        shown = [entry for entry in drawn if chosen.shows(entry, level)]
        for name, line in lines(shown, chosen.x).items():
            rows += _draw(one, study, chosen, metric, name, line, style(names.index(name)))
        if unit != "share":
            scale(one, everything)
        ticks(one, study, chosen.x)
        one.set_title(chosen.title(level), fontsize=9)
        if min(everything) < 0:
            one.axhline(0, color="0.4", linewidth=0.8)
    axes[0].set_ylabel(f"{metric.title} ({unit})", fontsize=8)
    finish(figure, axes)
    along = named(chosen.x)
    caption = f"{metric.about}. Bands are 95 % intervals of the mean over replicates.{chosen.held_at}"
    alt = f"Lines of {metric.title.lower()} in {unit} along {along}, one each for {', '.join(names)}. " + _extremes(
        rows
    )
    panel = (named(chosen.panel),) if chosen.panel else ()
    headings = (along, *panel, "contender", f"mean ({unit})", "low", "high", "point")
    name = "curve-" + metric.key.replace("/", "-").replace("_", "-")
    return Chart(
        name, f"{metric.title} along {along}", caption[0].upper() + caption[1:], alt, figure, headings, tuple(rows)
    )


def _draw(
    axes: Any, study: Study, chosen: Directions, metric: Metric, name: str, line: list[Entry], look: dict[str, Any]
) -> list[tuple[Any, ...]]:
    levels = study.factors[chosen.x]
    line = sorted(line, key=lambda entry: levels.index(entry.choice(chosen.x)))
    at = [levels.index(entry.choice(chosen.x)) for entry in line]
    found = [estimate(entry.values[metric.key]) for entry in line]
    axes.plot(at, [one.mean for one in found], label=name, **look)
    axes.fill_between(at, [one.low for one in found], [one.high for one in found], color=look["color"], alpha=0.15)
    panel = [(level_name(chosen.panel, entry.choice(chosen.panel)),) if chosen.panel else () for entry in line]
    return [
        (level_name(chosen.x, entry.choice(chosen.x)), *where, name, one.mean, one.low, one.high, PointLink(entry.id))
        for entry, one, where in zip(line, found, panel, strict=True)
    ]


def _extremes(rows: list[tuple[Any, ...]]) -> str:
    """Say in words where the largest and the smallest means are."""
    finite = [row for row in rows if np.isfinite(row[-4])]
    if not finite:
        return "No finite value."
    ends = (max(finite, key=lambda row: row[-4]), min(finite, key=lambda row: row[-4]))
    where = [f"{row[-5]} at {' and '.join(map(str, row[:-5]))}, {row[-4]:.4g}" for row in ends]
    return f"Largest: {where[0]}; smallest: {where[1]}."
