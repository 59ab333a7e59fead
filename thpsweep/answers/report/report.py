"""One file that answers the question of a sweep: sentences, charts, and the way back to each journal record."""

import base64
import dataclasses
import io
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from thpsweep.answers.analysis import frame
from thpsweep.answers.analysis.prices import KINDS, Price, prices
from thpsweep.answers.analysis.question import question_of
from thpsweep.answers.analysis.ranges import Range
from thpsweep.answers.analysis.ranking import Verdict, contestants, verdicts
from thpsweep.answers.analysis.sensitivity import Sensitivity
from thpsweep.answers.analysis.sobol import Index, indices
from thpsweep.answers.analysis.study import COST, NET, UNRANKED, Entry, Key, Study, scene_name, study
from thpsweep.answers.charts.bars import decides, matters
from thpsweep.answers.charts.base import Chart, PointLink
from thpsweep.answers.charts.choose import directions
from thpsweep.answers.charts.curves import curves
from thpsweep.answers.charts.frontier import frontier
from thpsweep.answers.charts.payback_map import payback_map
from thpsweep.answers.report import sentences
from thpsweep.answers.report.evidence import Evidence, evidence
from thpsweep.answers.report.figures import EXACT_SAID, numbers
from thpsweep.answers.report.headline import headlines
from thpsweep.answers.report.tables import breaks, chances, own, published, records, winners
from thpsweep.answers.terminal.footnotes import footnotes
from thpsweep.answers.terminal.numbers import significant
from thpsweep.errors import SweepError
from thpsweep.model import registry
from thpsweep.shipped import option_file
from thpsweep.sweep.records import environment
from thpsweep.sweep.records.journal import Sweep

HTML = "report.html"
QUANTITIES = {NET: "net gain", COST: "CPU of collapsing", "cost/stall_max_ms": "worst stall"}
"""Quantities whose variance over the sweep is explained by its parameters."""


@dataclasses.dataclass(frozen=True)
class Report:
    """All that a report says, before it is written."""

    question: str
    answers: tuple[str, ...]
    evidence: Evidence
    anyhow: Mapping[Key, Verdict]
    charts: tuple[Chart, ...]
    missing: tuple[tuple[str, str], ...]
    prices: tuple[Price, ...]

    @property
    def study(self) -> Study:
        """All finished points."""
        return self.evidence.study


def write_report(sweep: Sweep, machine: Path | None = None) -> Path:
    """Write report.html and a PNG for each chart into the sweep's directory; give the former.

    Raises: SweepError where no point is done; ThpsweepError where `machine` is no profile.
    """
    found = report(sweep, machine)
    pictures = {chart.name: png(chart) for chart in found.charts}
    for name, picture in pictures.items():
        (sweep.directory / f"report-{name}.png").write_bytes(picture)
    path = sweep.directory / HTML
    path.write_text(html(found, sweep, pictures), encoding="utf-8")
    return path


def report(sweep: Sweep, machine: Path | None = None) -> Report:
    """Work out what a report says."""
    known = study(sweep)
    if not known.entries:
        raise SweepError(f"{sweep.directory}: no point is done, so there is nothing to report")
    profile = known.entries[0].point["machine"]
    found = evidence(known, lambda name: machine or option_file("machine", name))
    explained = tuple(prices(profile, machine or option_file("machine", str(profile.get("name", "")))))
    charts, missing = _charts(known, found.varied, found.judged[found.chosen])
    answers = (*headlines(found), sentences.winners(known, found.judged), sentences.hundred_thousand(known))
    return Report(
        question_of(sweep.directory),
        tuple(filter(None, answers)),
        found,
        verdicts(known, sharing_kept=False),
        tuple(charts),
        tuple(missing),
        explained,
    )


def _charts(
    known: Study, prices: list[Sensitivity] | str, chosen: Verdict
) -> tuple[list[Chart], list[tuple[str, str]]]:
    """Draw what the sweep allows, and say why the rest is not there."""
    charts, missing = [frontier(known)], []
    payback, chosen_axes = payback_map(known), directions(known)
    if payback:
        charts.append(payback)
    else:
        missing.append(("Payback map", "The sweep has not two numeric factors of the scene to draw a map over."))
    charts += list(curves(known, chosen_axes)) if chosen_axes else []
    shares, caption = parameters(known)
    if any(shares.values()):
        charts.append(matters(shares, caption))
    else:
        missing.append(("Which parameters matter", caption))
    if isinstance(prices, str):
        missing.append(("Which assumption would overturn the answer", f"Prices could not be varied: {prices}."))
    elif prices:
        charts.append(decides(prices, scene_name(chosen.scene), chosen.best))
    return charts, missing


