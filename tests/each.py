"""Launchers run points side by side where they differ in their seeds only; what tests put in a model's place seldom does."""

import functools
from collections.abc import Callable, Sequence
from typing import Any


def each(function: Callable[[dict[str, Any]], Any]) -> Callable[[Sequence[dict[str, Any]]], list[Any]]:
    """Make a function of points of a function of one point."""

    @functools.wraps(function)
    def of_points(points: Sequence[dict[str, Any]]) -> list[Any]:
        return [function(point) for point in points]

    return of_points
