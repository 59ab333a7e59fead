"""The tables of a report: winners by scene, break-evens, and the journal records that all is from."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from thpsweep.answers.analysis.crossing import crossings
from thpsweep.answers.analysis.paired import estimate
from thpsweep.answers.analysis.published import gains, walks
from thpsweep.answers.analysis.ranking import NOBODY, Verdict
from thpsweep.answers.analysis.study import BREAK_EVEN, NET, Key, Study, is_number, level_name, named, scene_name
from thpsweep.answers.analysis.uncertainty import Odds, Span
from thpsweep.answers.charts.base import PointLink
from thpsweep.answers.charts.choose import directions, lines
from thpsweep.answers.report.figures import chance, percent, with_ends
from thpsweep.answers.terminal.numbers import NO_FIT, significant
from thpsweep.sweep.records import run_record
from thpsweep.sweep.records.journal import Sweep
from thpsweep.units import size


@dataclasses.dataclass(frozen=True)
class ReportTable:
    """Headings and rows."""

    headings: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]


def winners(study: Study, judged: Mapping[Key, Verdict], anyhow: Mapping[Key, Verdict]) -> ReportTable:
    """List the winner of each scene, once among those that keep the sharing and once whatever it costs in memory."""
    rows = []
    for scene, kept in judged.items():
        free = anyhow[scene]
        unfit = ", ".join(entry.contender for entry in study.scenes()[scene] if not entry.fits)
        memory = "" if free.entry is None else size(float(free.entry.values["cost/extra_bytes_peak"].mean()))
        rows.append(
            (
                scene_name(scene),
                kept.best if kept.resolved else f"not resolved: {', '.join([kept.best, *kept.tied])}",
                with_ends(kept.net),
                kept.second or "",
                with_ends(kept.margin) if kept.margin else "",
                free.best if free.resolved else "not resolved",
                with_ends(free.net),
                memory,
                unfit,
                PointLink(kept.entry.id) if kept.entry else "",
            )
        )
    headings = (
        "scene",
        "largest net gain, sharing kept",
        "net gain (ms)",
        "next best",
        "lead over it (ms, paired)",
        "largest, sharing or not",
        "its net gain (ms)",
        "its extra memory",
        NO_FIT,
        "point",
    )
    return ReportTable(headings, rows)


def chances(study: Study, odds: Mapping[Key, Odds]) -> ReportTable:
    """List how often each contender wins a scene, with the interval of its net gain and of its break-even."""
    rows: list[tuple[Any, ...]] = []
    for scene, entries in study.scenes().items():
        known = odds.get(scene)
        for entry in entries:
            if known and entry.contender in known.net:
                net, share = known.net[entry.contender], known.break_even.get(entry.contender)
                simulated = estimate(entry.values[BREAK_EVEN]).mean if BREAK_EVEN in entry.values else math.nan
                ends = "" if share is None else _reach(share)
                said = (chance(known.chances[entry.contender]), net.low, net.median, net.high, percent(simulated), ends)
                rows.append((scene_name(scene), entry.contender, *said, PointLink(entry.id)))
            elif not entry.fits:
                rows.append((scene_name(scene), entry.contender, NO_FIT, *[""] * 5, PointLink(entry.id)))
        if known:
            nobody = next(name for name in known.chances if name in NOBODY)
            rows.append((scene_name(scene), nobody, chance(known.chances[nobody]), *[""] * 5, ""))
    net_ends = ("net gain (ms), 2.5 %", "median", "97.5 %")
    headings = ("scene", "contender", "wins", *net_ends, "break-even, simulated", "break-even, drawn", "point")
    return ReportTable(headings, rows)


def _reach(share: Span) -> str:
    low, high = percent(share.low), percent(share.high)
    return low if low == high else f"{low} to {high}"


def published() -> ReportTable:
    """List what others measured of address translation."""
    kinds = {"share of cycles": walks(), "performance gained": gains()}
    rows = [(kind, percent(one.share), one.what, one.source) for kind, found in kinds.items() for one in found]
    return ReportTable(("kind", "figure", "of what", "source"), rows)


def breaks(study: Study) -> ReportTable:
    """List where each contender's net gain changes its sign along the factor with most levels."""
    along = directions(study)
    if along is None:
        return ReportTable((), [])
    panels = [key for key in study.scene_factors if key != along.x]
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for entry in study.entries:
        if entry.ranked:
            groups.setdefault(tuple(level_name(key, entry.choice(key)) for key in panels), []).append(entry)
    rows = []
    for where, entries in groups.items():
        for name, line in lines(entries, along.x).items():
            line = sorted(line, key=lambda entry: float(entry.choice(along.x)))
            if len(line) > 1 and len({entry.values[NET].size for entry in line}) == 1:
                x = np.array([entry.choice(along.x) for entry in line], np.float64)
                for found in crossings(x, np.array([entry.values[NET] for entry in line])):
                    left = max(at for at, value in enumerate(x) if value <= found.at)
                    ends = f"[{_bound(found.low)}, {_bound(found.high)}]"
                    turn = "gains above" if found.rises else "loses above"
                    between = f"{x[left]:g} and {x[left + 1]:g}"
                    points = PointLink(line[left].id), PointLink(line[left + 1].id)
                    rows.append((*where, name, turn, between, found.at, ends, *points))
    found_at = ("and", f"between {named(along.x)}", "interpolated", "95 %", "point before", "behind")
    return ReportTable((*map(named, panels), "contender", *found_at), rows)


def own(study: Study) -> ReportTable:
    """List the metrics of the user's own, one row per point; nothing where there are none."""
    units = {name: unit for entry in study.entries for name, unit in entry.row["own"].items()}
    rows = [
        (
            scene_name(entry.scene),
            entry.contender,
            *(with_ends(estimate(entry.values[name])) if name in entry.values else "" for name in units),
            PointLink(entry.id),
        )
        for entry in study.entries
    ]
    named_with_units = [f"{name} ({unit})" for name, unit in units.items()]
    return ReportTable(("scene", "contender", *named_with_units, "point"), rows if units else [])


def records(sweep: Sweep) -> ReportTable:
    """List the points that are done, with what was chosen and where they ran; each row leads with the point's id."""
    varied = list(dict.fromkeys(key for point in sweep.points.values() for key in point["params"]))
    rows = []
    for key, point in sweep.points.items():
        if sweep.states.get(key) == "done":
            result = sweep.results[key]
            chosen = [_chosen(point["params"].get(name)) for name in varied]
            rows.append((key, (*chosen, result["host"], result["finished"][:19], round(float(result["wall_s"]), 2))))
    return ReportTable(("point", *varied, "host", "finished (UTC)", "wall s"), rows)


def _chosen(value: Any) -> Any:
    return value if is_number(value) else "" if value is None else run_record.as_text(value)


def _bound(value: float) -> str:
    return "∞" if math.isinf(value) else significant(value)
