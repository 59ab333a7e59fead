"""Bars: which parameters matter, and what each price decides."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from thpsweep.answers.analysis.sensitivity import Sensitivity
from thpsweep.answers.analysis.sobol import Index
from thpsweep.answers.analysis.study import named
from thpsweep.answers.charts.base import Chart, panels

FIRST, TOTAL = "#0072B2", "#E69F00"
MOST_BARS = 14


def matters(found: Mapping[str, Sequence[Index]], caption: str) -> Chart:
    """Draw first and total order of each parameter, a panel a quantity."""
    shown = {metric: indices for metric, indices in found.items() if indices}
    figure, axes = panels(len(shown), beside=3)
    for one, (metric, indices) in zip(axes, shown.items(), strict=True):
        at = np.arange(len(indices))[::-1]
        for shift, colour, hatch, label in (
            (0.2, FIRST, "", "alone"),
            (-0.2, TOTAL, "///", "with all it takes part in"),
        ):
            ends = [index.first if shift > 0 else index.total for index in indices]
            means = [end.mean for end in ends]
            errors = [[max(0.0, end.mean - end.low) for end in ends], [max(0.0, end.high - end.mean) for end in ends]]
            options: dict[str, Any] = {
                "height": 0.36,
                "color": colour,
                "hatch": hatch,
                "edgecolor": "white",
                "label": label,
            }
            one.barh(at + shift, means, xerr=np.nan_to_num(errors), capsize=2, **options)
        one.set_yticks(at, [named(index.name) for index in indices], fontsize=8)
        one.set_xlim(0, 1.05)
        one.tick_params(labelsize=7)
        one.set_title(metric, fontsize=9)
        one.grid(True, axis="x", color="0.9")
        one.set_axisbelow(True)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    rows = tuple(
        (
            metric,
            named(one.name),
            one.first.mean,
            one.first.low,
            one.first.high,
            one.total.mean,
            one.total.low,
            one.total.high,
        )
        for metric, indices in shown.items()
        for one in indices
    )
    most = {metric: max(indices, key=lambda index: index.total.mean) for metric, indices in shown.items()}
    alt = "Bars of Sobol' indices. Most of the variance, in total: " + "; ".join(
        f"{metric}, {named(index.name)} ({index.total.mean:.2f})" for metric, index in most.items()
    )
    headings = ("quantity", "parameter", "first order", "low", "high", "total order", "low", "high")
    return Chart("parameters", "Which parameters matter", caption, alt + ".", figure, headings, rows)


def decides(found: Sequence[Sensitivity], where: str, best: str) -> Chart:
    """Draw what each key, alone, makes of the winner's lead in one scene over its range; the table has every key."""
    widest = sorted(found, key=lambda one: -abs(one.lead_ms[1] - one.lead_ms[0]))[:MOST_BARS]
    figure, (axes,) = panels(1, height_inches=0.8 + 0.26 * len(widest))
    at = np.arange(len(widest))[::-1]
    axes.plot([one.lead_ms[0] for one in widest], at, "v", color=FIRST, label="lowest", markersize=7)
    axes.plot([one.lead_ms[1] for one in widest], at, "^", color=TOTAL, label="highest", markersize=7)
    axes.hlines(at, [min(one.lead_ms) for one in widest], [max(one.lead_ms) for one in widest], color="0.5")
    axes.axvline(0, color="black", linewidth=0.9)
    axes.set_yticks(at, [f"{one.key.split('.')[-1]} ({one.range.kind})" for one in widest], fontsize=8)
    axes.set_xlabel(f"lead of {best} over the next best (ms of CPU); left of the line it has lost it", fontsize=8)
    axes.grid(True, axis="x", color="0.9")
    axes.tick_params(labelsize=7)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    lost = ", ".join(one.key.split(".")[-1] for one in widest if min(one.lead_ms) < 0)
    alt = f"Lead of {best} at {where} with each key at both ends of its range; lost with: {lost or 'none of them'}."
    caption = (
        f"The same counts at other prices, one key at a time over its range. The picture is of one scene, {where}; the "
        "table counts all scenes in which another contender wins, and is resolved against the winner, at either end, and "
        "says from which value on the picture's scene has another winner. The rank correlation is of a key with the "
        "picture's lead when all keys are drawn at once; decisive: scenes where no other key's is stronger. Stalls and "
        "lock holds are not priced anew."
    )
    rows = tuple(map(_decided, found))
    return Chart("assumptions", "Which assumption would overturn the answer", caption, alt, figure, DECIDES, rows)


DECIDES = (
    "key",
    "known how",
    "value",
    "lowest",
    "highest",
    "scenes lost at the lowest",
    "at the highest",
    "lead at the lowest (ms)",
    "at the highest (ms)",
    "overturned",
    "rank correlation",
    "decisive",
)


def _decided(one: Sensitivity) -> tuple[Any, ...]:
    known = (one.range.kind, one.range.value, one.range.low, one.range.high)
    turns = "; ".join(f"{name} from {value:.3g}" for value, name in one.turns) or "nowhere in its range"
    return one.key, *known, one.at_low, one.at_high, *one.lead_ms, turns, round(one.correlation, 2), one.decisive
