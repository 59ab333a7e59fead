"""Rates and chances of page writes follow the laws that they are drawn from."""

import math

import numpy as np
import pytest

from tests.model.laws import near
from thpsweep.model.events import rates
from thpsweep.model.events.rates import Law, Spans, harmonic, stride


@pytest.mark.parametrize("n", [1, 10, 1000, 1001, 5000, 1_000_000])
@pytest.mark.parametrize("exponent", [0.0, 0.5, 0.99, 1.0, 1.01, 2.0, 4.0])
def test_harmonic_numbers(n: int, exponent: float) -> None:
    direct = math.fsum((np.arange(1, n + 1, dtype=np.float64) ** -exponent).tolist())
    assert harmonic(n, exponent) == pytest.approx(direct, rel=1e-13)


@pytest.mark.parametrize("n", [1, 2, 3, 512, 4096, 4099, 100_000])
def test_stride_visits_every_page_once(n: int) -> None:
    assert np.unique(np.arange(n) * stride(n) % n).size == n


@pytest.mark.parametrize("exponent", [0.0, 0.5, 0.99, 1.0, 2.0])
def test_rates_have_the_mean_that_was_asked_for(exponent: float) -> None:
    assert Law(4096, 0.25, exponent).rates(0, 4096).mean() == pytest.approx(0.25)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 0.99, 1.5])
@pytest.mark.parametrize("mean", [0.0005, 0.01, 0.2, 3.0])
def test_chance_of_a_first_write(exponent: float, mean: float) -> None:
    """A page with rate r is written in t ticks with chance 1 - exp(-r t): rank by rank, in groups of like rates."""
    law, n_spans, length = Law(2048, mean, exponent), 200, 10.0
    spans = Spans(np.arange(n_spans), np.zeros(n_spans, np.int64), np.full(n_spans, length))
    hit = np.zeros((n_spans, law.n_pages), bool)
    for part in law.draw(np.random.default_rng(3), spans):
        hit[part.span, part.page] = True
        assert ((part.tick >= 0) & (part.tick < length)).all()
    ranked = hit[:, law.pages(np.arange(law.n_pages))]
    chances = -np.expm1(-law.rates(0, law.n_pages) * length)
    for first in (0, 1, 2, 4, 16, 64, 256, 1024):
        group = slice(first, max(2 * first, 1))
        assert near(ranked[:, group].sum(), np.tile(chances[group], n_spans))


@pytest.mark.parametrize("exponent", [0.0, 0.99])
def test_frequent_and_rare_draws_are_the_same_law(exponent: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a page waits for its write or is drawn by number must not matter."""
    law, n_spans = Law(512, 0.05, exponent), 400
    spans = Spans(np.arange(n_spans), np.zeros(n_spans, np.int64), np.full(n_spans, 10.0))
    chances = -np.expm1(-law.rates(0, 512) * 10.0)
    for frequent in (1e-9, 1e9):
        monkeypatch.setattr(rates, "FREQUENT", frequent)
        hit = np.zeros((n_spans, 512), bool)
        for part in law.draw(np.random.default_rng(4), spans):
            hit[part.span, part.page] = True
        assert near(hit.sum(), np.tile(chances, n_spans))


def test_lengths_of_spans_are_kept_apart() -> None:
    law, lengths = Law(1 << 16, 0.1), np.array([1.0, 0.25, 30.0])
    found: dict[int, list[np.ndarray]] = {0: [], 1: [], 2: []}
    for part in law.draw(np.random.default_rng(5), Spans(np.arange(3), np.array([7, 9, 20]), lengths)):
        for span in range(3):
            found[span].append(part.page[part.span == span])
            ticks = part.tick[part.span == span]
            assert ((ticks >= [7, 9, 20][span]) & (ticks < [8, 10, 50][span])).all()
    for span, length in enumerate(lengths):
        pages = np.unique(np.concatenate(found[span])).size
        assert near(pages, np.full(law.n_pages, -math.expm1(-0.1 * length)))


@pytest.mark.parametrize("clustering", [0.25, 0.9])
@pytest.mark.parametrize("mean", [0.001, 0.2])
def test_clustered_writes_have_the_closed_form_of_pages_written_in_a_region(clustering: float, mean: float) -> None:
    """Of 40 regions n = 30 or 4 are written: n / 40 x 512 (1 - exp(-mean t 40 / n)) pages of a region, on average."""
    law, n_spans, ticks = Law.clustered(40, mean, 0.0, clustering), 50, 10.0
    pages = np.zeros((n_spans, 40 * 512), bool)
    spans = Spans(np.arange(n_spans), np.zeros(n_spans, np.int64), np.full(n_spans, ticks))
    for part in law.draw(np.random.default_rng(9), spans):
        pages[part.span, part.page] = True
    by_region = pages.reshape(n_spans, 40, 512).sum(axis=2)
    written = round(40 * (1 - clustering))
    assert np.count_nonzero(by_region.sum(axis=0)) == written
    assert law.mean * law.n_pages == pytest.approx(mean * 40 * 512)
    chance = -math.expm1(-mean * ticks * 40 / written)
    assert near(by_region.sum(), np.full(n_spans * written * 512, chance))


def test_without_clustering_the_law_is_the_even_one() -> None:
    assert Law.clustered(40, 0.2, 0.99, 0.0) == Law(40 * 512, 0.2, 0.99)
    assert np.unique(Law.clustered(40, 0.2, 0.99, 0.5).pages(np.arange(20 * 512)) >> 9).size == 20
