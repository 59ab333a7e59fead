"""Do rates follow from counts as the closed forms say, and are hot regions told from noise?"""

import math

import numpy as np
import pytest

from thpsweep.linux.activity.rates import Exposed, clustering, hottest, mean_span, per_page_hour


def test_one_window_has_a_closed_form():
    found = per_page_hour([Exposed(1000, 250, 10.0)], "")
    assert found.value == pytest.approx(-math.log(0.75) / 10 * 3600)
    assert found.low < found.value < found.high


def test_equal_windows_are_one():
    parts = per_page_hour([Exposed(600, 200, 10.0), Exposed(400, 50, 10.0)], "")
    assert parts.value == pytest.approx(per_page_hour([Exposed(1000, 250, 10.0)], "").value)


def test_rare_events_are_events_over_exposure():
    found = per_page_hour([Exposed(10**6, 7, 2.0), Exposed(10**6, 3, 6.0)], "")
    assert found.value == pytest.approx(10 / 8e6 * 3600, rel=1e-4)
    assert (found.low / found.value, found.high / found.value) == pytest.approx(
        (0.4795, 1.8390), abs=1e-3
    )  # Garwood, 10


def test_none_seen_is_bounded_from_above():
    found = per_page_hour([Exposed(100, 0, 10.0)], "")
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(-math.log(0.025) / 1000 * 3600)


def test_all_seen_is_bounded_from_below():
    found = per_page_hour([Exposed(100, 100, 10.0)], "")
    assert found.high is None and found.value > per_page_hour([Exposed(100, 99, 10.0)], "").value
    assert "lower bound" in found.how


def test_nothing_to_see_is_no_rate():
    assert per_page_hour([Exposed(0, 0, 10.0)], "") is None and per_page_hour([], "") is None


@pytest.mark.parametrize("rate_per_hour", [3.0, 300.0])
def test_intervals_cover_the_truth(rate_per_hour):
    rng = np.random.default_rng(5)
    windows = [(4000, 3.0), (1000, 8.0), (2000, 1.0)]
    covered = 0
    for _ in range(200):
        acted = [rng.binomial(n, -math.expm1(-rate_per_hour / 3600 * seconds)) for n, seconds in windows]
        groups = [Exposed(n, int(x), seconds) for (n, seconds), x in zip(windows, acted, strict=True)]
        found = per_page_hour(groups, "")
        covered += found.low <= rate_per_hour <= found.high
    assert covered >= 184  # 95 % of 200 less three standard deviations


def test_mean_of_spans():
    found = mean_span(120.0, 6, "")
    assert (
        found.value == 20 and found.low == pytest.approx(9.19, abs=0.01) and found.high == pytest.approx(54.5, abs=0.1)
    )


def test_hot_regions_are_found_wherever_they_are():
    rng = np.random.default_rng(6)
    exposure_s = rng.uniform(1000, 5000, 100)
    hot = np.isin(np.arange(100), [3, 50, 51, 99])
    acted = rng.poisson(exposure_s * np.where(hot, 0.02, 0.001))
    assert hottest(acted, exposure_s).tolist() == [3, 50, 51, 99]


def test_noise_is_not_hot():
    rng = np.random.default_rng(7)
    taken = [len(hottest(rng.poisson(3.0, 60), np.ones(60))) for _ in range(100)]
    assert sum(n > 0 for n in taken) <= 5


def test_one_rate_of_few_regions_is_not_hot():
    assert not len(hottest(np.array([9]), np.ones(1))) and not len(hottest(np.zeros(5, int), np.ones(5)))


@pytest.mark.parametrize(("written", "chance"), [(1.0, 0.02), (0.5, 0.02), (0.1, 0.3)])
def test_clustering_is_the_share_of_regions_that_nobody_writes(written, chance):
    """2 processes, 400 regions of up to 512 pages; in a share of the regions, the same for both, pages are written."""
    rng = np.random.default_rng(8)
    covered = []
    for _ in range(100):
        pages = np.tile(rng.integers(100, 513, 400), (2, 1))
        acted = rng.binomial(pages, chance * (rng.random(400) < written))
        found = clustering(pages, acted, "")
        covered.append(found.low <= 1 - written <= found.high)
        assert found.value == pytest.approx(1 - written, abs=0.12)
    assert sum(covered) >= 85  # of 100 nominal 95 % intervals of a jackknife


def test_where_no_two_pages_of_a_region_are_written_clustering_is_not_known():
    one = np.full((1, 10), 512)
    assert clustering(one, np.eye(1, 10, dtype=np.int64), "") is None
    assert clustering(np.zeros((0, 0), np.int64), np.zeros((0, 0), np.int64), "") is None
