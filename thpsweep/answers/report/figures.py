"""How a report writes figures: as many digits as their interval calls for, and the interval, or that there is none."""

import math
from collections.abc import Callable

from thpsweep.answers.analysis.paired import PairedEstimate
from thpsweep.answers.analysis.ranking import NOBODY
from thpsweep.answers.terminal.numbers import EXACT, NOT_WITHIN, count, significant

EXACT_SAID = f"Figures without an interval are {EXACT}."


def ms(found: PairedEstimate) -> str:
    """Write CPU time with its interval."""
    return f"{figure(found.mean, found)} ms{ends(found, lambda value: figure(value, found))}"


def figure(value: float, within: PairedEstimate) -> str:
    """Write a value with as many digits as its interval calls for, three at least."""
    width = within.high - within.low
    if not (math.isfinite(width) and width > 0 and within.mean):
        return significant(value)
    return significant(value, digits=min(5, max(3, 1 + math.ceil(math.log10(abs(within.mean) / width)))))


def ends(found: PairedEstimate, write: Callable[[float], str]) -> str:
    """Write an interval, as a share of the mean where its ends would read as it; nothing where the mean is exact."""
    if math.isnan(found.low):
        return " [interval unknown: one replicate]" if found.n == 1 else " [interval unknown]"
    if found.exact:
        return ""
    low, high = write(found.low), write(found.high)
    half = f"{significant(100 * (found.high - found.low) / 2 / abs(found.mean or 1.0), digits=1)} %"
    return f" [± {half}]" if low == write(found.mean) == high else f" [{low}, {high}]"


def with_ends(found: PairedEstimate) -> str:
    """Write a figure of a table with its interval, or that it has none."""
    if found.exact and found.mean:
        return f"{figure(found.mean, found)}, {EXACT}"
    known = (
        "" if found.exact or math.isnan(found.low) else f" [{figure(found.low, found)}, {figure(found.high, found)}]"
    )
    return f"{figure(found.mean, found)}{known}"


def percent(share: float) -> str:
    """Write a share of 1."""
    if math.isnan(share):
        return "–"
    return "no share" if share > 1 else f"{significant(100 * share, digits=2)} %"


def chance(share: float) -> str:
    """Write a chance that was counted: whole per cents, but never 0 or 100 for what is not."""
    rounded = f"{100 * share:.0f}"
    if rounded in ("0", "100") and 0 < share < 1:
        return "under 1 %" if rounded == "0" else "over 99 %"
    return f"{rounded} %"


def code(name: str) -> str:
    """Set a contender apart, as the name of an option that it is."""
    return name if name in NOBODY else f"`{name}`"


def numbers(value: float) -> str:
    """Write a figure of a table."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return NOT_WITHIN if value > 0 else "-∞"
    return count(value) if value == round(value) and abs(value) < 1e15 else significant(value, digits=4)