def parameters(known: Study) -> tuple[dict[str, list[Index]], str]:
    """Explain each of QUANTITIES by the swept parameters, and say how; no index where the sweep is no full grid."""
    competing = _always_sharing(known)
    found: dict[str, list[Index]] = {}
    for metric, name in QUANTITIES.items():
        laid = known.grid(metric, competing) if competing and metric in competing[0].values else None
        if laid:
            found[name] = indices(*laid)
    if not any(found.values()):
        return {}, "Sobol' indices are computed from full grids; here some combinations are missing, or nothing varies."
    who = ", ".join(dict.fromkeys(entry.contender for entry in competing))
    return found, (
        "Sobol' indices over the swept values, each value counting alike, by the exact decomposition of the grid: no "
        "surrogate is fitted. Intervals are the jackknife's over replicates. They are of the swept values alone, others "
        f"would give other shares, and of these contenders: {who}."
    )


def _always_sharing(known: Study) -> list[Entry]:
    """Choose the contenders that leave no memory double in any scene; all that compete where there is none."""
    competing = contestants(known.entries, sharing_kept=False)
    losing = {entry.contender for entry in competing if not entry.keeps_sharing}
    return [entry for entry in competing if entry.contender not in losing] or competing


def png(chart: Chart) -> bytes:
    """Draw a chart."""
    out = io.BytesIO()
    engine = chart.figure.get_layout_engine()
    if engine is not None:  # laid out once here, savefig() would draw everything twice
        engine.execute(chart.figure)
        chart.figure.set_layout_engine("none")
    chart.figure.savefig(out, format="png", metadata={"Description": chart.alt, "Title": chart.title})
    return out.getvalue()


def html(found: Report, sweep: Sweep, pictures: Mapping[str, bytes]) -> str:
    """Lay a report out as a page that needs nothing else."""
    rows = frame.rows(sweep)
    kinds = {kind: sum(price.kind == kind for price in found.prices) for kind in KINDS}
    counted = ", ".join(f"{n} {kind}" for kind, n in kinds.items() if n)
    machine = found.study.entries[0].point["machine"].get("name", "")
    return _template().render(
        name=sweep.header["name"],
        question=found.question,
        sentences=found.answers,
        about=_about(found.study),
        winners=winners(found.study, found.evidence.judged, found.anyhow),
        winners_said=_winners_said(found),
        chances=chances(found.study, found.evidence.odds),
        chances_said=_chances_said(found),
        published=published(),
        breaks=breaks(found.study),
        breaks_said=BREAKS_SAID,
        own=own(found.study),
        charts=[_embedded(chart, pictures[chart.name]) for chart in found.charts],
        missing=found.missing,
        sources=_sources(found),
        sources_said=f"Prices of machine profile {machine}: {counted}.",
        notes=footnotes(rows, wide=True),
        commands=commands(sweep),
        environment=_environment(sweep),
        records=records(sweep),
    )


BREAKS_SAID = (
    "Net gain over the simulated time changes its sign between these swept values; where exactly is interpolated, which the "
    "interval does not cover. It is from each replicate's own crossing, or, where not all have one, reaches to the next "
    "values at which the sign is resolved."
)


def commands(sweep: Sweep) -> str:
    """Give the commands that make the sweep and its report again; of a plugin's file, the name alone is on record."""
    names = sorted({name for record in sweep.points.values() for name in _added(record["point"])})
    files = [f"--plugin={name}.py" for name in names]
    run = shlex.join(["thpsweep", "sweep", *files, *sweep.header["overrides"]])
    return f"{run}\n{shlex.join(['thpsweep', 'report', *files, f'sweeps/{sweep.directory.name}'])}"


def _added(spec: Any) -> Iterator[str]:
    """Name the options of a user's own in a point, at any depth."""
    values = spec.values() if isinstance(spec, dict) else spec if isinstance(spec, list) else ()
    for value in values:
        yield from _added(value)
    if isinstance(spec, dict) and registry.PLUGIN in spec:
        yield spec[registry.KIND]


