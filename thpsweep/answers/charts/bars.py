"""Bars: which parameters matter, and what each price decides."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from thpsweep.answers.analysis.assumptions import Sensitivity
from thpsweep.answers.analysis.prices import Price
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


def decides(found: Sequence[Sensitivity], prices: Mapping[str, Price], where: str, best: str) -> Chart:
    """Draw what half and double each price make of the winner's lead in one scene; the table has every price."""
    widest = sorted(found, key=lambda one: -abs(one.swing_ms[1] - one.swing_ms[0]))[:MOST_BARS]
    figure, (axes,) = panels(1, height_inches=0.8 + 0.26 * len(widest))
    at = np.arange(len(widest))[::-1]
    axes.plot([one.swing_ms[0] for one in widest], at, "v", color=FIRST, label="halved", markersize=7)
    axes.plot([one.swing_ms[1] for one in widest], at, "^", color=TOTAL, label="doubled", markersize=7)
    axes.hlines(at, [min(one.swing_ms) for one in widest], [max(one.swing_ms) for one in widest], color="0.5")
    axes.axvline(0, color="black", linewidth=0.9)
    kinds = [prices[one.key].kind if one.key in prices else "assumed" for one in widest]
    axes.set_yticks(
        at, [f"{one.key.split('.')[-1]} ({kind})" for one, kind in zip(widest, kinds, strict=True)], fontsize=8
    )
    axes.set_xlabel(f"lead of {best} over the next best (ms of CPU); left of the line it has lost it", fontsize=8)
    axes.grid(True, axis="x", color="0.9")
    axes.tick_params(labelsize=7)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    rows = tuple(
        (
            one.key,
            prices[one.key].kind if one.key in prices else "assumed",
            one.value,
            one.halved,
            one.doubled,
            *one.swing_ms,
            "; ".join(f"{name} from x {factor:.3g}" for factor, name in one.flips) or "no factor does",
        )
        for one in found
    )
    lost = [one.key.split(".")[-1] for one in widest if min(one.swing_ms) < 0]
    alt = (
        f"Lead of {best} at {where} with each price halved and doubled; lost with: {', '.join(lost) or 'none of them'}."
    )
    caption = (
        f"The same counts at other prices. The picture is of one scene, {where}; the table counts all scenes in which "
        "another contender wins, and is resolved, at half or double the price, and says from which factor on the picture's "
        "scene has another winner. Stalls and lock holds are not priced anew."
    )
    headings = (
        "assumption",
        "known how",
        "value",
        "scenes lost halved",
        "scenes lost doubled",
        "lead halved (ms)",
        "lead doubled (ms)",
        "overturned",
    )
    return Chart("assumptions", "Which assumption would overturn the answer", caption, alt, figure, headings, rows)
