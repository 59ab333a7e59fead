"""Checks that all options share: one error that names key, value and what is expected."""

import difflib
import math
from collections.abc import Collection

from thpsweep.errors import OptionError

MOST = 1e12
"""Of a time in ns or s, and of a rate: more is a slip of the hand, and products of it would overflow."""


def in_range(key: str, value: float, low: float, high: float) -> None:
    """Refuse a number outside [low, high], and anything that is not a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise OptionError(key, value, f"a number from {low:g} to {high:g}")
    if not low <= value <= high:
        raise OptionError(key, value, f"{low:g}..{high:g}")


def positive(key: str, value: float, most: float = MOST) -> None:
    """Refuse zero, negative numbers, and what is above `most`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
        raise OptionError(key, value, f"a number above 0, up to {most:g}")


def not_negative(key: str, value: float) -> None:
    """Refuse negative numbers, and what is above MOST."""
    in_range(key, value, 0, MOST)


def nearest(name: str, known: Collection[str]) -> str:
    """Name a few of the known words that are most like a wrong one, and say how many more there are."""
    near = difflib.get_close_matches(name, known, 4, cutoff=0.3) or sorted(known)[:4]
    more = len(known) - len(near)
    return ", ".join(near) + (f" and {more} others" if more else "")


def one_of(key: str, value: object, known: Collection[str]) -> None:
    """Refuse a word that is not among the known ones, and list them."""
    if value not in known:
        raise OptionError(key, value, "one of " + ", ".join(sorted(known)))


def whole(key: str, value: object, low: int, high: int) -> None:
    """Refuse anything but a whole number from low to high."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise OptionError(key, value, f"a whole number, {low}..{high}")