def _about(known: Study) -> str:
    replicates = sorted({entry.values[NET].size for entry in known.entries})
    n = " or ".join(map(str, replicates))
    open_ = known.n_points - len(known.entries)
    failed = f"; {open_} of {known.n_points} points have no result and are left out" if open_ else ""
    return (
        f"{len(known.entries)} points, {n} replicates each{failed}. All contenders of a scene meet the same events, and "
        "differences are taken replicate by replicate; brackets hold 95 % intervals (Student's) of the events. "
        f"{EXACT_SAID} A winner is named only where its paired difference to every other contender is resolved."
    )


def _winners_said(found: Report) -> str:
    shown = {entry.row["mechanism"] for entry in found.study.entries} & UNRANKED.keys()
    left_out = "".join(f" {UNRANKED[name]}." for name in UNRANKED if name in shown)
    return f"Net CPU time over the run; not collapsing gains zero.{left_out and ' Not ranked:'}{left_out}"


def _chances_said(found: Report) -> str:
    """Say what was drawn, and what could not be."""
    if isinstance(found.evidence.inputs, str):
        return f"Not computed: {found.evidence.inputs}."
    fixed = ", ".join(f"`{key}`" for key in found.evidence.inputs.fixed)
    swept = ", ".join(f"`{key}`" for key in found.evidence.inputs.swept)
    return (
        "Each price and rate is drawn from its range (below), independently, the same draws for all points of a machine "
        "(scrambled Sobol' sequence, even in the logarithm); a win is the largest net gain in a draw and a replicate, not "
        "collapsing gaining zero. Intervals hold 95 % of draws and replicates. "
        + (f"Not drawn, as the sweep varies it: {swept}. " if swept else "")
        + f"Not drawn, as the counts depend on it, so that another value needs a simulation of its own: {fixed}."
        + (f" {found.evidence.inputs.left_out}." if found.evidence.inputs.left_out else "")
    )


def _sources(found: Report) -> list[tuple[Any, ...]]:
    """List each figure of the machine, and each rate that was drawn, with its range."""
    if isinstance(found.evidence.inputs, str):
        return [(p.key, p.value, p.unit, p.kind, "", "", p.about) for p in found.prices]
    ranges = next(iter(found.evidence.inputs.ranges.values()))
    rows: list[tuple[Any, ...]] = []
    for p in found.prices:
        one = ranges[f"machine.{p.key}"]
        rows.append((p.key, p.value, p.unit, p.kind, *_ends(one, one.key in found.evidence.inputs.keys), p.about))
    rates = [ranges[key] for key in found.evidence.inputs.keys if key.startswith("workload.")]
    rows += [(one.key, one.value, "", one.kind, *_ends(one, drawn=True), "") for one in rates]
    return rows


def _ends(one: Range, drawn: bool) -> tuple[str, str]:
    if not drawn:
        return "", "needs a simulation of its own"
    return f"{significant(one.low)} to {significant(one.high)}", one.source


def _environment(sweep: Sweep) -> str:
    known = environment.latest(sweep.directory)
    parts = [f"thpsweep {sweep.header['thpsweep']}, model {sweep.header['model']}", f"begun {sweep.header['created']}"]
    for key in ("commit", "python", "platform", "host"):
        parts += [f"{key} {known[key]}"] if known.get(key) else []
    parts += [f"{len(known['changes'])} files changed since that commit"] if known.get("changes") else []
    return "; ".join(parts) + "."


def _embedded(chart: Chart, picture: bytes) -> dict[str, Any]:
    fields = {field.name: getattr(chart, field.name) for field in dataclasses.fields(chart)}
    return fields | {"png": base64.b64encode(picture).decode()}


def _template() -> jinja2.Template:
    page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    page.filters["code"] = _code
    page.filters["figure"] = numbers
    page.tests["point"] = lambda value: isinstance(value, PointLink)
    return page.from_string((Path(__file__).parent / "report.html.j2").read_text(encoding="utf-8"))


def _code(text: object) -> markupsafe.Markup:
    """Set what stands between backticks as code."""
    escaped = str(markupsafe.escape(str(text)))
    return markupsafe.Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", escaped))
