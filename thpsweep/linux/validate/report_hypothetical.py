"""Print what the answers of hypothetical mechanisms hang on."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from thpsweep.linux.validate.hypothetical import REGIONS, SHARERS, CostAndGain, Findings


def show(findings: Sequence[Findings], machine_name: str, console: Console) -> None:
    """Print a row for each mechanism, and one for each price of it that nobody measured."""
    title = (
        f"mechanisms that exist in no kernel, prices of {machine_name}: "
        f"workload prefork, {SHARERS} sharers, {REGIONS} regions, an hour"
    )
    table = Table(title=title, expand=False)
    table.add_column("mechanism, price that nobody measured", overflow="fold")
    for column in ("CPU of collapsing, ms", "net CPU, ms", "pays back after, s"):
        table.add_column(column, justify="right")
    for one in findings:
        table.add_row(f"[bold]{one.mechanism}[/]", *_numbers(one.answer), end_section=not one.assumptions)
        for assumption in one.assumptions:
            pairs = zip(_numbers(assumption.halved), _numbers(assumption.doubled), strict=True)
            last = assumption is one.assumptions[-1]
            table.add_row(f"  {assumption.key} halved .. doubled", *(_range(*pair) for pair in pairs), end_section=last)
    console.print(table)
    for one in findings:
        console.print(f"{one.mechanism}: measured or derived: {', '.join(one.known)}", highlight=False)
    assumed = {assumption.key: assumption.source.text for one in findings for assumption in one.assumptions}
    for key, text in assumed.items():
        console.print(f"{key}: {text}", highlight=False, markup=False)


def plain(findings: Sequence[Findings]) -> list[dict[str, Any]]:
    """Give all of it as JSON has it; what never pays back does so after null seconds."""
    listed = [dataclasses.asdict(one) for one in findings]
    for one in listed:
        for answer in (one["answer"], *(a[way] for a in one["assumptions"] for way in ("halved", "doubled"))):
            answer["payback_s"] = None if math.isinf(answer["payback_s"]) else answer["payback_s"]
    return listed


def _numbers(answer: CostAndGain) -> list[str]:
    payback = "never" if math.isinf(answer.payback_s) else f"{answer.payback_s:,.0f}"
    return [f"{answer.cpu_ms:.1f}", f"{answer.net_cpu_ms:,.1f}", payback]


def _range(low: str, high: str) -> str:
    return "" if low == high else f"{low} .. {high}"
