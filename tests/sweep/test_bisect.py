"""Bisection against planted functions: where they change sides is known, and so is what noise must not decide."""

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thpsweep.errors import OptionError
from thpsweep.sweep.search import bisect
from thpsweep.sweep.search.axis import Axis, axis, fitted
from thpsweep.sweep.search.bisect import Conclusion, Reading, SearchRules, ahead, concluded, wanted

DEGREES = Axis("sharing.degree", 1, 2000, log=True, whole=True)
RATES = Axis("workload.rate", 0.0, 10.0, log=False, whole=False)
RULES = SearchRules(samples=9, resolution=0.01, max_replicates=0)

Read = Callable[[float, int], Reading]


def exactly(function: Callable[[float], float]) -> Read:
    """Read a function without noise."""
    return lambda value, n: Reading(function(value), function(value), function(value), n)


def noisily(function: Callable[[float], float], half: float, seed: int = 0) -> Read:
    """Read a function with normal noise, its interval being `half` wide to each side at 8 replicates."""

    def read(value: float, n: int) -> Reading:
        width = half * math.sqrt(8 / n)
        mean = random.Random(f"{seed} {value} {n}").gauss(function(value), width / 1.96)
        return Reading(mean, mean - width, mean + width, n)

    return read


def searched(
    found: Axis, read: Read, rules: SearchRules = RULES, dice: random.Random | None = None
) -> dict[float, Reading]:
    """Search to the end; with dice, readings come in at random, while others are still out."""
    readings: dict[float, Reading | None] = {}
    out: list[tuple[float, int]] = []
    while True:
        asked = [(value, n or 8) for value, n in wanted(found, readings, rules)]
        assert not {value for value, _ in asked} & {value for value, _ in out}, "asked for twice"
        out += asked
        readings |= {value: None for value, _ in asked}
        if not out:
            return {value: reading for value, reading in readings.items() if reading}
        assert ahead(found, readings, rules) >= 0
        value, n = out.pop(dice.randrange(len(out)) if dice else 0)
        readings[value] = read(value, n)


def answer(found: Axis, read: Read, rules: SearchRules = RULES) -> Conclusion:
    return concluded(found, searched(found, read, rules), rules)


@given(st.floats(1.5, 1999.5), st.sampled_from([1, -1]))
def test_a_planted_break_even_is_found_to_a_whole_degree(where: float, sign: int) -> None:
    rules = SearchRules(samples=9, resolution=1e-4, max_replicates=0)
    readings = searched(DEGREES, exactly(lambda degree: sign * (where - degree)), rules)
    found = concluded(DEGREES, readings, rules)
    (change,) = found.changes
    exact = where == int(where)
    assert (change.below, change.above) == (math.floor(where) - exact, math.ceil(where) + exact)
    assert not exact or change.estimate == where
    assert found.state == "found" and change.resolved
    assert change.estimate == pytest.approx(where, abs=1)
    assert len(readings) <= 9 + math.ceil(math.log2(2000))


@given(st.floats(0.01, 9.99), st.booleans())
def test_a_planted_break_even_is_found_to_the_resolution(where: float, log: bool) -> None:
    found = Axis("workload.rate", 0.001, 10.0, log=log, whole=False)
    readings = searched(found, exactly(lambda rate: rate - where))
    (change,) = concluded(found, readings, RULES).changes
    assert change.below - 1e-6 <= where <= change.above + 1e-6
    width = 0.01 * (change.below if log else 10) * 1.001
    assert change.above - change.below <= width * (2.02 if where in readings else 1)  # hit exactly: one to each side
    assert (change.before, change.after) == ("below", "above")


@given(st.integers(0, 10_000))
def test_what_is_asked_does_not_depend_on_what_comes_in_first(seed: int) -> None:
    def wave(degree: float) -> float:
        return math.sin(4 * math.log(degree)) * 10

    in_order = searched(DEGREES, noisily(wave, 1.0, seed))
    assert searched(DEGREES, noisily(wave, 1.0, seed), dice=random.Random(seed)) == in_order


def test_several_changes_are_found_where_the_sample_parts_them() -> None:
    roots = [3.3, 40.5, 400.5]
    found = answer(DEGREES, exactly(lambda degree: math.prod(degree - root for root in roots)))
    assert found.state == "found" and len(found.changes) == 3
    for change, root in zip(found.changes, roots, strict=True):
        assert change.below <= root <= change.above and change.resolved
    assert [change.after for change in found.changes] == ["above", "below", "above"]


@pytest.mark.parametrize(("value", "state"), [(1.0, "always"), (-1.0, "never"), (0.0, "no difference")])
def test_none_is_told_apart_without_more_than_the_sample(value: float, state: str) -> None:
    found = answer(DEGREES, exactly(lambda degree: value))
    assert (found.state, found.changes) == (state, ())
    assert len(searched(DEGREES, exactly(lambda degree: value))) == 9


def test_where_a_difference_ends_is_a_change_too() -> None:
    (change,) = answer(DEGREES, exactly(lambda degree: 5.0 if degree <= 256 else 0.0)).changes
    assert (change.before, change.after, change.estimate) == ("above", "equal", None)
    assert change.below <= 256 < change.above and change.resolved


@pytest.mark.parametrize("seed", range(20))
def test_noise_widens_the_answer_and_is_owned_up_to(seed: int) -> None:
    found = answer(RATES, noisily(lambda rate: rate - 4.0, 1.0, seed))
    assert found.state == "not resolved"
    assert any(change.below <= 4.0 <= change.above for change in found.changes)
    assert any(abs((change.estimate or 99) - 4.0) < 1.5 for change in found.changes)


