"""Zipped keys advance together, all others make every combination."""

import pytest

from thpsweep.errors import OptionError
from thpsweep.sweep.planning.axes import SweptKey, combined, zips


def axis(name: str, *values: int, swept: bool = True) -> SweptKey:
    return SweptKey(name, [(f"{name}={value}", {name: str(value)}) for value in values], swept)


AXES = [axis("a", 1, 2), axis("seed", 7, swept=False), axis("b", 1, 2, 3), axis("c", 5, 6)]


def values(zipped: list[list[str]]) -> list[tuple[str, ...]]:
    return [job.overrides for job in combined(AXES, zips(zipped))]


def test_without_zips_every_combination_in_order() -> None:
    nested = [(f"a={a}", "seed=7", f"b={b}", f"c={c}") for a in (1, 2) for b in (1, 2, 3) for c in (5, 6)]
    assert values([]) == nested


def test_zipped_keys_advance_together_and_overrides_keep_their_order() -> None:
    together = [(f"a={a}", "seed=7", f"b={b}", f"c={c}") for a, c in ((1, 5), (2, 6)) for b in (1, 2, 3)]
    assert values([["a", "c"]]) == together
    assert values([["c", "a"]]) == together


def test_what_varies_is_named() -> None:
    assert next(combined(AXES, [])).varied == {"a": "1", "seed": "7", "b": "1", "c": "5"}


def test_one_zip_needs_no_inner_list() -> None:
    assert zips(["a", "b"]) == zips([["a", "b"]]) == (("a", "b"),)
    assert zips([]) == ()


@pytest.mark.parametrize(
    ("zipped", "wanted"),
    [
        ([["a", "b"]], "a has 2, b has 3"),
        ([["a", "seed"]], "swept keys, which are a, b, c"),
        ([["a", "nonsense"]], "swept keys, which are a, b, c"),
    ],
)
def test_what_cannot_advance_together_is_refused(zipped: list[list[str]], wanted: str) -> None:
    with pytest.raises(OptionError, match=wanted):
        values(zipped)


@pytest.mark.parametrize(
    "value", [["a"], [["a"]], [["a", 1]], ["a", ["b", "c"]], [["a", "b"], ["b", "c"]], [["a", "a"]], [3]]
)
def test_zips_are_lists_of_two_keys_or_more_each_once(value: object) -> None:
    with pytest.raises(OptionError, match=r"sweep\.zip"):
        zips(value)
