"""How numbers are written for a reader: counts, significant digits, times, and words for what is no number."""

import math

NOTHING = "–"
EXACT = "exact in this model"
"""Said of a mean that all replicates agree on."""

NOT_WITHIN = "not within the run"
"""Said of a payback that no replicate, or not every one, comes to."""

NO_FIT = "does not fit"
"""Said of a policy that takes more memory than the machine has."""


def count(value: float) -> str:
    """Write a number of things, with a decimal only where a mean over replicates needs it."""
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 1000 else f"{value:,.1f}"


def significant(value: float, digits: int = 3) -> str:
    """Write at least `digits` significant digits without an exponent."""
    if value == 0 or not math.isfinite(value):
        return f"{value:.0f}"
    return f"{value:,.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def duration(value_s: float) -> str:
    """Write a time in the largest unit that it fills; infinite is never."""
    if value_s == math.inf:
        return "never"
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if value_s >= seconds:
            return f"{significant(value_s / seconds)} {unit}"
    return f"{significant(value_s * 1000)} ms"