def test_intervals_cover_the_break_even_as_often_as_they_claim() -> None:
    """Each end is an end of a one-sided 97.5 % test, and a search makes about ten of them near the break-even."""
    missed = 0
    for seed in range(400):
        changes = answer(RATES, noisily(lambda rate: rate - 4.0, 1.0, seed)).changes
        missed += not any(change.below <= 4.0 <= change.above for change in changes)
    assert missed / 400 < 0.1


def test_nothing_but_noise_is_not_resolved() -> None:
    states = [answer(RATES, noisily(lambda rate: 0.0, 1.0, seed)).state for seed in range(50)]
    assert set(states) == {"not resolved"}


def test_more_replicates_resolve_what_few_do_not() -> None:
    read = noisily(lambda rate: rate - 4.0, 0.5)
    few, many = (
        answer(RATES, read, SearchRules(samples=9, resolution=0.02, max_replicates=most)) for most in (0, 8 * 4**4)
    )
    assert few.state == "not resolved"
    assert min(c.above - c.below for c in many.changes) < min(c.above - c.below for c in few.changes)


def test_replicates_are_raised_fourfold_up_to_the_most_allowed() -> None:
    rules = SearchRules(samples=2, resolution=0.5, max_replicates=100)
    unclear = Reading(0.1, -1.0, 1.2, 8)
    assert wanted(RATES, {0.0: unclear, 10.0: Reading(1, 1, 1, 8)}, rules) == [(0.0, 32)]
    assert wanted(RATES, {0.0: Reading(0.1, -1.0, 1.2, 32), 10.0: None}, rules) == [(0.0, 100)]
    assert wanted(RATES, {0.0: Reading(0.1, -1.0, 1.2, 100), 10.0: None}, rules) == []


def test_infinite_means_and_unknown_intervals_decide_nothing() -> None:
    metric = {"mean": math.inf, "low": math.nan, "high": math.nan}
    assert bisect.reading(metric, 3600.0, 8).side == "unclear"
    assert bisect.reading({end: math.inf for end in ("mean", "low", "high")}, 3600.0, 8).side == "above"
    assert bisect.reading({end: math.nan for end in ("mean", "low", "high")}, 0.0, 8).side == "unclear"


def test_unclear_ends_of_the_range_are_not_resolved() -> None:
    def read(degree: float, n: int) -> Reading:
        return Reading(1.0, -1.0, 3.0, n) if degree > 500 else Reading(1.0, 0.5, 1.5, n)

    found = answer(DEGREES, read)
    assert (found.state, found.changes) == ("not resolved", ())
    assert [stretch.side for stretch in found.stretches] == ["above", "unclear"]
    assert found.stretches[0].last <= 500 < found.stretches[1].first


def test_a_value_that_failed_holds_up_its_neighbours_only() -> None:
    readings = {value: Reading(1 - value, 1 - value, 1 - value, 8) for value in RATES.samples(9)} | {1.25: None}
    assert wanted(RATES, readings, RULES) == []
    assert concluded(RATES, readings, RULES).state == "not finished"


def test_samples_are_even_on_the_scale_and_end_at_the_ends() -> None:
    assert DEGREES.samples(9) == [1, 3, 7, 17, 45, 116, 299, 773, 2000]
    assert RATES.samples(3) == [0.0, 5.0, 10.0]
    assert Axis("sharing.degree", 1, 3, log=False, whole=True).samples(9) == [1, 2, 3]


@given(st.integers(1, 2000), st.integers(1, 2000), st.booleans())
def test_middles_are_strictly_inside_and_bisection_ends(one: int, other: int, log: bool) -> None:
    found = Axis("sharing.degree", 1, 2000, log=log, whole=True)
    below, above = sorted((one, other))
    while not found.narrow(below, above, 1e-4):
        middle = found.middle(below, above)
        assert below < middle < above and isinstance(middle, int)
        below = middle


@pytest.mark.parametrize(
    ("key", "bounds", "log", "wanted"),
    [
        ("sharing.degree", (5.0, 5.0), False, "LOW below HIGH"),
        ("sharing.degree", (10.0, 1.0), False, "LOW below HIGH"),
        ("sharing.degree", (0.0, 5.0), True, "above 0 on a log scale"),
        ("sharing.degree", (1.0, math.inf), False, "LOW below HIGH"),
        ("sweep.deadline_s", (1.0, 5.0), False, "an interval of a number of workload"),
        ("run.seed", (1.0, 5.0), False, "an interval of a number of workload"),
    ],
)
def test_a_range_that_is_none_is_refused(key: str, bounds: tuple[float, float], log: bool, wanted: str) -> None:
    with pytest.raises(OptionError, match=wanted) as refused:
        axis(key, *bounds, log=log)
    assert refused.value.key == key


def test_the_kind_of_number_is_that_of_the_points() -> None:
    rough = axis("sharing.degree", 1.0, 64.0, log=False)
    whole, real = ({"sharing": {"degree": value}} for value in (1, 1.0))
    assert fitted(rough, whole, whole).whole and not fitted(rough, real, whole).whole
    for text in ({"sharing": {"degree": "many"}}, {"sharing": {"degree": True}}, {"sharing": {}}):
        with pytest.raises(OptionError, match="a number"):
            fitted(rough, text, text)
