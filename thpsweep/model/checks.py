"""Checks that all options share: one error that names key, value and what is expected."""

import math
from collections.abc import Collection

from thpsweep.errors import OptionError


def in_range(key: str, value: float, low: float, high: float) -> None:
    """Refuse a number outside [low, high], and anything that is not a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise OptionError(key, value, f"a number from {low:g} to {high:g}")
    if not low <= value <= high:
        raise OptionError(key, value, f"{low:g}..{high:g}")


def positive(key: str, value: float) -> None:
    """Refuse zero, negative and non-finite numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise OptionError(key, value, "a finite number above 0")


def not_negative(key: str, value: float) -> None:
    """Refuse negative and non-finite numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise OptionError(key, value, "a finite number, 0 or more")


def one_of(key: str, value: object, known: Collection[str]) -> None:
    """Refuse a word that is not among the known ones, and list them."""
    if value not in known:
        raise OptionError(key, value, "one of " + ", ".join(sorted(known)))


def whole(key: str, value: object, low: int, high: int) -> None:
    """Refuse anything but a whole number from low to high."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise OptionError(key, value, f"a whole number, {low}..{high}")
