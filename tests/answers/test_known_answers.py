"""Known answers come out: published Sobol' indices, a planted frontier, a planted break-even, too few replicates."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from thpsweep.answers.analysis.crossing import crossings
from thpsweep.answers.analysis.paired import difference, estimate, jackknife
from thpsweep.answers.analysis.pareto import front
from thpsweep.answers.analysis.sobol import indices


def middles(n, low=0.0, high=1.0):
    """Cut a range into n equal cells and give their middles: a grid that stands for a uniform parameter."""
    return low + (high - low) * (np.arange(n) + 0.5) / n


def on_grid(function, axes):
    return function(*np.meshgrid(*axes, indexing="ij"))[..., None]


def ishigami(x, y, z):
    return np.sin(x) + 7 * np.sin(y) ** 2 + 0.1 * z**4 * np.sin(x)


def test_ishigami() -> None:
    # Ishigami and Homma (1990), doi:10.1109/ISUMA.1990.151285; indices as published for a = 7, b = 0.1.
    found = indices("xyz", on_grid(ishigami, [middles(60, -math.pi, math.pi)] * 3))
    assert [index.first.mean for index in found] == pytest.approx([0.3139, 0.4424, 0.0], abs=2e-3)
    assert [index.total.mean for index in found] == pytest.approx([0.5576, 0.4424, 0.2437], abs=2e-3)


def test_sobol_g() -> None:
    # Saltelli and Sobol' (1995): V_i = 1 / (3 (1 + a_i)^2), V = prod(1 + V_i) - 1.
    a = np.array([0.0, 1.0, 4.5, 9.0])

    def g(*x):
        return np.prod([(np.abs(4 * value - 2) + weight) / (1 + weight) for value, weight in zip(x, a, strict=True)], 0)

    parts = 1 / (3 * (1 + a) ** 2)
    whole = np.prod(1 + parts) - 1
    found = indices("abcd", on_grid(g, [middles(24)] * 4))
    assert [index.first.mean for index in found] == pytest.approx(parts / whole, abs=2e-3)
    totals = [parts[i] * np.prod(1 + np.delete(parts, i)) / whole for i in range(4)]
    assert [index.total.mean for index in found] == pytest.approx(totals, abs=2e-3)


def test_intervals_of_indices_hold_the_truth_as_often_as_they_say() -> None:
    """The truth: indices of the noiseless mean, plus what the noise of the mean adds to the total variance."""
    rng, axes, hits, n = np.random.default_rng(3), [np.arange(3.0), np.arange(4.0)], 0, 6
    truth = on_grid(lambda x, y: 3 * x + y + x * y, axes)
    known = indices("xy", truth)[0].first.mean
    for _ in range(200):
        drawn = truth + rng.normal(0, 0.5, (3, 4, n))
        found = indices("xy", drawn)[0].first
        hits += found.low <= known <= found.high
    assert hits / 200 > 0.88  # 95 % but for the bias that the noise brings; a percentile bootstrap has about 80 %


def test_a_constant_has_no_indices() -> None:
    assert indices("xy", np.ones((3, 4, 2))) == []


def test_one_replicate_has_indices_and_no_interval() -> None:
    (x, _) = indices("xy", on_grid(lambda x, y: x + y, [np.arange(3.0)] * 2))
    assert x.first.mean == pytest.approx(0.5) and math.isnan(x.first.low)


def test_planted_frontier() -> None:
    planted = [(1.0, 1.0), (2.0, 5.0), (4.0, 6.0), (9.0, 9.0)]
    beaten = [(1.5, 0.9), (2.0, 4.9), (3.0, 5.0), (8.0, 6.0), (10.0, 9.0)]
    points = [*beaten, *planted]
    assert [points[at] for at in front(points)] == planted


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=30))
def test_the_frontier_is_who_nobody_beats(pairs: list[tuple[int, int]]) -> None:
    points = [(float(cost), float(gain)) for cost, gain in pairs]

    def beaten(one):
        return any(other[0] <= one[0] and other[1] >= one[1] and other != one for other in points)

    assert sorted(front(points)) == [at for at, point in enumerate(points) if not beaten(point)]


def planted_gain(x, noise, n, seed=1):
    """A gain that turns at 20, in log x, with noise of its own in each replicate."""
    rng = np.random.default_rng(seed)
    return 100 * (np.log(x) - np.log(20.0))[:, None] + rng.normal(0, noise, (len(x), n))


def test_planted_break_even() -> None:
    x = np.array([1.0, 2, 4, 8, 16, 32, 64, 128])
    (found,) = crossings(x, planted_gain(x, 3.0, 8))
    assert found.rises and found.low < 20 < found.high
    assert found.at == pytest.approx(20, rel=0.05) and found.high / found.low < 1.2


def test_intervals_of_a_break_even_hold_it_as_often_as_they_say() -> None:
    x = np.array([1.0, 4, 16, 64])
    found = [crossings(x, planted_gain(x, 20.0, 5, seed))[0] for seed in range(200)]
    assert sum(one.low <= 20 <= one.high for one in found) / 200 > 0.9


def test_a_break_even_in_noise_is_bounded_by_what_is_resolved() -> None:
    x = np.array([1.0, 10, 20, 40, 1000])
    (found,) = crossings(x, planted_gain(x, 60.0, 4, seed=2)) or [None]
    assert found is not None and found.low <= 10 and found.high >= 40


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_no_break_even_where_the_sign_never_changes(sign: float) -> None:
    x = np.array([1.0, 2, 4])
    assert crossings(x, sign * np.ones((3, 4))) == []


def test_pairing_resolves_what_events_would_hide() -> None:
    rng = np.random.default_rng(0)
    events = rng.normal(0, 1000, 8)
    one, other = events + 5 + rng.normal(0, 1, 8), events
    assert estimate(one).sign == 0 and difference(one, other).sign == 1


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_replicates_resolve_nothing(n: int) -> None:
    found = difference(np.array([5.0, 9.0][:n]), np.array([1.0, 8.5][:n]))
    assert found.mean > 0 and found.sign == 0


def test_the_jackknife_of_a_mean_is_students_interval() -> None:
    values = np.array([1.0, 4.0, 2.0, 8.0])
    (found,) = jackknife(values.mean(keepdims=True), np.array([[np.delete(values, at).mean()] for at in range(4)]))
    half = t.ppf(0.975, 3) * values.std(ddof=1) / 2
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half))
