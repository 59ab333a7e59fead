"""Print verdicts as a table, list what differs, and write all of it as JSON."""

import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from thpsweep.linux.calibrate.samples import USED
from thpsweep.linux.validate.verdict import CaseVerdict

_KINDS = ("outcome", "sharing", "memory")


def show(verdicts: Sequence[CaseVerdict], machine_name: str, console: Console) -> None:
    """Print the table and, below it, what differs and what was not compared."""
    table = Table(title=f"kernel {platform.release()} against the model, prices of {machine_name}", expand=False)
    for column in ("scenario", "kernel", "model"):
        table.add_column(column, overflow="fold")
    for column in _KINDS:
        table.add_column(column, justify="center")
    for column in ("measured us", "predicted us", "ratio"):
        table.add_column(column, justify="right")
    for verdict in verdicts:
        table.add_row(*_row(verdict))
    console.print(table)
    for verdict in verdicts:
        for line in _lines(verdict):
            console.print(f"{verdict.case.name}: {line}", highlight=False)
    console.print(summary(verdicts), highlight=False)


def summary(verdicts: Sequence[CaseVerdict]) -> str:
    """Say in a few lines how many agree, and how well time is predicted."""
    compared = [v for v in verdicts if not v.skipped and not v.inexpressible]
    parts = [f"{sum(v.equal for v in compared)} of {len(compared)} scenarios equal in outcome, sharing and memory"]
    if unexpressed := sum(bool(v.inexpressible) for v in verdicts):
        parts.append(f"{unexpressed} that the model cannot express")
    if repeated := sum(bool(v.once) for v in verdicts):
        parts.append(f"{repeated} of them after a difference that did not come again")
    if retries := sum(v.retries for v in verdicts):
        parts.append(f"{retries} collapses refused once with EAGAIN")
    if skipped := sum(bool(v.skipped) for v in verdicts):
        parts.append(f"{skipped} skipped on this machine")
    if any(v.ratio for v in verdicts):
        parts.append(f"time predicted / measured: {_spread(verdicts)}")
    held_out = [v for v in verdicts if v.case.sharers not in USED]
    if any(v.ratio for v in held_out):
        counts = ", ".join(map(str, sorted({v.case.sharers for v in held_out if v.ratio})))
        parts.append(f"with {counts} sharers, which calibration does not use: {_spread(held_out)}")
    return "; ".join(parts)


def _spread(verdicts: Sequence[CaseVerdict]) -> str:
    """Sum up the ratios that there are."""
    ratios = [v.ratio for v in verdicts if v.ratio]
    p10, median, p90 = np.percentile(ratios, [10, 50, 90])
    return f"median {median:.2f}, 10th and 90th percentile {p10:.2f} and {p90:.2f}, {len(ratios)} scenarios"


def write_json(
    verdicts: Sequence[CaseVerdict], machine_name: str, hypothetical: list[dict[str, Any]], path: Path
) -> None:
    """Write everything that is known of each scenario."""
    report = {
        "kernel_release": platform.release(),
        "machine": machine_name,
        "scenarios": [_plain(verdict) for verdict in verdicts],
        "hypothetical": hypothetical,
    }
    path.write_text(json.dumps(report, indent=1) + "\n")


def _row(verdict: CaseVerdict) -> list[str]:
    marks = [_mark(verdict, kind) for kind in _KINDS]
    numbers = [_us(verdict.measured_ns), _us(verdict.predicted_ns if verdict.measured_ns else None)]
    ratio = "" if verdict.ratio is None else f"{verdict.ratio:.2f}"
    return [verdict.case.name, "\n".join(verdict.kernel), "\n".join(verdict.model), *marks, *numbers, ratio]


def _mark(verdict: CaseVerdict, kind: str) -> str:
    if verdict.skipped or verdict.inexpressible or (kind == "sharing" and not verdict.compared_sharing):
        return "-"
    if kind not in verdict.differences:
        return "="
    return "[bold red]differs[/]"


def _us(ns: float | None) -> str:
    return "" if ns is None else f"{ns / 1000:.0f}"


def _lines(verdict: CaseVerdict) -> list[str]:
    lines = [line for kind in _KINDS for line in verdict.differences.get(kind, [])]
    if verdict.differences:
        lines.append(f"meanwhile, when it first differed: {', '.join(verdict.interference) or 'no interference seen'}")
    if verdict.inexpressible:
        lines.append(f"not in the model: {verdict.inexpressible}; the kernel: {', '.join(verdict.kernel)}")
    if verdict.equal and verdict.measured_ns and not verdict.predicted_ns:
        lines.append(f"no price in the model for what took {_us(verdict.measured_ns)} us")
    if verdict.unsteady:
        lines.append(f"time not measured: its rounds spread by a factor of {verdict.spread:.1f}")
    lines += [f"came once and not again: {line}" for line in verdict.once]
    if verdict.skipped:
        lines.append(f"skipped: {verdict.skipped}")
    return lines


def _plain(verdict: CaseVerdict) -> dict[str, Any]:
    return {
        "name": verdict.case.name,
        "about": verdict.case.about,
        "sharers": verdict.case.sharers,
        "steps": [str(step) for step in (*verdict.case.ready, *verdict.case.question)],
        "kernel": verdict.kernel,
        "model": verdict.model,
        "equal": verdict.equal,
        "differences": verdict.differences,
        "interference": verdict.interference,
        "came_once": verdict.once,
        "retries": verdict.retries,
        "inexpressible": verdict.inexpressible,
        "skipped": verdict.skipped,
        "spread": verdict.spread,
        "measured_ns": verdict.measured_ns,
        "predicted_ns": verdict.predicted_ns,
    }
