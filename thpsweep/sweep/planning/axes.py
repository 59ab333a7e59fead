"""Combine swept keys: every combination of their values, but for those that advance together."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from thpsweep.errors import OptionError, SweepError


@dataclasses.dataclass(frozen=True)
class Job:
    """One combination of overrides, not composed yet."""

    overrides: tuple[str, ...]
    varied: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class SweptKey:
    """A key and its choices, one unless it is swept. A choice is an override, and the value it gives to what people see."""

    name: str
    choices: Sequence[tuple[str, Mapping[str, str]]]
    swept: bool


def zips(value: Any) -> tuple[tuple[str, ...], ...]:
    """Read `sweep.zip`: a list of keys, or a list of such lists. Raises: OptionError."""
    lists = [value] if value and all(isinstance(item, str) for item in value) else value
    for keys in lists:
        if not isinstance(keys, list) or len(keys) < 2 or not all(isinstance(key, str) for key in keys):
            raise OptionError("sweep.zip", value, "[KEY,KEY,...], or a list of such lists: two keys or more each")
    named = [key for keys in lists for key in keys]
    for key in named:
        if named.count(key) > 1:
            raise OptionError("sweep.zip", value, f"each key once; {key} is there twice")
    return tuple(tuple(keys) for keys in lists)


def combined(axes: Sequence[SweptKey], zipped: Sequence[Sequence[str]]) -> Iterator[Job]:
    """Give one job per combination, the last axis varying fastest; zipped axes advance where the first of them stands.

    Raises: SweepError for a swept key without values; OptionError for zipped keys that are not swept, or that have unequal
    numbers of values.
    """
    _check(axes, zipped)
    together = {key: keys[0] for keys in zipped for key in keys}
    leaders = [together.get(axis.name, number) if axis.swept else number for number, axis in enumerate(axes)]
    lengths: dict[str | int, int] = {}
    for axis, leader in zip(axes, leaders, strict=True):
        lengths.setdefault(leader, len(axis.choices))
    for numbers in itertools.product(*map(range, lengths.values())):
        at = dict(zip(lengths, numbers, strict=True))
        chosen = [axis.choices[at[leader]] for axis, leader in zip(axes, leaders, strict=True)]
        yield Job(tuple(text for text, _ in chosen), {k: v for _, varied in chosen for k, v in varied.items()})


def _check(axes: Sequence[SweptKey], zipped: Sequence[Sequence[str]]) -> None:
    swept = {axis.name: len(axis.choices) for axis in axes if axis.swept}
    for key in [key for key, n_choices in swept.items() if not n_choices]:
        raise SweepError(f"{key}: no value to sweep; expected a range() or a glob() that has one")
    for keys in zipped:
        for key in keys:
            if key not in swept:
                raise OptionError("sweep.zip", list(keys), f"swept keys, which are {', '.join(swept) or 'none here'}")
        if len({swept[key] for key in keys}) > 1:
            counts = ", ".join(f"{key} has {swept[key]}" for key in keys)
            raise OptionError("sweep.zip", list(keys), f"keys with equally many values; {counts}")
